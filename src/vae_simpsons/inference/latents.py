"""Images to latents and back, tensors in and tensors out."""

import torch
from torch import Tensor

from vae_simpsons.inference.blocks import padded_blocks
from vae_simpsons.models import Autoencoder


@torch.inference_mode()
def encode(network: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Returns mu and log_var, (n, *latent) on the CPU, of x (n, C, H, W) in [-1, 1]; an autoencoder has no log_var."""
    mu, log_var = [], []
    for block, count in padded_blocks(network, x):
        means, log_variances = network.encode(block)
        mu.append(means[:count].cpu())
        if log_variances is not None:
            log_var.append(log_variances[:count].cpu())
    return torch.cat(mu), torch.cat(log_var) if log_var else None


def encode_posterior(network: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the same of a variational network, which has a log_var."""
    mu, log_var = encode(network, x)
    assert log_var is not None, "a plain autoencoder has no posterior"
    return mu, log_var


@torch.inference_mode()
def decode(network: Autoencoder, z: Tensor) -> Tensor:
    """Returns the images (n, C, H, W) on the CPU, in [-1, 1], of z (n, *latent)."""
    return torch.cat([network.decode(block)[:count].float().cpu() for block, count in padded_blocks(network, z)])


def reconstruct(network: Autoencoder, x: Tensor) -> Tensor:
    """Returns the mean image of each posterior's mean, (n, C, H, W) on the CPU, in [-1, 1], of x (n, C, H, W)."""
    return decode(network, encode(network, x)[0])
