"""TensorBoard's projector: the latents of validation images, with thumbnails and classes, after the last epoch."""

import math
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from vae_simpsons.data.batches import take
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.order import spread
from vae_simpsons.errors import one_line
from vae_simpsons.files import atomic_path
from vae_simpsons.images import make_sheet, normalise, shrink, write_png
from vae_simpsons.inference import latents
from vae_simpsons.inference.blocks import block_size
from vae_simpsons.models import Autoencoder
from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.runfolder import Run
from vae_simpsons.training.stage import StageModule, in_eval_mode

MOST_POINTS = 4000  # TensorBoard moves as many fluently
MOST_PIXELS = 8192  # of either side of the sheet of thumbnails, as browsers' graphics take it
THUMBNAIL = 32  # pixels
CONFIG = "projector_config.pbtxt"  # TensorBoard looks for this name
TEXT = """embeddings {{
  tensor_name: "mu"
  tensor_path: "projector/tensors.tsv"
  metadata_path: "projector/metadata.tsv"
  sprite {{
    image_path: "projector/sprite.png"
    single_image_dim: {width}
    single_image_dim: {height}
  }}
}}
"""


class Projector(pl.Callback):
    """Writes the projector's files once training has ended, while the last checkpoint is being written."""

    def __init__(self, run: Run) -> None:
        self.folder, self.writer, self.attempts = run.folder, run.writer, run.attempts

    def on_train_end(self, trainer: StageTrainer, module: StageModule) -> None:
        """Encodes images spread over the validation set, and hands the files to the writer."""
        if not trainer.is_global_zero:
            return
        dataset = trainer.datamodule.dataset
        chosen = dataset.val[spread(len(dataset.val), MOST_POINTS)]
        with in_eval_mode(module.stage.final):
            mu, thumbnails = encode_chosen(module.stage.final, dataset, chosen)
        classes = dataset.pack.index.classes
        rows = [(one_line(classes[i]) or "no class", one_line(dataset.pack.index.paths[i])) for i in chosen]
        self.writer.submit(
            self.attempts, str(self.folder.projector), write_projector, self.folder.path, mu, rows, thumbnails
        )


def encode_chosen(network: Autoencoder, dataset: Dataset, chosen: np.ndarray) -> tuple[Tensor, Tensor]:
    """Returns mu, (n, D), and thumbnails, uint8 (n, C, h, w), of the images at `chosen`, with one block in memory."""
    mus, thumbnails = [], []
    for rows in np.array_split(chosen, -(-len(chosen) // block_size(network))):
        pixels = take(dataset.pack.pixels, rows)
        mus.append(latents.encode(network, normalise(pixels))[0].flatten(1))
        thumbnails.append(shrink(pixels, THUMBNAIL))
    return torch.cat(mus), torch.cat(thumbnails)


def write_projector(folder: Path, mu: Tensor, rows: list[tuple[str, str]], thumbnails: Tensor) -> None:
    """Writes the projector's files into a run's folder; the one that TensorBoard looks for comes last.

    Args:
        mu: (n, D).
        rows: class and path of each image.
        thumbnails: uint8 (n, C, h, w).

    Raises:
        OSError: they cannot be written.
    """
    height, width = thumbnails.shape[2:]
    side = math.ceil(math.sqrt(len(thumbnails)))  # as many rows as columns: TensorBoard expects that
    assert side * max(height, width) <= MOST_PIXELS, "MOST_POINTS of THUMBNAIL pixels fit"
    values = "".join("\t".join(f"{value:.6g}" for value in row) + "\n" for row in mu.tolist())
    metadata = "class\tpath\n" + "".join("\t".join(row) + "\n" for row in rows)
    files = {"projector/tensors.tsv": values, "projector/metadata.tsv": metadata}
    write_png(folder / "projector" / "sprite.png", make_sheet(thumbnails, side, side))
    for name, text in (files | {CONFIG: TEXT.format(width=width, height=height)}).items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="replace")
