"""The LightningModule: what every stage shares. The stage itself says what is trained (stages/)."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vae_simpsons.checkpoint import EPOCH_SUMS, OPTIMIZER, STATE, Checkpoint
from vae_simpsons.data.batches import Batch
from vae_simpsons.data.order import random_bits
from vae_simpsons.devices import seed_device
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Settings
from vae_simpsons.training.averaging import update_average
from vae_simpsons.training.lightning import StageTrainer, keep_apart
from vae_simpsons.training.stages import Stage

NOISE_STREAM = 0x4015E  # keeps the noise of a seed apart from its other draws


class StageModule(pl.LightningModule):
    """Trains a stage step by step, and knows how far it has come.

    The noise of a step follows from seed, stage, epoch, step and process, so a run resumes with a number.

    Attributes:
        steps_done: steps of the current epoch that are done.
        sums: of the stage's step_figures over them, and how many of them were finite, (figures + 1,).
    """

    trainer: StageTrainer
    sums: Tensor

    def __init__(self, stage: Stage, settings: Settings, resume: Checkpoint | None = None) -> None:
        super().__init__()
        self.stage = stage
        self.settings = settings
        self.resume = resume
        self.guard = Guard(skip=settings.trainer.on_nonfinite == "skip")
        self.register_buffer("sums", torch.zeros(len(stage.step_figures) + 1), persistent=False)
        keep_apart(self, ["sums"])
        self.steps_done = 0
        self.last_loss = torch.zeros(())
        self.epoch_started = time.monotonic()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns the stage's optimizer, as it was where the run resumes."""
        # One kernel for all weights; Lightning refuses that under loss scaling.
        fused = self.device.type in ("cpu", "cuda") and self.settings.trainer.precision != "16-mixed"
        adam = self.stage.optimizer(fused)
        state = self.resume.part(OPTIMIZER) if self.resume else {}
        for name, weight in self.stage.network.named_parameters():
            kept = {key: state[f"{name}.{key}"] for key in STATE if f"{name}.{key}" in state}
            if "step" in kept:
                adam.state[weight]["step"] = kept.pop("step").clone().to(weight.device if fused else "cpu")
            for key, value in kept.items():  # laid out in memory as the weights are: the fused kernel relies on that
                adam.state[weight].setdefault(key, torch.empty_like(weight)).copy_(value)
        return adam

    @property
    def adam(self) -> torch.optim.Optimizer:
        """The optimizer, without Lightning's wrapper."""
        return self.trainer.optimizers[0]

    def on_train_epoch_start(self) -> None:
        """Starts an epoch, or continues an interrupted one."""
        self.steps_done, self.epoch_started = 0, time.monotonic()
        self.sums.zero_()
        position = self.resume.position if self.resume else None
        if self.resume and position and position.epoch_steps:
            self.steps_done = position.epoch_steps
            self.epoch_started -= position.epoch_s
            self.sums.copy_(self.resume.tensors[EPOCH_SUMS][self.global_rank])
        self.resume = None
        draw = (self.settings.seed, self.stage.number, self.current_epoch, self.global_rank)
        self.noise_seeds = (random_bits(self.steps_per_epoch, NOISE_STREAM, *draw) >> 1).tolist()
        last = self.current_epoch * self.steps_per_epoch + self.steps_per_epoch - 1
        rate = self.stage.learning_rate(last, self.steps_per_epoch)
        self.log("train/lr", rate, on_step=False, on_epoch=True, logger=False)

    @property
    def resumes_within_epoch(self) -> bool:
        """Whether the first epoch is the rest of an interrupted one; to be asked before it starts."""
        position = self.resume.position if self.resume else None
        return position is not None and position.epoch_steps > 0

    @property
    def steps_per_epoch(self) -> int:
        return self.trainer.datamodule.steps_per_epoch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.prepare_step(self.steps_done)
        loss, figures = self.measure(batch)
        self.add(figures)
        self.last_loss = figures[0]
        self.after_steps(1)
        return loss

    def prepare_step(self, step: int) -> None:
        """Sets what depends on the number of a step in its epoch: noise, learning rate, the stage's own."""
        seed_device(self.device, self.noise_seeds[step])
        position = self.current_epoch * self.steps_per_epoch + step, self.steps_per_epoch
        rate = self.stage.learning_rate(*position)
        for group in self.adam.param_groups:
            if isinstance(group["lr"], Tensor):  # which a graph has captured
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.stage.prepare_step(*position)

    def average_weights(self, step: int) -> None:
        """Moves the averaged weights, if there are some, towards those after a step of this epoch."""
        if self.stage.averaged is not None and self.stage.ema is not None:
            position = self.current_epoch * self.steps_per_epoch + step
            update_average(self.stage.averaged, self.stage.network, position, self.stage.ema)

    def on_train_batch_end(self, *_: object) -> None:
        self.average_weights(self.steps_done - 1)

    def measure(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the loss of `batch`, to be differentiated, and the values of the stage's step_figures."""
        self.guard.before_step(self.stage.network)
        return self.stage.loss(batch)

    def add(self, figures: Tensor) -> None:
        """Adds a batch's figures to the epoch's sums, if they are finite."""
        counted = torch.cat([figures, figures.new_ones(1)])
        self.sums += torch.where(figures.isfinite().all(), counted, torch.zeros_like(counted))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Does what stands between the gradient and the optimizer's step, in every engine alike."""
        network, settings = self.stage.network, self.settings.trainer
        scaled, one_process = settings.precision == "16-mixed", self.trainer.world_size == 1
        norm = self.guard.before_optimizer(network, optimizer, self.last_loss, scaled, one_process)
        if self.stage.clip is not None:
            nn.utils.clip_grads_with_norm_(network.parameters(), self.stage.clip, norm)

    def after_steps(self, steps: int) -> None:
        """Counts `steps`; logs the last one's loss and, at the epoch's end, the means. Does not wait for the device."""
        self.steps_done += steps
        self.log("train/loss_step", self.last_loss, on_step=True, on_epoch=False, batch_size=1)
        if self.trainer.is_last_batch:
            *sums, finite = self.sums
            names = self.stage.step_figures
            means = {f"train/{name}": total / finite for name, total in zip(names, sums, strict=True)}
            self.log_dict(means, on_step=False, on_epoch=True, sync_dist=True, batch_size=1, logger=False)

    def on_validation_epoch_start(self) -> None:
        self.stage.start_validation(self.device, self.settings.seed + self.global_rank)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.stage.validate(batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the figures of all validation images, of all processes; one that is not finite ends the run."""
        figures = self.stage.end_validation(lambda sums: self.trainer.strategy.reduce(sums, reduce_op="sum"))
        assert figures.keys() <= set(self.stage.figures), "a figure that the stage does not declare is not shown"
        bad = next((name for name, value in figures.items() if not math.isfinite(value)), None)
        if bad:
            raise VAEError(
                f"epoch {self.current_epoch + 1}: {bad} is not finite, though the loss of its steps was; likely "
                "BatchNorm's statistics are not. Nothing of it is saved. Resume from an older checkpoint, or start "
                f"again with --{self.stage.lr_name} {self.stage.lr / 5:g}."
            )
        self.log_dict(figures, logger=False)

    def tensors_to_save(self) -> dict[str, Tensor]:
        """Returns the tensors of a checkpoint, by name. Every process has to call this."""
        tensors = self.stage.tensors()
        for name, weight in self.stage.network.named_parameters():
            state = self.adam.state.get(weight, {})
            tensors |= {f"{OPTIMIZER}{name}.{key}": value for key, value in state.items()}
        several = self.trainer.world_size > 1
        tensors[EPOCH_SUMS] = torch.as_tensor(self.all_gather(self.sums)) if several else self.sums[None]
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


class Guard(nn.Module):
    """Counts the steps whose loss or gradient is not finite, and keeps them from the weights.

    They are noticed on the device, without waiting for it: fused Adam skips a step where its `found_inf` says so. With
    `skip` such steps are left out; without, every later step too, until the run is stopped.
    """

    steps: Tensor
    bad: Tensor
    first_bad: Tensor

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

        Lightning's loss scaling checks gradients that it has `scaled`. Unless `one_process` trains, all have to come to
        one decision, and only the gradient is theirs together.
        """
        norm = nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
        finite = loss.isfinite() if scaled else norm.isfinite()
        if one_process:
            finite = finite & loss.isfinite()
        self.steps += 1
        self.first_bad.copy_(torch.where(~finite & (self.bad == 0), self.steps, self.first_bad))
        self.bad += ~finite
        leave_out = ~finite if self.skip else self.bad > 0
        for buffer, before in zip(network.buffers(), self.statistics, strict=False):
            buffer.copy_(torch.where(leave_out, before, buffer))
        if adam.param_groups[0]["fused"]:
            adam.found_inf = leave_out.float()  # type: ignore[attr-defined]  # of fused ones alone
        elif not scaled and leave_out:
            adam.zero_grad(set_to_none=True)
        return norm
