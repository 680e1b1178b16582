"""What every stage declares."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vae_simpsons.data.batches import Batch


class Stage(nn.Module):
    """A network with its loss, its optimizer and its figures; how training runs is not its business."""

    name: str  # in checkpoints and messages
    number: int  # of the stage in a run, from 0; its noise is drawn from a stream of its own
    network: nn.Module  # what is trained, and saved
    step_figures: tuple[str, ...]  # what `loss` measures of a batch, the loss first; their means are `train/...`
    figures: tuple[str, ...]  # everything that is logged of an epoch, in the order of the table
    best: str  # the figure whose lowest value makes an epoch the best

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the loss of `batch`, (), to be differentiated, and the values of `step_figures`, detached."""
        raise NotImplementedError

    def optimizer(self, fused: bool) -> torch.optim.Optimizer:
        """Returns the optimizer of the network's weights; `fused`: one kernel for all of them."""
        raise NotImplementedError

    def learning_rate(self, epoch: int) -> float:
        """Returns the learning rate of `epoch`, counted from 0."""
        raise NotImplementedError

    def start_validation(self, device: torch.device, seed: int) -> None:
        """Begins a validation whose noise `seed` decides."""

    def validate(self, batch: Batch) -> None:
        """Measures a batch of validation images."""

    def end_validation(self, add_up: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Returns the figures of the validation; `add_up` adds a tensor up over the processes."""
        raise NotImplementedError

    def faults(self) -> dict[str, str]:
        """Returns by name what seems wrong with the model since the last validation, in words."""
        return {}

    def pictures(self, originals: Tensor, columns: int) -> dict[str, Tensor]:
        """Returns by name the pictures to show, uint8 (n, C, H, W), given validation images (n, C, H, W)."""
        return {}

    def histograms(self) -> dict[str, Tensor]:
        """Returns by name the values to show as histograms."""
        return {}

    def describe(self) -> dict[str, str]:
        """Returns by name what to say of the stage before it starts."""
        return {}
