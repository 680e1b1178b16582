"""TensorBoard's file, which may fail without ending the run."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from vae_simpsons.training.runfolder import Run
from vae_simpsons.training.stages import AutoencoderStage

CURVES = "TensorBoard's curves"  # named in the warning when the file cannot be written


class RunLogger(TensorBoardLogger):
    """Writes TensorBoard's file in the run folder itself, that of a later stage in a folder of its name.

    Where it cannot be written it warns, and each save retries.

    Points that an interrupted epoch logged, from the first step of a resumed run on, are not shown; nor are those of a
    later stage that had begun and was not saved yet.
    """

    def __init__(self, run: Run, stage: str) -> None:
        folder, first_step = run.folder.path, run.position.steps if run.position else None
        if stage != AutoencoderStage.name:  # whose steps begin at 0 again
            folder, first_step = folder / stage, first_step or 0
        super().__init__(folder, name="", version="", default_hp_metric=False, purge_step=first_step)
        self.attempts = run.attempts
        self.lock = threading.RLock()  # pictures come from the Writer's thread
        if any(folder.glob(f"events.out.tfevents.{int(time.time())}.*")):
            time.sleep(1)  # files are read in the order of their names, which have whole seconds

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds a point to each curve; Lightning's own method makes a ValueError of a full disk."""
        for name, value in metrics.items():
            self._try(lambda name=name, value=value: self.experiment.add_scalar(name, value, step))

    def log_hyperparams(
        self, params: Mapping[str, Any], metrics: Mapping[str, float] | None = None, step: int | None = None
    ) -> None:
        self._try(super().log_hyperparams, params, metrics, step)

    def add_histogram(self, name: str, values: Tensor, step: int) -> None:
        self._try(lambda: self.experiment.add_histogram(name, values, step))

    def add_picture(self, name: str, png: bytes, size: tuple[int, ...], step: int) -> None:
        """Adds a picture, the bytes of a PNG of size (C, h, w)."""
        channels, height, width = size
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        self._try(lambda: self.experiment.file_writer.add_summary(summary, step))

    def flush(self) -> None:
        """Hands all that was logged to the system."""
        self._try(lambda: self.experiment.flush(), proves=True)

    def finalize(self, status: str) -> None:
        self._try(super().finalize, status)

    def save(self) -> None:
        """Does nothing: Lightning's own would write a second config file beside config.yaml."""

    @rank_zero_only
    def _try(self, job: Callable[..., object], *arguments: object, proves: bool = False) -> None:
        with self.lock:
            if CURVES in self.attempts.failing and not proves:
                return  # until the next save, which begins a new file
            if not self.attempts(CURVES, job, *arguments, proves=proves):
                self._close()

    def _close(self) -> None:
        """Closes the file; the next file only adds to it."""
        if self._experiment is not None:
            with suppress(OSError):
                self._experiment.close()
        self._experiment = None
        self._kwargs["purge_step"] = None


def quiet_tensorboard() -> None:
    """Lets the thread that writes TensorBoard's file end without a traceback: the logger's next call reports it."""

    def ignore(failed: threading.ExceptHookArgs) -> None:
        if not (type(failed.thread).__name__ == "_AsyncWriterThread" and isinstance(failed.exc_value, OSError)):
            threading.__excepthook__(failed)

    threading.excepthook = ignore
