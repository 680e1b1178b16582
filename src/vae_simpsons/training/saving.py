"""When a run's checkpoints are saved, and how no step waits for the disk."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor

from vae_simpsons.checkpoint import Checkpoint, Position, write_checkpoint
from vae_simpsons.files import atomic_path, link_or_copy, sync_folder
from vae_simpsons.training.health import Health
from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.runfolder import Run
from vae_simpsons.training.stage import StageModule


class SaveCheckpoints(pl.Callback):
    """Saves last.ckpt after each epoch and every few minutes, and best.ckpt when the deciding figure is the lowest yet.

    Lightning's own ModelCheckpoint leaves last.ckpt at the best epoch when a later one was worse, and writes pickles.
    """

    def __init__(self, run: Run, health: Health) -> None:
        self.run, self.health = run, health
        self.every_s = 60 * run.settings.trainer.save_every_minutes
        self.saved_at = time.monotonic()
        self.best, self.best_epoch = (run.position.best, run.position.best_epoch) if run.position else (None, 0)
        self.carried = run.trained.figures if run.trained else {}  # of the stage before
        self.figures = run.resume.figures if run.resume else self.carried

    def on_train_batch_start(self, trainer: StageTrainer, module: StageModule, *_: object) -> None:
        """Saves in the middle of an epoch, between steps, when it is time."""
        if module.steps_done and any_process(trainer, time.monotonic() - self.saved_at > self.every_s):
            self.save(trainer, module)

    def on_train_epoch_end(self, trainer: StageTrainer, module: StageModule) -> None:
        figures, prefix = figures_of(trainer, module), module.stage.in_files
        self.figures = self.carried | {prefix + name: value for name, value in figures.items()}
        value = figures[module.stage.best]
        is_best = self.best is None or value < self.best
        if is_best:
            self.best, self.best_epoch = value, trainer.current_epoch + 1
        self.save(trainer, module, is_best)

    def save(self, trainer: StageTrainer, module: StageModule, is_best: bool = False) -> None:
        """Hands last.ckpt to the writer, if the run is healthy; every process takes part, one writes.

        A checkpoint that still waits to be written gives way to a newer one, but the best only to a better one: a disk
        slower than training costs a killed run steps, not time.
        """
        self.health.check(trainer, module)
        tensors = module.tensors_to_save()
        self.saved_at = time.monotonic()
        if not trainer.is_global_zero:
            return
        complete = module.steps_done >= module.steps_per_epoch
        position = Position(
            stage=module.stage.name,
            epochs=trainer.current_epoch + complete,
            steps=trainer.global_step,
            epoch_steps=0 if complete else module.steps_done,
            epoch_s=0.0 if complete else module.epoch_s,
            best=self.best,
            best_epoch=self.best_epoch,
            processes=trainer.world_size,
            loss_scaler=trainer.precision_plugin.state_dict() or None,
        )
        trained, path, names = self.run.trained, self.run.folder.last, list(module.stage.class_names)
        epochs, carried = (trained.epochs, trained.tensors) if trained else (position.epochs, {})
        checkpoint = Checkpoint(path, module.settings, dict(carried), epochs, self.figures, position, names)
        # Points that were logged before the checkpoint must be in the file: a resumed run logs the later ones again.
        self.run.writer.submit(trainer.logger.flush)
        name, replaces = ("best", ("best", "last")) if is_best else ("last", ("last",))
        self.run.writer.submit(self._write, checkpoint, snapshot(tensors), is_best, name=name, replaces=replaces)

    def _write(self, checkpoint: Checkpoint, copy_to_cpu: Callable[[], dict[str, Tensor]], is_best: bool) -> None:
        checkpoint.tensors.update(copy_to_cpu())
        attempts, best = self.run.attempts, self.run.folder.best
        if attempts(str(checkpoint.path), write_checkpoint, checkpoint) and is_best:
            attempts(str(best), keep_copy, checkpoint.path, best)

    def on_train_end(self, *_: object) -> None:
        """Waits for all that is being written, while TensorBoard's file is still open."""
        self.run.writer.finish()

    def on_exception(self, *_: object) -> None:
        self.run.writer.finish()


def keep_copy(path: Path, copy: Path) -> None:
    """Makes `copy` the file that is now at `path`, which is only ever replaced and never changed."""
    with atomic_path(copy) as temporary:
        link_or_copy(path, temporary)
    sync_folder(copy.parent)


def figures_of(trainer: StageTrainer, module: StageModule) -> dict[str, float]:
    """Returns the figures of the epoch that ends, in the stage's order."""
    logged = trainer.callback_metrics
    return {name: float(logged[name]) for name in module.stage.figures if name in logged}


def snapshot(tensors: dict[str, Tensor]) -> Callable[[], dict[str, Tensor]]:
    """Returns what copies `tensors`, as they are now, to the CPU; in another thread it does not hold up the GPU."""
    copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    taken = torch.cuda.current_stream().record_event() if torch.cuda.is_initialized() else None

    def copy_to_cpu() -> dict[str, Tensor]:
        with torch.cuda.stream(torch.cuda.Stream()) if taken else nullcontext():
            if taken:
                taken.wait()
            return {name: copy.cpu() for name, copy in copies.items()}

    return copy_to_cpu


def any_process(trainer: StageTrainer, here: bool) -> bool:
    """Whether any process says yes; several only ask each other at steps that are logged, since each waits for all."""
    if trainer.world_size == 1:
        return here
    if trainer.global_step % trainer.log_every_n_steps:
        return False
    return trainer.strategy.reduce_boolean_decision(here, all=False)
