"""How training comes along: a bar on a terminal, elsewhere a line an epoch."""

import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from vae_simpsons.progress import format_duration, shows_bars
from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.saving import figures_of
from vae_simpsons.training.stage import StageModule


class EpochProgress(pl.Callback):
    """Shows one bar over all steps, with the time left, on a terminal; elsewhere prints a line an epoch."""

    def __init__(self) -> None:
        self.bar = tqdm(disable=True)  # until training starts

    def on_train_start(self, trainer: StageTrainer, module: StageModule) -> None:
        self.started, self.first_epoch = time.monotonic(), trainer.current_epoch
        steps = trainer.max_epochs * module.steps_per_epoch
        hidden = not (trainer.is_global_zero and shows_bars())
        self.bar = tqdm(total=steps, initial=trainer.global_step, unit="step", dynamic_ncols=True, disable=hidden)

    def on_train_epoch_start(self, trainer: StageTrainer, module: StageModule) -> None:
        self.bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_batch_end(self, trainer: StageTrainer, *_: Any) -> None:
        self.bar.update(trainer.global_step - self.bar.n)  # by a step, or by a chunk of them

    def on_train_epoch_end(self, trainer: StageTrainer, module: StageModule) -> None:
        figures = figures_of(trainer, module)
        shown = dict.fromkeys(("train/loss", "val/loss", module.stage.best))
        self.bar.set_postfix({name: f"{figures[name]:.4f}" for name in shown if name in figures})
        if not trainer.is_global_zero or not self.bar.disable:
            return
        epoch, seconds = trainer.current_epoch + 1, time.monotonic() - self.started
        left = seconds / (epoch - self.first_epoch) * (trainer.max_epochs - epoch)
        text = "  ".join(f"{n} {v:.4g}" for n, v in figures.items() if n.startswith(("train/", "val/")))
        timing = f"{module.epoch_s:.1f} s, {format_duration(left)} left"
        print(f"epoch {epoch}/{trainer.max_epochs}  {text}  {timing}", flush=True)

    def on_train_end(self, *_: Any) -> None:
        self.bar.close()

    def on_exception(self, *_: Any) -> None:
        self.bar.close()  # leaves the cursor below the bar
