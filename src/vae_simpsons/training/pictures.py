"""The pictures of each epoch, as PNG and in TensorBoard."""

from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor

from vae_simpsons import images
from vae_simpsons.data.batches import take
from vae_simpsons.data.order import spread
from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.logger import RunLogger
from vae_simpsons.training.runfolder import Run
from vae_simpsons.training.stage import StageModule
from vae_simpsons.training.table import last_step

ORIGINALS = 32  # validation images shown
COLUMNS = 8


class Pictures(pl.Callback):
    """Draws the stage's pictures after each validation, always of the same validation images."""

    def __init__(self, run: Run) -> None:
        self.folder, self.writer, self.attempts = run.folder, run.writer, run.attempts

    def on_fit_start(self, trainer: StageTrainer, module: StageModule) -> None:
        """Chooses images spread over the validation set: sorted files begin with one class."""
        dataset = trainer.datamodule.dataset
        chosen = dataset.val[spread(len(dataset.val), ORIGINALS)]
        self.originals = take(dataset.pack.pixels, chosen)  # uint8 (n, C, H, W)

    def on_validation_end(self, trainer: StageTrainer, module: StageModule) -> None:
        if not trainer.is_global_zero:
            return
        step = last_step(trainer)
        for name, pixels in module.stage.pictures(self.originals, COLUMNS).items():
            path = self.folder.pictures / f"{module.stage.in_files}{name}_{trainer.current_epoch + 1:04d}.png"
            self.writer.submit(self._write, path, images.make_grid(pixels, COLUMNS), name, trainer.logger, step)
        for name, values in module.stage.histograms().items():
            trainer.logger.add_histogram(name, values, step)

    def _write(self, path: Path, picture: Tensor, name: str, logger: RunLogger, step: int) -> None:
        """Writes a uint8 picture (C, h, w) to `path`, and the same bytes to TensorBoard."""
        if self.attempts(str(self.folder.pictures), images.write_png, path, picture):
            logger.add_picture(name, path.read_bytes(), tuple(picture.shape), step)
