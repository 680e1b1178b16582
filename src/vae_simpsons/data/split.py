"""Which images train and which validate."""

import numpy as np

from vae_simpsons.config import Data
from vae_simpsons.errors import VAEError


def split(count: int, data: Data, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The indices, of `count` images sorted by path, that train and those that validate; disjoint, together all.

    `sorted` takes the first train_fraction to train, as published. `shuffled` draws them with `seed`; either way the
    indices within a side are in ascending order.

    Raises:
        VAEError: a side would be empty.
    """
    order = np.random.default_rng(seed).permutation(count) if data.split == "shuffled" else np.arange(count)
    cut = int(count * data.train_fraction)
    train, val = np.sort(order[:cut]), np.sort(order[cut:])
    if not len(train) or not len(val):
        side = "training" if not len(train) else "validation"
        raise VAEError(
            f"data.train_fraction: {data.train_fraction:g} of {count} images leaves none for {side}. "
            "Give more images, or a fraction such as 0.75."
        )
    return train, val
