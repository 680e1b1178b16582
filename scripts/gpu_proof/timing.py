"""Training runs with a clock on them. What is known here of the package's inside is `main` and `bare_step`.

As a program: python -m gpu_proof.timing STAMPS train ... is `vae train ...`, and notes in STAMPS when what happened.
"""

import contextlib
import gc
import io
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from gpu_proof.setup import Notes
from vae_simpsons.cli import main

BARE_STEPS = 200  # how often a bare step is repeated, at most


class Clock(pl.Callback):
    """Reads the clock around a run's epochs; the device is waited for where an epoch's parts end, nowhere else.

    Attributes:
        epochs: seconds of each epoch's training, validation with its pictures, and rest, with its number of steps.
        bare_s: of a step without Lightning, once the run is through, if time for it was given.
        memory_bytes: the most that the device's tensors took.
    """

    def __init__(self, bare_limit_s: float = 0, note: Callable[[str], None] = lambda name: None) -> None:
        self.bare_limit_s = bare_limit_s
        self.note = note
        self.epochs: list[dict[str, float]] = []
        self.bare_s: float | None = None
        self.memory_bytes = 0
        self.batch: Any = None
        self.steps = 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Count memory from here."""
        if module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """An epoch begins."""
        self.began, self.steps = wait_and_read(module), trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, out: Any, batch: Any, *_: Any
    ) -> None:
        """Note the run's first step, or first chunk of steps."""
        if self.batch is None:
            wait_and_read(module)
            self.note("first_step")
        self.batch = batch

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The steps of an epoch are through."""
        self.trained = wait_and_read(module)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """So are its validation and its pictures."""
        self.validated = wait_and_read(module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """So is all the rest."""
        now = wait_and_read(module)
        parts = {"train": self.trained - self.began, "validation": self.validated - self.trained}
        self.epochs.append(parts | {"rest": now - self.validated, "steps": trainer.global_step - self.steps})
        self.note("trained")

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Time bare steps; the run has been saved, so what they do to it is of no matter."""
        if module.device.type == "cuda":
            self.memory_bytes = torch.cuda.max_memory_allocated()
        if self.bare_limit_s and self.batch is not None:
            self.bare_s = time_step(bare_step(trainer, module, self.batch), module, self.bare_limit_s)
        self.batch = None

    def median_s(self, part: str) -> float:
        """Seconds of a part of an epoch, all but the first, which warms up; the median."""
        return statistics.median(epoch[part] for epoch in self.epochs[1:] or self.epochs)


def wait_and_read(module: pl.LightningModule) -> float:
    """The clock, once the device has done what it was asked for."""
    if module.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def bare_step(trainer: pl.Trainer, module: pl.LightningModule, batch: Any) -> Callable[[], object]:
    """A training step of the module on a batch, without Lightning: the replay of its graph, or the plain step."""
    if getattr(module, "replay", None) is not None:
        return module.replay
    adam = trainer.optimizers[0]

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        with trainer.precision_plugin.forward_context():
            loss, _ = module.stage.loss(batch)
        loss.backward()
        adam.step()

    return step


def time_step(step: Callable[[], object], module: pl.LightningModule, limit_s: float) -> float:
    """Seconds of one `step`, over as many as `limit_s` allows."""
    for _ in range(3):
        step()
    began, count = wait_and_read(module), 0
    while count < BARE_STEPS and time.perf_counter() - began < limit_s:
        step()
        count += 1
    return (wait_and_read(module) - began) / count


@contextlib.contextmanager
def clocked(clock: Clock):
    """Have the run that is started in the block carry `clock`, behind all callbacks of its own."""
    fit = pl.Trainer.fit

    def fit_with_clock(self: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        clock.note("fit")
        self.callbacks.append(clock)
        fit(self, *args, **kwargs)

    pl.Trainer.fit = fit_with_clock
    try:
        yield
    finally:
        pl.Trainer.fit = fit


def train_here(arguments: Sequence[str], clock: Clock) -> str | None:
    """Train in this process, silently; None, or in one line why it failed."""
    said = io.StringIO()
    try:
        with clocked(clock), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            status = main(list(arguments))
    except Exception as e:  # a bug in one way of training must not cost the others
        return f"{type(e).__name__}: {e}".splitlines()[0][:300]
    finally:
        forget()
    return None if status == 0 else (said.getvalue().strip().splitlines() or [f"status {status}"])[-1][:300]


def forget() -> None:
    """Give back what a run leaves in this process, so that the next one is measured as if it were the first."""
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def run_with_stamps(stamps: Path, arguments: Sequence[str]) -> int:
    """Run `vae` with `arguments`; when it comes to what is noted in `stamps`, in seconds since 1970."""
    notes = Notes(stamps)
    with clocked(Clock(note=lambda name: notes.add(**{name: time.time()}))):
        return main(list(arguments))


if __name__ == "__main__":
    sys.exit(run_with_stamps(Path(sys.argv[1]), sys.argv[2:]))
