"""Images drawn from the prior.

Sample i of a seed has the same pixels however many are asked for: its z comes from a stream that is drawn in blocks of
a fixed size, and it is decoded in such a block.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from vae_simpsons.errors import VAEError
from vae_simpsons.inference.blocks import block_size, map_blocks
from vae_simpsons.inference.latents import decode
from vae_simpsons.models import Autoencoder


def sample(network: Autoencoder, count: int, seed: int) -> Iterator[Tensor]:
    """Returns `count` images drawn from the prior, z ~ N(0, I), as blocks (n, C, H, W) on the CPU, in [-1, 1]."""
    if not network.variational:
        raise VAEError(
            "path: this is an autoencoder (model.variational: false). It has no prior to sample from: nothing says "
            "which z decode to images. Train with model.variational true to sample."
        )
    size = block_size(network)
    blocks = enumerate(prior_latents(network.latent_shape, count, seed, size))
    latents = (z[: count - number * size] for number, z in blocks)
    return map_blocks(network, lambda z: decode(network, z), latents, -(-count // size))


def prior_latents(shape: tuple[int, ...], count: int, seed: int, block: int) -> Iterator[Tensor]:
    """Yields z ~ N(0, I) in full blocks (block, *shape) on the CPU, enough of them for `count`."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(0, count, block):
        yield torch.randn(block, *shape, generator=generator)
