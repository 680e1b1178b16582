"""Keeps what is not finite from the weights.

A loss or gradient that is not finite is noticed before the optimizer's step, on the device and without waiting for it:
fused Adam skips a step where its `found_inf` says so, which is how loss scaling makes it skip one.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Guard(nn.Module):
    """Counts the steps whose loss or gradient is not finite, and keeps them from the weights.

    Args:
        skip: leave such steps out and continue; else every step after the first one is left out too, until the run
            is stopped.
    """

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.statistics: list[Tensor] = []
        for name in ("steps", "bad", "first_bad"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long), persistent=False)

    def before_step(self, network: nn.Module) -> None:
        """Remembers BatchNorm's statistics, which the forward pass changes whether the step is finite or not."""
        if self.skip:
            self.statistics = [buffer.clone() for buffer in network.buffers()]

    def before_optimizer(
        self, network: nn.Module, adam: torch.optim.Optimizer, loss: Tensor, scaled: bool, one_process: bool
    ) -> Tensor:
        """Makes `adam` skip this step if it is not finite; returns the norm of the gradient, ().

        Args:
            loss: the batch's, ().
            scaled: Lightning's loss scaling scales the gradients and checks them.
            one_process: no other process has a part in the gradient; several must come to the same decision.
        """
        norm = nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
        if scaled:
            finite = loss.isfinite()
        elif one_process:
            finite = norm.isfinite() & loss.isfinite()
        else:
            finite = norm.isfinite()
        self.steps += 1
        self.first_bad.copy_(torch.where(~finite & (self.bad == 0), self.steps, self.first_bad))
        self.bad += ~finite
        leave_out = ~finite if self.skip else self.bad > 0
        for buffer, before in zip(network.buffers(), self.statistics, strict=False):
            buffer.copy_(torch.where(leave_out, before, buffer))
        if adam.param_groups[0]["fused"]:
            fused: Any = adam
            fused.found_inf = leave_out.float()
        elif not scaled and leave_out:
            adam.zero_grad(set_to_none=True)
        return norm
