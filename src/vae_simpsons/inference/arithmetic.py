"""Attribute vectors: the difference between the latents of two sets of pictures."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_simpsons.data.pictures import Pictures
from vae_simpsons.inference.blocks import block_size
from vae_simpsons.inference.latents import encode_pictures
from vae_simpsons.models import Autoencoder
from vae_simpsons.progress import Progress


def mean_latent(network: Autoencoder, pictures: Pictures, progress: Progress) -> Tensor:
    """Returns the mean mu of the pictures, float64 (*latent), computed block by block.

    Raises:
        VAEError: a picture cannot be read.
    """
    total = torch.zeros(network.latent_shape, dtype=torch.float64)
    for mu, _ in encode_pictures(network, pictures.blocks(block_size(network)), len(pictures), progress):
        total += mu.double().sum(0)
    return total / len(pictures)


def attribute_vector(network: Autoencoder, plus: Pictures, minus: Pictures, progress: Progress) -> Tensor:
    """Returns mean mu of `plus` minus mean mu of `minus`, float32 (*latent).

    Source: Larsen et al., Autoencoding beyond pixels using a learned similarity metric, arXiv 1512.09300, Sec. 4.2.
    """
    return (mean_latent(network, plus, progress) - mean_latent(network, minus, progress)).float()


def add_attribute(mu: Tensor, vector: Tensor, scales: Sequence[float]) -> Tensor:
    """Returns mu + scale * vector for each scale, (n, len(scales), *latent), of mu (n, *latent)."""
    factors = torch.tensor(scales, dtype=mu.dtype).reshape(1, -1, *[1] * vector.ndim)
    return mu[:, None] + factors * vector
