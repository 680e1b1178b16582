"""How training comes along: a bar on a terminal, elsewhere a line an epoch."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from vae_simpsons.progress import format_duration
from vae_simpsons.training.saving import figures_of
from vae_simpsons.training.stage import StageModule


class EpochProgress(pl.Callback):
    """Shows one bar over all steps, with the time left, on a terminal; elsewhere prints a line an epoch."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.started = self.epoch_started = 0.0
        self.first_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, module: StageModule) -> None:
        """Opens the bar."""
        self.started, self.first_epoch = time.monotonic(), trainer.current_epoch
        if trainer.is_global_zero and sys.stderr.isatty():
            steps = trainer.max_epochs * module.steps_per_epoch
            self.bar = tqdm(total=steps, initial=trainer.global_step, unit="step", dynamic_ncols=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: StageModule) -> None:
        """Shows which epoch it is."""
        self.epoch_started = time.monotonic()
        if self.bar is not None:
            self.bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Moves the bar on by a step, or by a chunk of them."""
        if self.bar is not None:
            self.bar.update(trainer.global_step - self.bar.n)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: StageModule) -> None:
        """Shows the epoch's figures."""
        if not trainer.is_global_zero:
            return
        figures = figures_of(trainer, module)
        if self.bar is not None:
            shown = dict.fromkeys(("train/loss", "val/loss", module.stage.best))
            self.bar.set_postfix({name: f"{figures[name]:.4f}" for name in shown})
            return
        epoch, now = trainer.current_epoch + 1, time.monotonic()
        left = (now - self.started) / (epoch - self.first_epoch) * (trainer.max_epochs - epoch)
        text = "  ".join(f"{n} {v:.4g}" for n, v in figures.items() if n.startswith(("train/", "val/")))
        seconds = now - self.epoch_started
        print(f"epoch {epoch}/{trainer.max_epochs}  {text}  {seconds:.1f} s, {format_duration(left)} left", flush=True)

    def on_train_end(self, *_: Any) -> None:
        """Closes the bar."""
        if self.bar is not None:
            self.bar.close()

    on_exception = on_train_end  # leaves the cursor below the bar
