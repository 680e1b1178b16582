"""Settings -> velocity networks."""

from torch import nn

from vae_simpsons.models.priors.base import Shape
from vae_simpsons.models.priors.mlp import MLP
from vae_simpsons.models.priors.transformer import Transformer


def build_velocity(latent_shape: Shape, class_count: int, width: int, depth: int, dropout: float = 0.0) -> nn.Module:
    """Returns a fresh velocity network: an MLP for vectors (D,), a transformer for maps (C, h, w).

    Called as (x (B, *latent), t (B,), labels int64 (B,) or None) -> (B, *latent), on standardised latents.
    """
    if len(latent_shape) == 1:
        return MLP(*latent_shape, class_count, width, depth, dropout)
    return Transformer(latent_shape, class_count, width, depth, dropout)
