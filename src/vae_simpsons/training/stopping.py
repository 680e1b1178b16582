"""Ctrl-C, SIGTERM, a closed terminal and a scheduler's notice end a run between two steps.

It is saved, and a line says how to resume.
"""

import signal
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl

from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.saving import SaveCheckpoints, any_process
from vae_simpsons.training.stage import StageModule

# SIGUSR1 is what `sbatch --signal=USR1@90` sends before the time is up; SIGTERM what a pre-empted job gets; SIGHUP what
# a terminal sends that closes, unless it is ignored, as under nohup.
SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")


class Stopped(Exception):
    """Ends a run that the signal `signum` has stopped and that is saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class StopOnSignal(pl.Callback):
    """Stops the run at a signal, before its next step, once it is saved; a second signal stops it at once.

    An exception in the middle of things can leave a lock taken that TensorBoard's writer then waits for for ever. A
    signal during validation waits for its end, which is a matter of a forward pass.
    """

    def __init__(self, saving: SaveCheckpoints, last_stage: bool) -> None:
        self.saving, self.last_stage = saving, last_stage
        self.received: int | None = None
        self.handlers = ExitStack()  # puts back those that were there before

    def on_train_start(self, *_: Any) -> None:
        for signum in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
            if signal.getsignal(signum) != signal.SIG_IGN:
                self._handle(signum, self._receive)

    def _handle(self, signum: int, handler: Any) -> None:
        previous = signal.signal(signum, handler)
        self.handlers.callback(signal.signal, signum, previous or signal.SIG_DFL)

    def _receive(self, signum: int, frame: Any) -> None:
        self.received = signum
        self.handlers.close()
        if hasattr(signal, "SIGHUP"):  # comes twice where a terminal closes, and after SIGTERM where a session ends
            self._handle(signal.SIGHUP, signal.SIG_IGN)

    def on_train_batch_start(self, trainer: StageTrainer, module: StageModule, *_: Any) -> None:
        """Stops here, where all that was computed is logged and nothing is half done."""
        if any_process(trainer, self.received is not None):
            if module.steps_done:  # else the epoch's end has been saved
                self.saving.save(trainer, module)
            raise Stopped(self.received or signal.SIGTERM)

    def on_train_epoch_end(self, trainer: StageTrainer, module: StageModule) -> None:
        """Stops after the epoch has been saved too; a stage that has all its epochs ends first."""
        if self.received is not None and trainer.world_size == 1 and trainer.current_epoch + 1 < trainer.max_epochs:
            raise Stopped(self.received)

    def on_train_end(self, trainer: StageTrainer, *_: Any) -> None:
        """Stops before the next stage; a run that has all its stages ends by itself."""
        self.handlers.close()
        if not self.last_stage and trainer.strategy.reduce_boolean_decision(self.received is not None, all=False):
            raise Stopped(self.received or signal.SIGTERM)

    def on_exception(self, *_: Any) -> None:
        self.handlers.close()
