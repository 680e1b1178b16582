"""Images to latents and back, tensors in and tensors out."""

import torch
from torch import Tensor

from vae_simpsons.inference.blocks import padded_blocks
from vae_simpsons.models import Autoencoder


@torch.inference_mode()
def encode(network: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Returns mu and log_var, (n, *latent) on the CPU, of x (n, C, H, W) in [-1, 1]; an autoencoder has no log_var."""
    mus, log_vars = [], []
    for block, count in padded_blocks(network, x):
        mu, log_var = network.encode(block)
        mus.append(mu[:count].cpu())
        if log_var is not None:
            log_vars.append(log_var[:count].cpu())
    return torch.cat(mus), torch.cat(log_vars) if log_vars else None


@torch.inference_mode()
def decode(network: Autoencoder, z: Tensor) -> Tensor:
    """Returns the images (n, C, H, W) on the CPU, in [-1, 1], of z (n, *latent)."""
    return torch.cat([network.decode(block)[:count].float().cpu() for block, count in padded_blocks(network, z)])


def reconstruct(network: Autoencoder, x: Tensor) -> Tensor:
    """Returns the mean image of each posterior's mean, (n, C, H, W) on the CPU, in [-1, 1], of x (n, C, H, W)."""
    return decode(network, encode(network, x)[0])
