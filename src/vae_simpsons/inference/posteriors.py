"""The posteriors of many images, in memory, for what is fitted to them."""

import torch
from torch import Tensor

from vae_simpsons.images import normalise
from vae_simpsons.inference.blocks import block_size, map_blocks
from vae_simpsons.inference.latents import encode_posterior
from vae_simpsons.models import Autoencoder
from vae_simpsons.progress import Progress


def encode_images(network: Autoencoder, pixels: Tensor, mirrored: bool, progress: Progress) -> Tensor:
    """Returns mu and log_var of uint8 images (N, C, H, W), float32 (N, flips, 2, *latent) on the CPU.

    Args:
        network: variational, in eval mode.
        mirrored: the mirrored images too, as the second of two flips.
    """
    size, flips = block_size(network), 2 if mirrored else 1
    found = torch.empty(len(pixels), flips, 2, *network.latent_shape)
    report = progress("encoding the images", len(pixels))
    starts = range(0, len(pixels), size)

    def encode_block(start: int) -> Tensor:
        x = normalise(pixels[start : start + size])
        ways = [x, x.flip(-1)][:flips]
        return torch.stack([torch.stack(encode_posterior(network, way), 1) for way in ways], 1)

    for start, block in zip(starts, map_blocks(network, encode_block, starts, len(starts)), strict=True):
        found[start : start + len(block)] = block
        report(start + len(block))
    return found
