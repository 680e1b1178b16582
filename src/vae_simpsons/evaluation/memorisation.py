"""Whether samples are copies: the nearest training image, and how much nearer it is than the next of another scene.

The figure is distance to the nearest over distance to the second nearest, the second from another group of
near-duplicates: near 1 where an image lies between the training images as any new one does, near 0 for a copy. Mirrored
copies count. Beside it stands the same figure of validation images, which no network can have learnt by heart.

Source: Yoon et al., Diffusion Probabilistic Models Generalize when They Fail to Memorize, 2023, who call a ratio below
1/3 a copy; groups and flips are ours.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.blocks import slices
from vae_simpsons.evaluation.figures import Figure, mean_figure, require

QUERIES, TRAINING = 512, 2048  # rows of each side held at a time, as float32
CLOSE = 0.05  # share of validation images whose ratio is called close
RATIO = "memorisation ratio"
SHARE = "memorised share"
DEFINITIONS = {
    RATIO: "distance to the nearest training image over that to the second nearest of another scene; flips included",
    SHARE: f"share of images with a ratio below the lowest {CLOSE:.0%} of validation images; the limit taken as known",
}


class Nearest(NamedTuple):
    """The two nearest training images of each of n images; distances are root mean squares over the D values."""

    first: Tensor  # (n,) number of the nearest
    second: Tensor  # (n,) number of the nearest of another group
    distance: Tensor  # (n,) float64, to `first`
    second_distance: Tensor  # (n,) float64
    mirrored: Tensor  # (n,) bool, whether the image was mirrored to be nearest


def nearest(
    images: Tensor,
    mirrored: Tensor,
    training: Tensor,
    groups: Tensor,
    on_progress: Callable[[int], None] | None = None,
) -> Nearest:
    """The nearest training images of each image, as it is or mirrored.

    Products of float32 find them; their distances are then taken exactly.

    Args:
        images: (n, D), pixels (uint8 will do) or features.
        mirrored: (n, D), the same of the mirrored images.
        training: (N, D).
        groups: (N,), the group of near-duplicates of each training image, as `data.similar.groups` gives them.

    Raises:
        VAEError: all training images are in one group.
    """
    if len(groups) == 0 or (groups == groups[0]).all():
        raise VAEError(f"{RATIO}: it needs training images of two scenes; all {len(groups)} are near-duplicates.")
    parts = []
    for rows in slices(len(images), QUERIES):
        parts.append(_nearest_of_block(images[rows], mirrored[rows], training, groups))
        if on_progress:
            on_progress(rows.stop)
    return Nearest(*(torch.cat(column) for column in zip(*parts, strict=True)))


def nearest_numbers(images: Tensor, mirrored: Tensor, training: Tensor, count: int) -> Tensor:
    """Returns the numbers (n, count) of the nearest rows of `training` (N, D) to each image or its mirror image.

    Args:
        images, mirrored: (n, D) each.
    """
    parts = []
    for rows in slices(len(images), QUERIES):
        squared = _squared_both_ways(images[rows], mirrored[rows], training).amin(0)
        parts.append(squared.topk(count, largest=False).indices)
    return torch.cat(parts)


def ratios(found: Nearest) -> Tensor:
    """Nearest over second nearest distance, (n,), 0 to 1; 0 where both are 0."""
    return torch.where(found.second_distance > 0, found.distance / found.second_distance, 0.0).clamp_max(1.0)


def memorisation(of_samples: Tensor, of_validation: Tensor) -> tuple[Figure, Figure]:
    """The mean ratio, and the share of ratios that few validation images go below, of ratios (n,) and (m,).

    Raises:
        VAEError: fewer than 20 validation images, of which 5 % is one.
    """
    require(RATIO, len(of_validation), round(1 / CLOSE), "validation images")
    limit = torch.quantile(of_validation, CLOSE)
    close, expected = (of_samples < limit).double(), (of_validation < limit).double().mean().item()
    floor = "validation images"
    return (
        mean_figure(RATIO, of_samples, DEFINITIONS[RATIO], of_validation.mean().item(), floor),
        mean_figure(SHARE, close, DEFINITIONS[SHARE], expected, floor),
    )


def _nearest_of_block(images: Tensor, mirrored: Tensor, training: Tensor, groups: Tensor) -> Nearest:
    squared, flipped = _squared_both_ways(images, mirrored, training).min(0)
    every = torch.arange(len(images))
    first = squared.argmin(1)
    second = squared.masked_fill(groups[None] == groups[first, None], torch.inf).argmin(1)

    def exact(numbers: Tensor) -> Tensor:
        chosen = torch.where(flipped[every, numbers, None].bool(), mirrored, images)
        return (chosen.double() - training[numbers].double()).square().mean(1).sqrt()

    return Nearest(first, second, exact(first), exact(second), flipped[every, first].bool())


def _squared_both_ways(images: Tensor, mirrored: Tensor, training: Tensor) -> Tensor:
    """Squared distances of the images and of the mirrored ones (2, n, N), float32."""
    return _squared(torch.cat([images, mirrored]), training).unflatten(0, (2, -1))


def _squared(images: Tensor, training: Tensor) -> Tensor:
    """Squared distances (n, N), float32."""
    images = images.float()
    norms = images.square().sum(1)[:, None]
    parts = []
    for columns in slices(len(training), TRAINING):
        part = training[columns].float()
        parts.append(torch.addmm(norms + part.square().sum(1), images, part.T, alpha=-2.0))
    return torch.cat(parts, dim=1)
