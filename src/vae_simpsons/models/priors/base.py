"""A prior: what latents are drawn from, as a map from N(0, I) noise to a latent."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
Progress = Callable[[int], None]


class FlowOptions(NamedTuple):
    """How a flow is followed from noise to a latent, as `Prior.draw` takes it."""

    guidance: float
    steps: int
    progress: Progress | None


class Prior(nn.Module):
    """Draws latents (B, *latent_shape); (B, *latent) stands for that below.

    Args:
        latent_shape: (D,) of a vector, (C, h, w) of a map.
        class_count: how many classes it can be told to draw from; 0: none.
    """

    def __init__(self, latent_shape: Shape, class_count: int = 0) -> None:
        super().__init__()
        self.latent_shape, self.class_count = tuple(latent_shape), class_count

    def draw(
        self,
        noise: Tensor,
        labels: Tensor | None = None,
        *,
        guidance: float = 1.0,
        steps: int = 20,
        temperature: float = 1.0,
        progress: Progress | None = None,
    ) -> Tensor:
        """Returns z (B, *latent), a deterministic function of the noise: row i depends on row i alone.

        Args:
            noise: (B, *latent), from N(0, I).
            labels: int64 (B,), the class of each row; -1, or None for all: any class.
            guidance: of a flow: how far each row is led away from the answer of a weaker network; 1: not at all.
            steps: of a flow: Heun steps.
            temperature: standard deviation of the noise that is used; less than 1 gives more ordinary latents.
            progress: of a flow: called with the number of finished steps after each.
        """
        return self.transform(noise, labels, temperature, FlowOptions(guidance, steps, progress))

    def transform(self, noise: Tensor, labels: Tensor | None, temperature: float, options: FlowOptions) -> Tensor:
        """Returns what `draw` does; `options` are for a flow."""
        raise NotImplementedError

    def moments(self) -> tuple[Tensor, Tensor]:
        """Returns mean and standard deviation of z, of each channel of a map, (C,), or number of a vector, (D,)."""
        raise NotImplementedError


class NormalPrior(Prior):
    """N(0, I), which the KL term pulls the encoder's latents towards. It knows no classes."""

    def transform(self, noise: Tensor, labels: Tensor | None, temperature: float, options: FlowOptions) -> Tensor:
        """Returns temperature * noise."""
        return temperature * noise

    def moments(self) -> tuple[Tensor, Tensor]:
        return torch.zeros(self.latent_shape[0]), torch.ones(self.latent_shape[0])
