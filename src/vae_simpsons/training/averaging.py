"""Averaged weights: an exponential moving average over the steps, which draws and validates in place of the last.

Adam's last step is one of many around the same place; their mean is closer to it. Source: Polyak & Juditsky,
Acceleration of Stochastic Approximation by Averaging, 1992; Karras et al., arXiv 2312.02696, Section 3, of its length.
"""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def decay_at(step: int, decay: float) -> float:
    """Returns what is kept of the average at `step`, counted from 0: less at first, when it has little to keep."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(averaged: AveragedModel, network: nn.Module, step: int, decay: float) -> None:
    """Moves the average towards the weights of `network` after `step`; BatchNorm's statistics are copied.

    AveragedModel.update_parameters does the same, and waits for the device at each step to ask how many there were.
    """
    kept = decay_at(step, decay)
    torch._foreach_lerp_(list(averaged.module.parameters()), list(network.parameters()), 1 - kept)
    if buffers := list(network.buffers()):
        torch._foreach_copy_(list(averaged.module.buffers()), buffers)
