"""The LightningModule: what every stage shares. The stage itself says what is trained (stages/)."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vae_simpsons.checkpoint import EPOCH_SUMS, NETWORK, OPTIMIZER, STATE, Checkpoint
from vae_simpsons.data.batches import Batch
from vae_simpsons.data.order import random_bits
from vae_simpsons.devices import seed_device
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Settings
from vae_simpsons.training.guard import Guard
from vae_simpsons.training.stages import Stage

NOISE_STREAM = 0x4015E  # keeps the noise of a seed apart from its other draws


class StageModule(pl.LightningModule):
    """Trains a stage step by step, and knows how far it has come.

    The noise of a step follows from seed, stage, epoch, step and process, so a run resumes with a number.

    Attributes:
        stage: what is trained.
        steps_done: steps of the current epoch that are done.
        sums: of the stage's step_figures over them, and how many of them were finite, (figures + 1,).
        guard: keeps what is not finite from the weights.
    """

    def __init__(self, stage: Stage, settings: Settings, resume: Checkpoint | None = None) -> None:
        super().__init__()
        self.stage = stage
        self.settings = settings
        self.resume = resume
        self.guard = Guard(skip=settings.trainer.on_nonfinite == "skip")
        self.register_buffer("sums", torch.zeros(len(stage.step_figures) + 1), persistent=False)
        self.steps_done = 0
        self.last_loss = torch.zeros(())
        self.epoch_started = time.monotonic()

    # Starting and resuming

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns the stage's optimizer, as it was where the run resumes."""
        adam = self.stage.optimizer(self.fused)
        if self.resume is not None:
            load_optimizer(adam, self.stage.network, self.resume)
        return adam

    @property
    def fused(self) -> bool:
        """Whether Adam runs as one kernel for all weights; Lightning refuses that under loss scaling."""
        return self.device.type in ("cpu", "cuda") and self.settings.trainer.precision != "16-mixed"

    @property
    def adam(self) -> torch.optim.Optimizer:
        """The optimizer, without Lightning's wrapper."""
        return self.optimizers(use_pl_optimizer=False)

    def on_train_epoch_start(self) -> None:
        """Starts an epoch, or continues an interrupted one."""
        resume, self.resume = self.resume, None
        position = resume.position if resume else None
        self.steps_done, self.epoch_started = 0, time.monotonic()
        self.sums.zero_()
        if resume is not None and position is not None and position.epoch_steps:
            self.steps_done = position.epoch_steps
            self.epoch_started -= position.epoch_s
            self.sums.copy_(resume.tensors[EPOCH_SUMS][self.global_rank])
        draw = (self.settings.seed, self.stage.number, self.current_epoch, self.global_rank)
        self.noise_seeds = (random_bits(self.steps_per_epoch, NOISE_STREAM, *draw) >> 1).tolist()
        learning_rate = self.stage.learning_rate(self.current_epoch)
        set_learning_rate(self.adam, learning_rate)
        self.log("lr", learning_rate, on_step=False, on_epoch=True, logger=False)

    @property
    def resumes_within_epoch(self) -> bool:
        """Whether the first epoch is the rest of an interrupted one; to be asked before it starts."""
        position = self.resume.position if self.resume else None
        return position is not None and position.epoch_steps > 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return self.trainer.datamodule.steps_per_epoch

    # Training

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of `batch`."""
        self.seed_noise(self.steps_done)
        loss, figures = self.measure(batch)
        self.add(figures)
        self.last_loss = figures[0]
        self.after_steps(1)
        return loss

    def seed_noise(self, step: int) -> None:
        """Lets the device's random numbers be those of `step` of the current epoch."""
        seed_device(self.device, self.noise_seeds[step])

    def measure(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the loss of `batch`, to be differentiated, and the values of the stage's step_figures."""
        self.guard.before_step(self.stage.network)
        return self.stage.loss(batch)

    def add(self, figures: Tensor) -> None:
        """Adds a batch's figures to the epoch's sums, if they are finite."""
        counted = torch.cat([figures, figures.new_ones(1)])
        self.sums += torch.where(figures.isfinite().all(), counted, torch.zeros_like(counted))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keeps from the weights what is not finite, and clips the gradient."""
        self.prepare_optimizer_step(optimizer, self.last_loss)

    def prepare_optimizer_step(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        """Does what stands between the gradient and the optimizer's step, in every engine alike."""
        network, settings = self.stage.network, self.settings.trainer
        scaled, one_process = settings.precision == "16-mixed", self.trainer.world_size == 1
        norm = self.guard.before_optimizer(network, optimizer, loss, scaled, one_process)
        if settings.gradient_clip_val is not None:
            nn.utils.clip_grads_with_norm_(network.parameters(), settings.gradient_clip_val, norm)

    def after_steps(self, steps: int) -> None:
        """Counts `steps`; logs the last one's loss and, at the epoch's end, the means. Does not wait for the device."""
        self.steps_done += steps
        self.log("train/loss_step", self.last_loss, on_step=True, on_epoch=False, batch_size=1)
        if self.trainer.is_last_batch:
            *sums, finite = self.sums
            names = self.stage.step_figures
            means = {f"train/{name}": total / finite for name, total in zip(names, sums, strict=True)}
            self.log_dict(means, on_step=False, on_epoch=True, sync_dist=True, batch_size=1, logger=False)

    # Validation

    def on_validation_epoch_start(self) -> None:
        """Begins a validation with the same noise as every other one."""
        self.stage.start_validation(self.device, self.settings.seed + self.global_rank)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measures a batch of validation images."""
        self.stage.validate(batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the figures of all validation images, of all processes.

        Raises:
            VAEError: one is not finite.
        """
        figures = self.stage.end_validation(lambda sums: self.trainer.strategy.reduce(sums, reduce_op="sum"))
        bad = [name for name, value in figures.items() if not math.isfinite(value)]
        if bad:
            raise VAEError(
                f"epoch {self.current_epoch + 1}: {bad[0]} is not finite, though the loss of its steps was; likely "
                "BatchNorm's statistics are not. Nothing of it is saved. Resume from an older checkpoint, or start "
                f"again with --optimizer.lr {self.settings.optimizer.lr / 5:g}."
            )
        self.log_dict(figures, logger=False)

    # Saving

    def tensors_to_save(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint, by name. Every process has to call this."""
        network = self.stage.network
        tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
        for name, weight in network.named_parameters():
            state = self.adam.state.get(weight, {})
            tensors |= {f"{OPTIMIZER}{name}.{key}": value for key, value in state.items()}
        several = self.trainer.world_size > 1
        tensors[EPOCH_SUMS] = self.all_gather(self.sums) if several else self.sums[None]
        return tensors

    @property
    def epoch_s(self) -> float:
        """Seconds that the current epoch has taken."""
        return time.monotonic() - self.epoch_started


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Has `network` use BatchNorm's statistics during the block, and leaves each layer in the mode that it was in."""
    modes = [(layer, layer.training) for layer in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


def load_optimizer(adam: torch.optim.Optimizer, network: nn.Module, resume: Checkpoint) -> None:
    """Gives `adam` the state that it had, laid out in memory as the weights are: its fused kernel relies on that."""
    state = resume.part(OPTIMIZER)
    for name, weight in network.named_parameters():
        if f"{name}.step" not in state:
            continue
        step, *moments = (state[f"{name}.{key}"] for key in STATE)
        step = step.clone().to(weight.device if adam.param_groups[0]["fused"] else "cpu")
        moments = [torch.empty_like(weight).copy_(moment) for moment in moments]
        adam.state[weight] = dict(zip(STATE, (step, *moments), strict=True))


def set_learning_rate(adam: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the learning rate of `adam`; where it is a tensor that a graph has captured, in place."""
    for group in adam.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate
