"""z -> images, and images through the model: always with generators of our own.

Sample i of a seed has the same pixels however many are asked for: its z comes from a stream that is drawn in fixed
blocks, and it is decoded in a block of a fixed size, since a convolution's last digits depend on the batch it is in.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from vae_simpsons.errors import VAEError
from vae_simpsons.images import normalise
from vae_simpsons.models import ConvVAE
from vae_simpsons.threads import Item, Result, ahead

_BLOCK_PIXELS = 64 * 64 * 64  # of one decoded block: 64 images of 64x64, which bounds memory at any image size
_WORKERS = 8  # blocks that are computed at a time, at most


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
    """The images (n, C, H, W) on the CPU, in [-1, 1], of z (n, latent_dim)."""
    return torch.cat([network.decode(block)[:n].float().cpu() for block, n in _padded(network, z)])


@torch.inference_mode()
def encode_images(network: ConvVAE, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """mu and log_var, (n, latent_dim) on the CPU, of x (n, C, H, W) in [-1, 1]; log_var is None for an autoencoder."""
    mus, log_vars = [], []
    for block, n in _padded(network, x):
        mu, log_var = network.encode(block)
        mus.append(mu[:n].cpu())
        if log_var is not None:
            log_vars.append(log_var[:n].cpu())
    return torch.cat(mus), torch.cat(log_vars) if log_vars else None


def _padded(network: ConvVAE, inputs: Tensor) -> Iterator[tuple[Tensor, int]]:
    """`inputs` (n, ...) in blocks on the network's device, the last one filled with zeros, and how many are none."""
    assert not network.training, "BatchNorm would use the batch's own statistics"
    block = block_size(network.shape[-1])
    device = next(network.parameters()).device
    for part in inputs.split(block):
        missing = block - len(part)
        padded = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
        yield padded.to(device), len(part)


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
            "path: this is an autoencoder (model.variational: false). It has no prior to sample from: nothing says "
            "which z decode to images. Train with model.variational true to sample."
        )
    return _sample(network, count, seed)


def _sample(network: ConvVAE, count: int, seed: int) -> Iterator[Tensor]:
    block = block_size(network.shape[-1])
    latents = prior_latents(count, network.latent_dim, seed, block)
    left = count
    for images in _side_by_side(network, partial(decode_latents, network), latents, -(-count // block)):
        yield images[:left]
        left -= len(images)


def encode(network: ConvVAE, pixels: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
    """mu and log_var, as encode_images has them, of uint8 pixels (N, C, H, W), which may be mapped, in blocks.

    Args:
        network: in eval mode.
    """
    blocks = pixels.split(block_size(network.shape[-1]))
    return _side_by_side(network, lambda block: encode_images(network, normalise(block)), blocks, len(blocks))


def _side_by_side(
    network: ConvVAE, work: Callable[[Item], Result], blocks: Iterable[Item], count: int
) -> Iterator[Result]:
    """work(block) for each of `count` blocks, in order, while whoever asks for them writes the ones before.

    On a CPU each core has a block of its own. When all cores share each step of one block, every step waits for the
    core that a picture is being compressed on as well.
    """
    cpu = next(network.parameters()).device.type == "cpu"
    workers = min(torch.get_num_threads(), _WORKERS, count) if cpu else 1
    return ahead(work, blocks, workers, 2 * workers) if count > 1 else map(work, blocks)


def reconstruct(network: ConvVAE, x: Tensor) -> Tensor:
    """The decoder's mean image of each posterior's mean, (B, C, H, W) on the CPU, in [-1, 1], of x (B, C, H, W).

    Args:
        network: in eval mode.
    """
    return decode_latents(network, encode_images(network, x)[0])


def pick_device(name: str) -> torch.device:
    """The device called `name`: auto, cpu, cuda or mps.

    Raises:
        VAEError: it is not there.
    """
    there = available_devices()
    if name == "auto":
        return torch.device(there[-1])
    if name not in there:
        raise VAEError(f"device: {name}, but this machine has {' and '.join(there)} only. Give auto, or {there[-1]}.")
    return torch.device(name)


def available_devices() -> list[str]:
    """The kinds of device that torch can use here, the slowest first."""
    gpus = {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    return ["cpu", *(name for name, there in gpus.items() if there)]
