"""The directions in latent space that the page has sliders and a map for."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

SLIDERS = 12  # directions at most


class Components(NamedTuple):
    """The principal components of N latents, those of the most variance first; flat latents have D numbers."""

    mean: Tensor  # (D,)
    vectors: Tensor  # (k, D), of length 1, at right angles
    deviations: Tensor  # (k,) standard deviation of the latents along each
    shares: Tensor  # (k,) of the variance


class Direction(NamedTuple):
    """A slider: its value at z is (z - origin) . vector / |vector|^2, and a step of one adds `vector`."""

    name: str
    detail: str  # how much it carries
    origin: Tensor  # (D,)
    vector: Tensor  # (D,)


def find_components(mu: Tensor) -> Components:
    """Returns the first SLIDERS principal components of mu (N, D), or as many as there are, and two at least.

    A component has no sign of its own: its largest number is positive. One without variance may be zero.
    """
    mean = mu.double().mean(0)
    _, values, vectors = torch.linalg.svd(mu.double() - mean, full_matrices=False)
    vectors = vectors * vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    shares = values.square() / values.square().sum().clamp_min(1e-300)
    missing = max(0, 2 - len(values))  # of a latent of one number
    parts = pad(vectors, (0, 0, 0, missing)), pad(values / len(mu) ** 0.5, (0, missing)), pad(shares, (0, missing))
    return Components(mean.float(), *(part[:SLIDERS].float() for part in parts))


def component_directions(components: Components) -> list[Direction]:
    """Returns a direction for each component that has variance, in its standard deviations from the mean."""
    parts = zip(components.vectors, components.deviations, components.shares, strict=True)
    return [
        Direction(f"Component {i}", f"{share:.1%} of the variance", components.mean, vector * deviation)
        for i, (vector, deviation, share) in enumerate(parts, 1)
        if share > 0
    ]


def top_dimensions(kl: Tensor) -> list[Direction]:
    """Returns the dimensions of the largest KL (D,), nats, each in the prior's standard deviations."""
    order = kl.argsort(descending=True, stable=True)[:SLIDERS].tolist()
    units = torch.eye(len(kl))
    return [Direction(f"Dimension {d}", f"{kl[d]:.2f} nats", torch.zeros(len(kl)), units[d]) for d in order]
