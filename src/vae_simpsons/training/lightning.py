"""What relies on Lightning's private parts or changes its defaults, in one place, with the reasons.

pyproject.toml bounds Lightning's version for their sake.
"""

import logging
import warnings
from typing import TYPE_CHECKING

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vae_simpsons.checkpoint import Position

if TYPE_CHECKING:
    from vae_simpsons.training.datamodule import ImagesDataModule
    from vae_simpsons.training.logger import RunLogger


class StageTrainer(pl.Trainer):
    """Lightning's Trainer, with the types of what the trainer of a stage always has."""

    datamodule: "ImagesDataModule"
    logger: "RunLogger"
    log_every_n_steps: int
    max_epochs: int


def is_first_process() -> bool:
    """Whether this is the first, or the only, of the processes that train; known before there is a trainer."""
    return rank_zero_only.rank == 0  # type: ignore[attr-defined]  # an attribute of a function


def quiet_lightning() -> None:
    """Silences Lightning's advice on what is decided here on purpose; its errors still come."""
    for package in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(package).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=package)


def keep_apart(module: nn.Module, buffers: list[str]) -> None:
    """Leaves each process its own `buffers`; DDP copies those of the first process to all before each step."""
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, buffers)


def set_position(trainer: pl.Trainer, position: Position) -> None:
    """Lets `trainer` begin where `position` is.

    Lightning can only restore its counters from a checkpoint of its own, a pickle, and counts the batches of an
    interrupted epoch as an epoch of their own. It counts the steps of automatic and of manual optimization apart; a run
    may resume with either.
    """
    loop = trainer.fit_loop
    for epochs_counted in (loop.epoch_progress.total, loop.epoch_progress.current):
        for name in ("ready", "started", "processed", "completed"):
            setattr(epochs_counted, name, position.epochs)
    automatic = loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
    manual = loop.epoch_loop.manual_optimization.optim_step_progress
    for steps_counted in (automatic.total, manual.total):
        steps_counted.ready = steps_counted.completed = position.steps
    loop.epoch_loop._batches_that_stepped = position.steps  # the x-axis of the curves
    trainer.precision_plugin.load_state_dict(position.loss_scaler or {})


def count_steps(trainer: pl.Trainer, steps: int) -> None:
    """Counts `steps` optimizer steps that one training_step has made, as if each had been a training_step.

    With manual optimization Lightning counts the calls of its own optimizer wrapper, and a replayed step has none.
    """
    loop = trainer.fit_loop.epoch_loop
    progress = loop.manual_optimization.optim_step_progress
    for counted in (progress.total, progress.current):
        counted.ready += steps
        counted.completed += steps
    loop._batches_that_stepped += steps - 1  # Lightning adds one for the training_step itself
