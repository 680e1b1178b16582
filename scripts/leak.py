"""What near-duplicates across a split are worth: python scripts/leak.py RUN

For a run whose split was drawn image by image: the validation mse of the images that have a near-duplicate among those
that trained, and of the others, through the posterior's mean. The same of the training images shows how much easier
such images are in themselves.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from vae_simpsons import VAE
from vae_simpsons.configfile import from_flat, read_yaml
from vae_simpsons.data.batches import take
from vae_simpsons.data.dataset import load_dataset
from vae_simpsons.images import normalise
from vae_simpsons.progress import progress_bar


def errors(model: VAE, pixels: torch.Tensor, indices: np.ndarray) -> np.ndarray:
    """The mse of each image, (n,)."""
    found = []
    for part in np.array_split(indices, max(1, len(indices) // 256)):
        x = normalise(take(pixels, part))
        found.append((model.reconstruct(x) - x).square().mean((1, 2, 3)).numpy())
    return np.concatenate(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    run = parser.parse_args().run
    config = from_flat(read_yaml(run / "config.yaml"))
    model = VAE.load(run / "last.ckpt")
    dataset = load_dataset(config, 1, progress_bar, run / "split.csv" if (run / "split.csv").exists() else None)
    index = dataset.pack.index
    group = np.array(index.groups)
    trained = np.bincount(group[dataset.train], minlength=len(group))
    alike = [found for found in index.near_duplicates() if len(found) > 1]
    images, largest = sum(map(len, alike)), max(map(len, alike), default=0)
    print(f"{images:,} of {len(group):,} images are near-duplicates: {len(alike):,} groups, the largest of {largest}")
    for side, indices, itself in (("val", dataset.val, 0), ("train", dataset.train, 1)):
        twin = trained[group[indices]] > itself
        mse = errors(model, dataset.pack.pixels, indices)
        print(f"{side:>5}: mse {mse.mean():.5f} over {len(mse):,} images")
        print(f"       {mse[twin].mean():.5f} over {twin.sum():,} with a near-duplicate in training")
        print(f"       {mse[~twin].mean():.5f} over {(~twin).sum():,} without")


if __name__ == "__main__":
    main()
