"""What near-duplicates on both sides of a split are worth: python scripts/leak.py RUN

For a run with a shuffled split: the validation mse of images that have a near-duplicate among those that trained, and
of the others, through the posterior's mean. The training mse of both kinds shows how much easier such images are.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from vae_simpsons import VAE
from vae_simpsons.data.batches import take
from vae_simpsons.data.dataset import load_dataset
from vae_simpsons.images import normalise
from vae_simpsons.progress import progress_bar
from vae_simpsons.training.runfolder import RunFolder


def reconstruction_errors(model: VAE, pixels: torch.Tensor, indices: np.ndarray) -> np.ndarray:
    """Returns the mse of each image, (n,)."""
    errors = []
    for part in np.array_split(indices, max(1, len(indices) // 256)):
        x = normalise(take(pixels, part))
        errors.append((model.reconstruct(x) - x).square().mean((1, 2, 3)).numpy())
    return np.concatenate(errors)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    run = RunFolder(parser.parse_args().run)
    model = VAE.load(run.last)
    dataset = load_dataset(model.settings, 1, progress_bar, run.split)
    group = np.array(dataset.pack.index.groups)
    trained = np.bincount(group[dataset.train], minlength=len(group))  # images of each group that train
    sizes = [len(images) for images in dataset.pack.index.near_duplicates() if len(images) > 1]
    print(f"{sum(sizes):,} of {len(group):,} images are near-duplicates, in {len(sizes):,} groups")
    for side, indices, itself in (("val", dataset.val, 0), ("train", dataset.train, 1)):
        similar = trained[group[indices]] > itself
        mse = reconstruction_errors(model, dataset.pack.pixels, indices)
        print(f"{side:>5}: mse {mse.mean():.5f} over {len(mse):,} images")
        print(f"       {mse[similar].mean():.5f} over {similar.sum():,} with a near-duplicate in training")
        print(f"       {mse[~similar].mean():.5f} over {(~similar).sum():,} without")


if __name__ == "__main__":
    main()
