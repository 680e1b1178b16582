"""What happens around the steps: pictures, the table of figures, checkpoints, progress."""

import csv
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from vae_simpsons import checkpoint, images, sampling
from vae_simpsons.config import to_flat
from vae_simpsons.data.batches import take
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.progress import duration
from vae_simpsons.training.module import VAEModule
from vae_simpsons.training.runfolder import RunFolder
from vae_simpsons.training.writer import Writer

PICTURES = 64  # samples shown, and twice the number of reconstructions
PICTURES_NROW = 8
PICTURES_SEED = 0  # of the z that every epoch's samples are decoded from

FIGURES = (
    *("train/loss", "train/mse", "train/kl", "train/elbo"),
    *("val/loss", "val/mse", "val/kl", "val/elbo"),
    *("val/active_units", "sigma/residual", "sigma/implied", "lr"),
)


class RunLogger(TensorBoardLogger):
    """TensorBoard events in the run folder itself.

    Args:
        folder: the run's.
        purge_step: a resumed run's first step; what an interrupted epoch logged from there on is not shown.
    """

    def __init__(self, folder: RunFolder, purge_step: int | None) -> None:
        super().__init__(folder.path, name="", version="", default_hp_metric=False, purge_step=purge_step)

    def save(self) -> None:
        """Nothing: Lightning's would write a second, lesser config file beside config.yaml."""


class Pictures(pl.Callback):
    """After each validation: the same validation images above their reconstructions, and samples from the same z."""

    def __init__(self, folder: RunFolder, dataset: Dataset, writer: Writer) -> None:
        self.folder = folder
        self.writer = writer
        # Spread over the validation images: sorted files begin with one character.
        spread = np.linspace(0, len(dataset.val) - 1, min(PICTURES // 2, len(dataset.val))).round().astype(int)
        self.originals = take(dataset.pack.pixels, dataset.val[spread])  # uint8 (n, C, H, W)

    def on_validation_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Draw and keep them, as PNG and in TensorBoard."""
        if not trainer.is_global_zero:
            return
        recon = images.denormalise(sampling.reconstruct(module.network, images.normalise(self.originals)))
        self._keep(trainer, "reconstructions", images.above(self.originals, recon, PICTURES_NROW))
        if module.network.variational:
            drawn = torch.cat(list(sampling.sample(module.network, PICTURES, PICTURES_SEED)))
            self._keep(trainer, "samples", images.denormalise(drawn))
            module.logger.experiment.add_histogram("kl_per_dimension", module.kl_per_dimension, trainer.global_step)

    def _keep(self, trainer: pl.Trainer, name: str, pixels: Tensor) -> None:
        path = self.folder.pictures / f"{name}_{trainer.current_epoch + 1:04d}.png"
        picture = images.grid(pixels, PICTURES_NROW)
        self.writer.submit(keep_picture, path, picture, trainer.logger.experiment, name, trainer.global_step)


def keep_picture(path: Path, picture: Tensor, board: SummaryWriter, name: str, step: int) -> None:
    """Write a uint8 picture (C, h, w) to `path`, and the same bytes to TensorBoard."""
    images.write_png(path, picture)
    channels, height, width = picture.shape
    image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=path.read_bytes())
    board.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)


class MetricsTable(pl.Callback):
    """metrics.csv: a row of figures after each epoch; the last beside the settings in TensorBoard's HPARAMS tab."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.started = 0.0

    def on_train_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Drop the rows of epochs that will be trained again."""
        if trainer.is_global_zero and self.path.exists():
            rows = [row for row in read_table(self.path) if int(row["epoch"]) <= trainer.current_epoch]
            self._write(rows)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Note the time."""
        self.started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Add the epoch's row."""
        if not trainer.is_global_zero:
            return
        figures = {name: f"{value:.8g}" for name, value in figures_of(trainer).items()}
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step} | figures
        row["time_s"] = f"{time.monotonic() - self.started:.3f}"
        self._write([*(read_table(self.path) if self.path.exists() else []), row])

    def on_train_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Log the settings with the final figures."""
        if not trainer.is_global_zero:
            return
        settings = {k: v if isinstance(v, (bool, int, float)) else str(v) for k, v in to_flat(module.config).items()}
        trainer.logger.log_hyperparams(settings, {f"final/{name}": v for name, v in figures_of(trainer).items()})

    def _write(self, rows: list[dict[str, Any]]) -> None:
        with open(self.path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["epoch", "step"])
            writer.writeheader()
            writer.writerows(rows)


class KeepCheckpoints(pl.Callback):
    """last.ckpt after each epoch, and best.ckpt when val/loss is the lowest yet.

    Lightning's own ModelCheckpoint leaves last.ckpt at the best epoch when one that followed was worse, and names
    files anew when a run folder is moved.
    """

    def __init__(self, folder: RunFolder, writer: Writer) -> None:
        self.folder = folder
        self.writer = writer
        self.best_loss = float("inf")
        self.best_epoch = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Save; every process takes part, one writes."""
        loss = float(trainer.callback_metrics["val/loss"])
        better = loss < self.best_loss
        if better:
            self.best_loss, self.best_epoch = loss, trainer.current_epoch + 1
        trainer.save_checkpoint(self.folder.last)
        if better and trainer.is_global_zero:
            self.writer.submit(checkpoint.keep, self.folder.last, self.folder.best)

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


class Interrupt(pl.Callback):
    """Ctrl-C stops after the batch that is being trained; a second one stops at once.

    An exception in the midst of things can leave a lock held that TensorBoard's writer then waits for for ever.
    """

    def __init__(self) -> None:
        self.asked = False
        self.before: Any = None

    def on_train_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Listen."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            self.before = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, *args: Any) -> None:
        self.asked = True
        self._hand_back()

    def on_train_batch_end(self, *args: Any) -> None:
        """A safe place to stop."""
        if self.asked:
            raise KeyboardInterrupt

    on_validation_batch_end = on_train_batch_end

    def on_train_end(self, *args: Any) -> None:
        """Listen no more."""
        self._hand_back()

    on_exception = on_train_end

    def _hand_back(self) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
            self.before = None


class EpochProgress(pl.Callback):
    """One bar over all steps, with the time left, on a terminal; elsewhere a line an epoch."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.started = self.epoch_started = 0.0
        self.first_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Open the bar."""
        self.started, self.first_epoch = time.monotonic(), trainer.current_epoch
        if trainer.is_global_zero and sys.stderr.isatty():
            steps = trainer.max_epochs * trainer.datamodule.steps_per_epoch
            self.bar = tqdm(total=steps, initial=trainer.global_step, unit="step", dynamic_ncols=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Say which epoch it is."""
        self.epoch_started = time.monotonic()
        if self.bar is not None:
            self.bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """A step further, or a chunk of them."""
        if self.bar is not None:
            self.bar.update(trainer.global_step - self.bar.n)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """The epoch's figures."""
        if not trainer.is_global_zero:
            return
        figures = figures_of(trainer)
        if self.bar is not None:
            self.bar.set_postfix({n: f"{figures[n]:.4f}" for n in ("train/loss", "val/loss", "val/mse")})
            return
        epoch, now = trainer.current_epoch + 1, time.monotonic()
        left = (now - self.started) / (epoch - self.first_epoch) * (trainer.max_epochs - epoch)
        said = "  ".join(f"{n} {v:.4g}" for n, v in figures.items() if n.startswith(("train/", "val/")))
        seconds = now - self.epoch_started
        print(f"epoch {epoch}/{trainer.max_epochs}  {said}  {seconds:.1f} s, {duration(left)} left", flush=True)

    def on_train_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def on_exception(self, trainer: pl.Trainer, module: VAEModule, exception: BaseException) -> None:
        """Leave the cursor below the bar."""
        self.on_train_end(trainer, module)


def figures_of(trainer: pl.Trainer) -> dict[str, float]:
    """The figures of the epoch that ends, in the order of the table."""
    logged = trainer.callback_metrics
    return {name: float(logged[name]) for name in FIGURES if name in logged}


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
