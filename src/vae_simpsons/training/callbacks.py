"""What happens around the steps: pictures, curves, the table of figures, progress."""

import csv
import io
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from tqdm import tqdm

from vae_simpsons import images, sampling
from vae_simpsons.data.batches import take
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.files import atomic_path
from vae_simpsons.progress import format_duration
from vae_simpsons.settings import to_flat
from vae_simpsons.training.module import VAEModule
from vae_simpsons.training.runfolder import RunFolder
from vae_simpsons.training.writer import Attempts, Writer

PICTURES = 64  # samples shown, and twice the number of reconstructions
PICTURES_NROW = 8
PICTURES_SEED = 0  # of the z that every epoch's samples are decoded from
CURVES = "TensorBoard's curves"  # what is said to fail when the events file cannot be written

FIGURES = (
    *("train/loss", "train/mse", "train/kl", "train/elbo"),
    *("val/loss", "val/mse", "val/kl", "val/elbo"),
    *("val/active_units", "sigma/residual", "sigma/implied", "lr"),
)


class RunLogger(TensorBoardLogger):
    """TensorBoard events in the run folder itself; when they cannot be written it is said, and each save tries again.

    Args:
        folder: the run's.
        purge_step: a resumed run's first step; what an interrupted epoch logged from there on is not shown.
        attempt: what writes, and says so where it cannot.
    """

    def __init__(self, folder: RunFolder, purge_step: int | None, attempt: Attempts) -> None:
        super().__init__(folder.path, name="", version="", default_hp_metric=False, purge_step=purge_step)
        self.attempt = attempt
        self.one_at_a_time = threading.RLock()  # pictures come from the Writer's thread
        if any(folder.path.glob(f"events.out.tfevents.{int(time.time())}.*")):
            time.sleep(1)  # files are read in the order of their names, which tell seconds apart and no less

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a point to each curve; Lightning's own would make a ValueError of a full disk."""
        for name, value in metrics.items():
            self._try(lambda name=name, value=value: self.experiment.add_scalar(name, value, step))

    @rank_zero_only
    def log_hyperparams(
        self, params: Mapping[str, Any], metrics: Mapping[str, float] | None = None, step: int | None = None
    ) -> None:
        """Add settings and final figures to the HPARAMS tab."""
        self._try(super().log_hyperparams, params, metrics, step)

    @rank_zero_only
    def add_histogram(self, name: str, values: Tensor, step: int) -> None:
        """Add a histogram."""
        self._try(lambda: self.experiment.add_histogram(name, values, step))

    @rank_zero_only
    def add_picture(self, name: str, png: bytes, size: tuple[int, int, int], step: int) -> None:
        """Add the picture in the bytes of a PNG, of size (C, h, w)."""
        channels, height, width = size
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        self._try(lambda: self.experiment.file_writer.add_summary(summary, step))

    @rank_zero_only
    def flush(self) -> None:
        """Hand all that was logged to the system."""
        self._try(lambda: self.experiment.flush(), shows=True)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file."""
        self._try(super().finalize, status)

    def save(self) -> None:
        """Nothing: Lightning's would write a second, lesser config file beside config.yaml."""

    def _try(self, job: Callable[..., object], *arguments: object, shows: bool = False) -> None:
        with self.one_at_a_time:
            if not shows and CURVES in self.attempt.failing:
                return  # until the next save, which begins a new file
            if not self.attempt(CURVES, job, *arguments, shows=shows):
                self._give_up()

    def _give_up(self) -> None:
        """Leave the file as it is, and no empty one; the next only adds to it."""
        if self._experiment is not None:
            with suppress(OSError):
                self._experiment.close()
        self._experiment = None
        self._kwargs["purge_step"] = None
        for path in Path(self.log_dir).glob("events.out.tfevents.*"):
            with suppress(OSError):
                if not path.stat().st_size:
                    path.unlink()


def quieten_tensorboard() -> None:
    """Let the thread that writes TensorBoard's file end without a traceback; whoever logs next hears of it."""
    threading.excepthook = _unless_heard_of


def _unless_heard_of(failed: threading.ExceptHookArgs) -> None:
    if not (type(failed.thread).__name__ == "_AsyncWriterThread" and isinstance(failed.exc_value, OSError)):
        threading.__excepthook__(failed)


class Pictures(pl.Callback):
    """After each validation: the same validation images above their reconstructions, and samples from the same z."""

    def __init__(self, folder: RunFolder, dataset: Dataset, writer: Writer, attempt: Attempts) -> None:
        self.folder = folder
        self.writer = writer
        self.attempt = attempt
        # Spread over the validation images: sorted files begin with one character.
        spread = np.linspace(0, len(dataset.val) - 1, min(PICTURES // 2, len(dataset.val))).round().astype(int)
        self.originals = take(dataset.pack.pixels, dataset.val[spread])  # uint8 (n, C, H, W)

    def on_validation_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Draw and keep them, as PNG and in TensorBoard."""
        if not trainer.is_global_zero:
            return
        recon = images.denormalise(sampling.reconstruct(module.network, images.normalise(self.originals)))
        self._keep(trainer, "reconstructions", images.interleave_rows(self.originals, recon, PICTURES_NROW))
        if module.network.variational:
            drawn = torch.cat(list(sampling.sample(module.network, PICTURES, PICTURES_SEED)))
            self._keep(trainer, "samples", images.denormalise(drawn))
            trainer.logger.add_histogram("kl_per_dimension", module.kl_per_dimension, last_step(trainer))

    def _keep(self, trainer: pl.Trainer, name: str, pixels: Tensor) -> None:
        path = self.folder.pictures / f"{name}_{trainer.current_epoch + 1:04d}.png"
        picture = images.make_grid(pixels, PICTURES_NROW)
        self.writer.submit(self._write, path, picture, name, trainer.logger, last_step(trainer))

    def _write(self, path: Path, picture: Tensor, name: str, logger: RunLogger, step: int) -> None:
        """Write a uint8 picture (C, h, w) to `path`, and the same bytes to TensorBoard."""
        if self.attempt(str(self.folder.pictures), images.write_png, path, picture):
            logger.add_picture(name, path.read_bytes(), tuple(picture.shape), step)


class MetricsTable(pl.Callback):
    """The figures of each epoch: a row of metrics.csv, a point of each curve; the last in TensorBoard's HPARAMS tab."""

    def __init__(self, path: Path, attempt: Attempts) -> None:
        self.path = path
        self.attempt = attempt
        self.rows: list[dict[str, Any]] = []
        self.started = 0.0
        self.before_s = 0.0  # what the epoch had taken when it was interrupted

    def on_train_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Drop the rows of epochs that will be trained again."""
        if trainer.is_global_zero and self.path.exists():
            self.rows = [row for row in read_table(self.path) if int(row["epoch"]) <= trainer.current_epoch]
            self.attempt(str(self.path), write_table, self.path, self.rows)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Note the time."""
        self.started = time.monotonic() - (self.before_s if module.interrupted else 0.0)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Add the epoch's row and points."""
        if not trainer.is_global_zero:
            return
        figures = figures_of(trainer)
        # Here, and not by Lightning after all callbacks: a run killed once its checkpoint is saved would miss a point.
        trainer.logger.log_metrics(figures, step=last_step(trainer))
        row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        row |= {name: f"{value:.8g}" for name, value in figures.items()}
        self.rows.append(row | {"time_s": f"{time.monotonic() - self.started:.3f}"})
        self.attempt(str(self.path), write_table, self.path, self.rows)
        if trainer.current_epoch + 1 == trainer.max_epochs:
            self._log_settings(trainer, module, figures)

    def _log_settings(self, trainer: pl.Trainer, module: VAEModule, figures: dict[str, float]) -> None:
        """Log the settings with the final figures: before the last save, after which nothing goes on."""
        settings = {k: v if isinstance(v, (bool, int, float)) else str(v) for k, v in to_flat(module.config).items()}
        final = {f"final/{name}": value for name, value in figures.items()}
        trainer.logger.log_hyperparams(settings, final, last_step(trainer))

    def state_dict(self) -> dict[str, float]:
        """How long the epoch has taken so far."""
        return {"epoch_s": time.monotonic() - self.started}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from there."""
        self.before_s = state_dict["epoch_s"]


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
        print(f"epoch {epoch}/{trainer.max_epochs}  {said}  {seconds:.1f} s, {format_duration(left)} left", flush=True)

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


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `rows` as a metrics.csv, which is at every instant a complete file.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["epoch", "step"])
    writer.writeheader()
    writer.writerows(rows)
    with atomic_path(path) as beside:
        beside.write_bytes(text.getvalue().encode())


def last_step(trainer: pl.Trainer) -> int:
    """The number of the last step that was trained, counted from 0, as Lightning counts the points of its curves."""
    return trainer.global_step - 1
