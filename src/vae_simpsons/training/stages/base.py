"""What every stage declares."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from vae_simpsons.checkpoint import Checkpoint
from vae_simpsons.data.batches import Batch
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.progress import Progress

Network = TypeVar("Network", bound=nn.Module)


class Stage(nn.Module, Generic[Network]):
    """A network with its loss, its optimizer and its figures; how training runs is not its business."""

    name: str  # in checkpoints and messages
    number: int  # of the stage in a run, from 0; its noise is drawn from a stream of its own
    prefix: str  # of the network's tensors in a checkpoint
    average_prefix: str  # of their average's
    in_files: str  # begins the names of the stage's table, pictures and curves
    network: Network  # what is trained, and saved
    step_figures: tuple[str, ...]  # what `loss` measures of a batch, the loss first; their means are `train/...`
    figures: tuple[str, ...]  # everything that is logged of an epoch, in the order of the table
    best: str  # the figure whose lowest value makes an epoch the best
    epochs: int
    batch_size: int  # in each process
    ema: float | None  # of the averaged weights; None: no average
    clip: float | None  # largest norm of the gradient
    lr: float  # the highest learning rate
    lr_name: str  # the setting that it is
    class_names: Sequence[str] = ()  # that a prior is told
    horizontal_flip: bool = False  # whether a batch mirrors a random half of its rows

    def __init__(self) -> None:
        super().__init__()
        self.averaged: AveragedModel | None = None  # the averaged weights; a class attribute would hide the module

    @property
    def final(self) -> Network:
        """The network whose weights count: the averaged one, where weights are averaged."""
        return self.network if self.averaged is None else cast(Network, self.averaged.module)

    def start(
        self, earlier: Checkpoint | None, dataset: Dataset, device: torch.device, processes: int, progress: Progress
    ) -> None:
        """Prepares what the stage trains on; `earlier` is the model as the stage before left it."""
        self.inputs = dataset.pack.pixels  # (N, ...), a row for each image; what a batch's rows are taken from
        self.labels = dataset.labels  # int64 (N,)

    def average_weights(self) -> None:
        """Begins the average of the weights as they are now, if the settings want one."""
        if self.ema is not None:
            self.averaged = AveragedModel(self.network).requires_grad_(False)

    def tensors(self) -> dict[str, Tensor]:
        """Returns the weights, and their average, by their names in a checkpoint."""
        found = {self.prefix + name: tensor for name, tensor in self.network.state_dict().items()}
        if self.averaged is not None:
            found |= {self.average_prefix + n: tensor for n, tensor in self.averaged.module.state_dict().items()}
        return found

    def load(self, checkpoint: Checkpoint) -> None:
        """Takes up the weights, and their average, of a checkpoint."""
        self.network.load_state_dict(checkpoint.part(self.prefix))
        if self.averaged is not None:
            self.averaged.module.load_state_dict(checkpoint.part(self.average_prefix))

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the loss of `batch`, (), to be differentiated, and the values of `step_figures`, detached."""
        raise NotImplementedError

    def optimizer(self, fused: bool) -> torch.optim.Optimizer:
        """Returns the optimizer of the network's weights; `fused`: one kernel for all of them."""
        raise NotImplementedError

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """Returns the learning rate of `step`, counted from 0 over the whole stage."""
        raise NotImplementedError

    def prepare_step(self, step: int, steps_per_epoch: int) -> None:
        """Sets what else depends on the step."""

    def start_validation(self, device: torch.device, seed: int) -> None:
        """Begins a validation whose noise `seed` decides."""

    def validate(self, batch: Batch) -> None:
        """Measures a batch of validation images, with the final weights."""

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
