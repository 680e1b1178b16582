"""Ctrl-C, SIGTERM and a scheduler's notice end a run between two steps, saved, with a line that says how to go on."""

import signal
import threading
from typing import Any

import pytorch_lightning as pl

from vae_simpsons.training.module import VAEModule
from vae_simpsons.training.saving import KeepCheckpoints, decided

# SIGUSR1 is what `sbatch --signal=USR1@90` sends before the time is up; SIGTERM what pre-emption sends.
SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")


class Stopped(Exception):
    """A run that a signal has ended, saved; `signum` says which."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class StopOnSignal(pl.Callback):
    """A signal stops the run before its next step, once it is saved; a second one stops it at once.

    An exception in the midst of things can leave a lock held that TensorBoard's writer then waits for for ever. What is
    asked for during validation waits for its end, which is a matter of a forward pass.
    """

    def __init__(self, keep: KeepCheckpoints) -> None:
        self.keep = keep
        self.asked: int | None = None
        self.before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Listen."""
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
            if signal.getsignal(signum) != signal.SIG_IGN:
                self.before[signum] = signal.signal(signum, self._ask)

    def _ask(self, signum: int, frame: Any) -> None:
        self.asked = signum
        self._hand_back()

    def on_train_batch_start(self, trainer: pl.Trainer, module: VAEModule, *args: Any) -> None:
        """A safe place to stop: all that was computed is logged, and nothing is half done."""
        if decided(trainer, self.asked is not None):
            if module.steps_done:  # else the epoch's end has been saved
                self.keep.save(trainer, module)
            raise Stopped(self.asked or signal.SIGTERM)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Another, after the epoch has been saved; a run that is through needs no stopping."""
        more = trainer.current_epoch + 1 < trainer.max_epochs
        if self.asked is not None and trainer.world_size == 1 and more:
            raise Stopped(self.asked)

    def on_train_end(self, *args: Any) -> None:
        """Listen no more."""
        self._hand_back()

    on_exception = on_train_end

    def _hand_back(self) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)
        self.before = {}
