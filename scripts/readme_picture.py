"""Draws the README's picture from a run on toons: python scripts/readme_picture.py RUN docs/toons.png

Left, validation images above their reconstructions; right, samples. Toons only: the repository holds no pictures that
are somebody else's work.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from vae_simpsons import VAE, VAEError
from vae_simpsons.data.batches import take
from vae_simpsons.data.dataset import load_dataset
from vae_simpsons.images import denormalise, interleave_rows, make_grid, normalise, write_png
from vae_simpsons.progress import progress_bar
from vae_simpsons.settings import TOONS

COLUMNS, ROWS, GAP = 6, 6, 16  # of each half; GAP in pixels


def draw_picture(run: Path) -> torch.Tensor:
    """Returns the picture, uint8 (3, h, w).

    Raises:
        VAEError: the run was not on toons.
    """
    model = VAE.load(run / "last.ckpt")
    if model.settings.data.path != TOONS:
        raise VAEError(f"RUN: {run} was trained on {model.settings.data.path}. Give a run on toons.")
    dataset = load_dataset(model.settings, 1, progress_bar)
    chosen = dataset.val[np.linspace(0, len(dataset.val) - 1, COLUMNS * ROWS // 2).round().astype(int)]
    originals = take(dataset.pack.pixels, chosen)
    recon = denormalise(model.reconstruct(normalise(originals)))
    left = make_grid(interleave_rows(originals, recon, COLUMNS), COLUMNS)
    right = make_grid(denormalise(model.sample(COLUMNS * ROWS)), COLUMNS)
    return torch.cat([left, left.new_full((3, left.shape[1], GAP), 255), right], dim=2)


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run on toons")
    parser.add_argument("out", type=Path, metavar="PNG")
    arguments = parser.parse_args()
    write_png(arguments.out, draw_picture(arguments.run))


if __name__ == "__main__":
    main()
