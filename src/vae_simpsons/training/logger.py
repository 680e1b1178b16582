"""TensorBoard's file, which may fail without ending the run."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from vae_simpsons.errors import escape_unprintable
from vae_simpsons.evaluation.curves import grouped
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
        self.stage, self.prefix = stage, ""
        self.is_first = True  # of those whose files are in the run folder
        if stage != AutoencoderStage.name:  # whose steps begin at 0 again
            self.is_first = not any(folder.glob("events.out.tfevents.*"))
            folder, first_step, self.prefix = folder / stage, first_step or 0, f"{stage}_"
        super().__init__(folder, name="", version="", default_hp_metric=False, purge_step=first_step)
        self.attempts = run.attempts
        self.lock = threading.RLock()  # pictures come from the Writer's thread
        if any(folder.glob(f"events.out.tfevents.{int(time.time())}.*")):
            time.sleep(1)  # files are read in the order of their names, which have whole seconds

    @property
    def experiment(self) -> SummaryWriter:
        """What Lightning asks for before it trains; without an AttributeError it would take its lack for a bug."""
        try:
            return self._file()
        except OSError as e:
            raise AttributeError(str(e)) from None

    def _file(self) -> Any:
        """Returns the SummaryWriter of TensorBoard's file, or raises an OSError."""
        try:
            return super().experiment
        except UnicodeError:
            raise OSError("TensorBoard takes no folder whose name is not UTF-8") from None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Adds a point to each curve; Lightning's own method makes a ValueError of a full disk.

        Lightning adds the number of the epoch to what a step logs; it is no figure.
        """
        for name, value in metrics.items():
            if name != "epoch":
                self._try(lambda tag=self.prefix + name, value=value: self._file().add_scalar(tag, value, step))

    def log_settings(self, settings: Mapping[str, Any]) -> None:
        """Shows the settings in the HPARAMS tab, a row a run, beside the last point of every curve."""
        if not self.is_first:
            return
        plain = {
            key: v if isinstance(v, bool | int | float) else escape_unprintable(str(v)) for key, v in settings.items()
        }
        plain.pop("out", None)  # the row's own name
        _, start, _ = hparams(plain, {})
        self._try(lambda: self._file().file_writer.add_summary(start))

    def log_charts(self, figures: Iterable[str]) -> None:
        """Lays out the CUSTOM SCALARS tab: a chart for each figure, of training and validation."""
        charts = {
            name: ["Multiline", [f"{self.prefix}{figure}$" for figure in of]] for name, of in grouped(figures).items()
        }
        self._try(lambda: self._file().add_custom_scalars({self.stage: charts}))

    def add_histogram(self, name: str, values: Tensor, step: int) -> None:
        self._try(lambda: self._file().add_histogram(f"val/{name}", values, step))

    def add_picture(self, name: str, png: bytes, size: tuple[int, ...], step: int) -> None:
        """Adds a picture, the bytes of a PNG of size (C, h, w)."""
        channels, height, width = size
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=f"pictures/{name}", image=image)])
        self._try(lambda: self._file().file_writer.add_summary(summary, step))

    def flush(self) -> None:
        """Hands all that was logged to the system."""
        self._try(lambda: self._file().flush(), proves=True)

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
