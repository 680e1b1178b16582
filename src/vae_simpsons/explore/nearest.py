"""The training picture that a picture is nearest to."""

from typing import NamedTuple

import torch
from torch import Tensor

from vae_simpsons.api import VAE
from vae_simpsons.errors import VAEError
from vae_simpsons.explore.collection import Collection
from vae_simpsons.inference.neighbors import nearest_numbers


class Training(NamedTuple):
    """The pictures to compare with."""

    pixels: Tensor  # uint8 (N, C, H, W)
    names: list[str]
    what: str  # they are, in words


def training_pictures(model: VAE, collection: Collection, cache_dir: str | None) -> Training:
    """Returns the training pictures of the run; where they are gone, those of the map."""
    try:
        dataset = model.open_dataset(None, cache_dir)
    except VAEError:
        return Training(collection.pixels, collection.names, "pictures on the map: those of the run are gone")
    paths = dataset.pack.index.paths
    pixels = dataset.pack.pixels[torch.from_numpy(dataset.train)]
    return Training(pixels, [paths[i] for i in dataset.train], "training pictures")


def nearest_picture(query: Tensor, pixels: Tensor) -> tuple[int, float]:
    """Returns the number of the nearest of `pixels` (N, C, H, W) to `query` (C, H, W), or to its mirror image.

    The second value is how far it is: the root mean square of the difference in grey levels. All are uint8.
    """
    sides = query.flatten()[None], query.flip(-1).flatten()[None]
    number = int(nearest_numbers(*sides, pixels.flatten(1), 1))
    near = pixels[number].flatten().float()
    return number, min(float((side[0] - near).square().mean().sqrt()) for side in sides)
