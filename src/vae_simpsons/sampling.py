"""z -> images, and images through the model: always with generators of our own.

Sample i of a seed has the same pixels however many are asked for: its z comes from a stream that is drawn in fixed
blocks, and it is decoded in a block of a fixed size, since a convolution's last digits depend on the batch it is in.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from vae_simpsons.errors import VAEError
from vae_simpsons.models import ConvVAE

_BLOCK_PIXELS = 64 * 64 * 64  # of one decoded block: 64 images of 64x64, which bounds memory at any image size


def prior_latents(count: int, latent_dim: int, seed: int, block: int) -> Iterator[Tensor]:
    """z ~ N(0, I) in blocks (block, latent_dim) on the CPU, enough of them for `count`; the last one is full too."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(0, count, block):
        yield torch.randn(block, latent_dim, generator=generator)


def block_size(image_size: int) -> int:
    """How many images are decoded at a time; decided by their size alone, at least 1."""
    return max(1, _BLOCK_PIXELS // image_size**2)


@torch.inference_mode()
def decode_latents(network: ConvVAE, z: Tensor) -> Tensor:
    """The images (n, C, H, W) on the CPU, in [-1, 1], of z (n, latent_dim); the last block is padded, then cut."""
    assert not network.training, "BatchNorm would use the batch's own statistics"
    block = block_size(network.shape[-1])
    device = next(network.parameters()).device
    images = []
    for part in z.split(block):
        padded = torch.cat([part, part.new_zeros(block - len(part), z.shape[1])])
        images.append(network.decode(padded.to(device))[: len(part)].float().cpu())
    return torch.cat(images)


def sample(network: ConvVAE, count: int, seed: int) -> Iterator[Tensor]:
    """`count` images drawn from the prior, z ~ N(0, I), in blocks (n, C, H, W) on the CPU, in [-1, 1].

    Args:
        network: in eval mode.
        seed: decides every image.

    Raises:
        VAEError: an autoencoder, which has no prior.
    """
    if not network.variational:
        raise VAEError(
            "--ckpt: this is an autoencoder (model.variational: false). It has no prior to sample from: nothing says "
            "which z decode to images. Train with model.variational true to sample."
        )
    return _sample(network, count, seed)


def _sample(network: ConvVAE, count: int, seed: int) -> Iterator[Tensor]:
    left = count
    for z in prior_latents(count, network.latent_dim, seed, block_size(network.shape[-1])):
        yield decode_latents(network, z)[:left]
        left -= len(z)


@torch.inference_mode()
def reconstruct(network: ConvVAE, x: Tensor) -> Tensor:
    """The decoder's mean image of each posterior's mean, (B, C, H, W) on the CPU, in [-1, 1], of x (B, C, H, W).

    Args:
        network: in eval mode.
    """
    device = next(network.parameters()).device
    mu = torch.cat([network.encode(part.to(device))[0] for part in x.split(block_size(network.shape[-1]))])
    return decode_latents(network, mu)


def pick_device(name: str) -> torch.device:
    """The device called `name`: auto, cpu, cuda or mps.

    Raises:
        VAEError: it is not there.
    """
    there = available_devices()
    if name == "auto":
        return torch.device(there[-1])
    if name not in there:
        raise VAEError(f"--device: {name}, but this machine has {' and '.join(there)} only. Give auto, or {there[-1]}.")
    return torch.device(name)


def available_devices() -> list[str]:
    """The kinds of device that torch can use here, the slowest first."""
    gpus = {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    return ["cpu", *(name for name, there in gpus.items() if there)]
