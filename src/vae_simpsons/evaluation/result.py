"""What an evaluation finds: figures, and the pictures that a report shows beside them."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from vae_simpsons.evaluation.disentanglement import Information
from vae_simpsons.evaluation.figures import Figure


@dataclass(frozen=True)
class Reconstructions:
    """Some validation images and what the model makes of them, from mu."""

    originals: Tensor  # uint8 (n, C, H, W)
    recon: Tensor  # uint8 (n, C, H, W)
    mse: Tensor  # (n,) of each image


@dataclass(frozen=True)
class LatentMap:
    """The encoded validation images on the first two principal components of mu."""

    points: Tensor  # (n, 2)
    explained: tuple[float, float]  # shares of the variance of mu
    thumbnails: Tensor  # uint8 (n, C, h, w), small
    labels: Tensor  # int64 (n,), into class_names
    class_names: list[str]


@dataclass(frozen=True)
class Traversal:
    """The latent dimensions with the largest KL, each moved alone."""

    dimensions: list[int]
    kl: list[float]  # nats of each
    values: list[float]  # of the moved dimension, in posterior-aggregate standard deviations
    images: Tensor  # uint8 (dimensions, values, C, H, W)


@dataclass(frozen=True)
class Neighbours:
    """Samples, and the training images nearest to each."""

    queries: Tensor  # uint8 (n, C, H, W)
    nearest: Tensor  # uint8 (n, k, C, H, W), mirrored where the mirror image is nearer
    distances: Tensor  # (n, k), root mean squared error in grey levels


@dataclass(frozen=True)
class Evaluation:
    """The result of `vae evaluate`.

    Attributes:
        run: what was evaluated: checkpoint, name, settings (dotted names), epochs, commit, versions, device, data,
            split, seed, quick, images, samples, seconds.
        groups: figures by group, in the order of the table: reconstruction, likelihood, latents, samples, memorisation,
            labels, factors.
        missing: figures that could not be measured, each with the reason and what to do.
        sentences: what the figures mean for this run, in plain words, most important first.
        curves: the rows of metrics.csv, empty where there are none.
    """

    run: dict[str, Any]
    groups: dict[str, list[Figure]]
    missing: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    curves: list[dict[str, str]] = field(default_factory=list)
    reconstructions: dict[str, Reconstructions] = field(default_factory=dict)  # best, median, worst
    samples: Tensor | None = None  # uint8 (n, C, H, W)
    neighbours: Neighbours | None = None
    traversal: Traversal | None = None
    latent_map: LatentMap | None = None
    kl_per_dimension: list[float] = field(default_factory=list)  # nats of every latent dimension, in its own order
    factors: Information | None = None  # of the known factors with each dimension
