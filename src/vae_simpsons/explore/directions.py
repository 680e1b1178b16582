"""The directions in latent space that the page has sliders and a map for."""

from typing import NamedTuple

import torch
from torch import Tensor

from vae_simpsons.evaluation.posterior import COMPONENTS, Components

SLIDERS = COMPONENTS  # directions at most


class Direction(NamedTuple):
    """A slider: its value at z is (z - origin) . vector / |vector|^2, and a step of one adds `vector`."""

    name: str
    detail: str  # how much it carries
    origin: Tensor  # (D,)
    vector: Tensor  # (D,)


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
