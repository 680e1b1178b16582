"""When a run's checkpoints are saved, and how no step waits for the disk.

A checkpoint taken in the middle of an epoch tells Lightning that the epoch has not begun; the module and the DataModule
know better, and go on with the batch that is next. Lightning's own counters would repeat one.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from vae_simpsons import checkpoint
from vae_simpsons.training.health import Health
from vae_simpsons.training.module import VAEModule
from vae_simpsons.training.runfolder import RunFolder
from vae_simpsons.training.writer import Attempts, Writer


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's checkpoints, written and read by checkpoint.py: whole files, safe loading.

    Args:
        resumed: what the run goes on from, which has been read already.
    """

    def __init__(
        self, folder: RunFolder, writer: Writer, attempt: Attempts, resumed: checkpoint.Checkpoint | None = None
    ) -> None:
        super().__init__()
        self.resumed = resumed
        self.folder = folder
        self.writer = writer
        self.attempt = attempt

    def save_checkpoint(self, payload: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Have `payload`, as it is now, written to `path`, which is at every instant a complete file.

        One that still waits to be written is dropped for a newer one, but for the best, which only a better one
        replaces: a disk slower than training costs steps of a killed run, not time.
        """
        name, older = ("best", ("best", "last")) if payload["is_best"] else ("last", ("last",))
        self.writer.submit(self._write, snapshot(payload), Path(path), name=name, instead_of=older)

    def _write(self, bring: Callable[[], dict[str, Any]], path: Path) -> None:
        payload = bring()
        if self.attempt(str(path), checkpoint.write, payload, path) and payload["is_best"]:
            self.attempt(str(self.folder.best), checkpoint.keep, path, self.folder.best)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """What was written to `path`, from which the run goes on."""
        assert self.resumed is not None and Path(path) == self.resumed.path
        return self.resumed.payload


def snapshot(payload: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """What brings `payload`, as it is now, to the CPU; called in another thread, it leaves the device's work alone."""
    copied = apply_to_collection(payload, Tensor, lambda tensor: tensor.detach().clone())
    if not torch.cuda.is_initialized():
        return lambda: apply_to_collection(copied, Tensor, Tensor.cpu)
    taken = torch.cuda.Event()
    taken.record()

    def bring() -> dict[str, Any]:
        with torch.cuda.stream(torch.cuda.Stream()):
            taken.wait()
            return apply_to_collection(copied, Tensor, Tensor.cpu)

    return bring


class KeepCheckpoints(pl.Callback):
    """last.ckpt after each epoch and every few minutes, and best.ckpt when val/loss is the lowest yet.

    Lightning's own ModelCheckpoint leaves last.ckpt at the best epoch when one that followed was worse, and names
    files anew when a run folder is moved.
    """

    def __init__(self, folder: RunFolder, writer: Writer, health: Health, every_minutes: float) -> None:
        self.folder = folder
        self.writer = writer
        self.health = health
        self.every_s = 60 * every_minutes
        self.saved_at = time.monotonic()
        self.best_loss = float("inf")
        self.best_epoch = 0
        self.is_best = False

    def on_train_batch_start(self, trainer: pl.Trainer, module: VAEModule, *args: Any) -> None:
        """Save in the middle of an epoch, between steps, when it is time."""
        if module.steps_done and decided(trainer, time.monotonic() - self.saved_at > self.every_s):
            self.save(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Save, and remember whether it is the best epoch."""
        loss = float(trainer.callback_metrics["val/loss"])
        self.is_best = loss < self.best_loss
        if self.is_best:
            self.best_loss, self.best_epoch = loss, trainer.current_epoch + 1
        self.save(trainer, module)
        self.is_best = False

    def save(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Have last.ckpt written, if the run is well; every process takes part, one writes.

        Raises:
            VAEError: it is not.
        """
        self.health.look(trainer, module)
        if trainer.is_global_zero:
            # Points that stand before the checkpoint must be in the file: a resumed run logs those behind it anew.
            self.writer.submit(trainer.logger.flush)
        trainer.save_checkpoint(self.folder.last)
        self.saved_at = time.monotonic()

    def on_save_checkpoint(self, trainer: pl.Trainer, module: VAEModule, payload: dict[str, Any]) -> None:
        """Tell CheckpointFiles whether this is the best."""
        payload["is_best"] = self.is_best

    def on_train_end(self, *args: Any) -> None:
        """Wait for all that is being written, while TensorBoard's file is still open."""
        self.writer.finish()

    on_exception = on_train_end

    def state_dict(self) -> dict[str, float]:
        """What a resumed run must know to tell whether it is better."""
        return {"best_loss": self.best_loss, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from there."""
        self.best_loss, self.best_epoch = state_dict["best_loss"], int(state_dict["best_epoch"])


def decided(trainer: pl.Trainer, here: bool) -> bool:
    """Whether any process says yes; several agree only at the steps that are logged, since each has to wait for all."""
    if trainer.world_size == 1:
        return here
    if trainer.global_step % trainer.log_every_n_steps:
        return False
    return trainer.strategy.reduce_boolean_decision(here, all=False)
