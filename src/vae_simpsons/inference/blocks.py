"""Inputs in blocks of a fixed size, since the last digits of a convolution depend on the batch that it is in."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from vae_simpsons.models import Autoencoder
from vae_simpsons.threads import Item, Result, map_ahead

BLOCK_PIXELS = 64 * 64 * 64  # of one block: 64 images of 64x64, which bounds memory at any image size
MAX_WORKERS = 8  # blocks that are computed at a time


def block_size(network: Autoencoder) -> int:
    """Returns how many images are computed at a time; the size of an image alone decides it."""
    _, height, width = network.image_shape
    return max(1, BLOCK_PIXELS // (height * width))


def device_of(network: Autoencoder) -> torch.device:
    """Returns the device that `network` is on."""
    return next(network.parameters()).device


def padded_blocks(network: Autoencoder, inputs: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Yields `inputs` (n, ...) in full blocks on the network's device, each with how many of its rows are real."""
    assert not network.training, "BatchNorm would use the batch's own statistics"
    size = block_size(network)
    for part in inputs.split(size):
        filling = part.new_zeros(size - len(part), *part.shape[1:])
        yield torch.cat([part, filling]).to(device_of(network)), len(part)


def map_blocks(
    network: Autoencoder, work: Callable[[Item], Result], blocks: Iterable[Item], count: int
) -> Iterator[Result]:
    """Yields work(block) for each of `count` blocks, in order, while the caller writes the ones before.

    On a CPU each core has a block of its own. When all cores share each step of one block, every step waits for the
    core that is compressing a picture as well.
    """
    if count <= 1:
        return map(work, blocks)
    workers = min(torch.get_num_threads(), MAX_WORKERS, count) if device_of(network).type == "cpu" else 1
    return map_ahead(work, blocks, workers, 2 * workers)
