"""Images to latents and back, tensors in and tensors out."""

import torch
from torch import Tensor

from vae_simpsons.inference.blocks import padded_blocks
from vae_simpsons.models import Autoencoder


@torch.inference_mode()
def encode(network: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Returns mu and log_var, (n, *latent) on the CPU, of x (n, C, H, W) in [-1, 1]; an autoencoder has no log_var."""
    blocks = [(*network.encode(block), count) for block, count in padded_blocks(network, x)]
    mu = torch.cat([mu[:count].cpu() for mu, _, count in blocks])
    return mu, torch.cat([log_var[:count].cpu() for _, log_var, count in blocks]) if network.variational else None


@torch.inference_mode()
def decode(network: Autoencoder, z: Tensor) -> Tensor:
    """Returns the images (n, C, H, W) on the CPU, in [-1, 1], of z (n, *latent)."""
    return torch.cat([network.decode(block)[:count].float().cpu() for block, count in padded_blocks(network, z)])


def reconstruct(network: Autoencoder, x: Tensor) -> Tensor:
    """Returns the mean image of each posterior's mean, (n, C, H, W) on the CPU, in [-1, 1], of x (n, C, H, W)."""
    return decode(network, encode(network, x)[0])
