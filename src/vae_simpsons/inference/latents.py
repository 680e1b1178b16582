"""Images to latents and back, tensors in and tensors out."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from vae_simpsons.data.pictures import Pictures
from vae_simpsons.images import normalise
from vae_simpsons.inference.blocks import block_size, map_blocks, padded_blocks
from vae_simpsons.models import Autoencoder
from vae_simpsons.progress import Progress


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


def encode_pictures(
    network: Autoencoder, blocks: Iterable[Tensor], count: int, progress: Progress, title: str = "encoding images"
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yields mu and log_var of `count` uint8 pictures in `blocks` (n, C, H, W) of block_size, block by block."""
    report, done = progress(title, count), 0

    def work(pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        return encode(network, normalise(pixels))

    for mu, log_var in map_blocks(network, work, blocks, -(-count // block_size(network))):
        yield mu, log_var
        done += len(mu)
        report(done)


def mean_latent(network: Autoencoder, pictures: Pictures, progress: Progress) -> Tensor:
    """Returns the mean mu of the pictures, float64 (*latent), computed block by block.

    Raises:
        VAEError: a picture cannot be read.
    """
    total = torch.zeros(network.latent_shape, dtype=torch.float64)
    for mu, _ in encode_pictures(network, pictures.blocks(block_size(network)), len(pictures), progress):
        total += mu.double().sum(0)
    return total / len(pictures)


def encode_posteriors(network: Autoencoder, pixels: Tensor, mirrored: bool, progress: Progress) -> Tensor:
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
        both = [encode(network, way) for way in (x, x.flip(-1))[:flips]]
        return torch.stack([torch.stack([mu, log_var], 1) for mu, log_var in both if log_var is not None], 1)

    for start, block in zip(starts, map_blocks(network, encode_block, starts, len(starts)), strict=True):
        found[start : start + len(block)] = block
        report(start + len(block))
    return found


@torch.inference_mode()
def decode(network: Autoencoder, z: Tensor) -> Tensor:
    """Returns the images (n, C, H, W) on the CPU, in [-1, 1], of z (n, *latent)."""
    return torch.cat([network.decode(block)[:count].float().cpu() for block, count in padded_blocks(network, z)])


def reconstruct(network: Autoencoder, x: Tensor) -> Tensor:
    """Returns the mean image of each posterior's mean, (n, C, H, W) on the CPU, in [-1, 1], of x (n, C, H, W)."""
    return decode(network, encode(network, x)[0])
