"""Images drawn from the prior.

Sample i of a seed has the same pixels however many are drawn: its noise comes from a stream that is drawn in blocks of
a fixed size, and it is made a latent and decoded in such a block.
"""

import threading
from collections.abc import Callable, Iterator
from itertools import chain, islice

import torch
from torch import Tensor

from vae_simpsons.data.order import random_bits
from vae_simpsons.errors import VAEError
from vae_simpsons.inference.blocks import block_size, device_of, map_blocks, padded_blocks
from vae_simpsons.inference.latents import decode
from vae_simpsons.models import Autoencoder, Prior
from vae_simpsons.models.priors import FlowPrior
from vae_simpsons.progress import Progress

NO_PRIOR = (
    "this is an autoencoder (model.variational: false). It has no prior to sample from: nothing says which z decode to "
    "images. Train with model.variational true to sample."
)
CLASS_STREAM = 0xC1A55  # keeps the classes of a seed apart from its other draws


def sample(
    network: Autoencoder,
    count: int,
    seed: int,
    labels: Tensor | None = None,
    guidance: float = 1.0,
    steps: int = 20,
    temperature: float = 1.0,
    on_step: Callable[[], None] = lambda: None,
    each: int | None = None,
) -> Iterator[Tensor]:
    """Returns `count` images drawn from the prior, as blocks (n, C, H, W) on the CPU, in [-1, 1].

    Args:
        labels: int64 (count,), the class of each, -1 for none; None: any, which for a flow that is told classes is a
            random one for each: only a tenth of its training was without.
        guidance, steps, temperature: as `Prior.draw` takes them.
        on_step: called after each step of a flow, by several threads.
        each: after so many images, which divide `count`, the noise begins anew, so that several classes are drawn from
            the same noise; None: never.
    """
    if not network.variational:
        raise VAEError(f"path: {NO_PRIOR}")
    size = block_size(network)
    labels = any_classes(network.prior, count, seed) if labels is None else labels
    noise = repeated_noise(network.latent_shape, count, each or count, seed, size)
    blocks = zip(noise, labels.split(size), strict=True)

    @torch.inference_mode()
    def draw(block: tuple[Tensor, Tensor]) -> Tensor:
        (eps, real), (classes, _) = (next(padded_blocks(network, part)) for part in block)
        classes = classes.to(device_of(network))
        z = network.prior.draw(
            eps, classes, guidance=guidance, steps=steps, temperature=temperature, progress=lambda _: on_step()
        )
        return decode(network, z[:real])

    return map_blocks(network, draw, blocks, -(-count // size))


def any_classes(prior: Prior, count: int, seed: int) -> Tensor:
    """Returns a random class for each of `count` images of a flow that is told classes, else -1, int64 (count,)."""
    if not (isinstance(prior, FlowPrior) and prior.class_count):
        return torch.full((count,), -1)
    bits = random_bits(count, CLASS_STREAM, seed) >> 33  # 31 bits of each
    return torch.from_numpy((bits % prior.class_count).astype("int64"))


def prior_noise(shape: tuple[int, ...], count: int, seed: int, block: int) -> Iterator[Tensor]:
    """Yields noise ~ N(0, I) in full blocks (block, *shape) on the CPU, enough of them for `count`."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(0, count, block):
        yield torch.randn(block, *shape, generator=generator)


def repeated_noise(shape: tuple[int, ...], count: int, each: int, seed: int, block: int) -> Iterator[Tensor]:
    """Yields `count` rows, the first `each` of that noise again and again, in blocks; the last one may be smaller."""
    rounds = (chain.from_iterable(prior_noise(shape, each, seed, block)) for _ in range(0, count, each))
    rows = chain.from_iterable(islice(rows, each) for rows in rounds)
    while part := list(islice(rows, block)):
        yield torch.stack(part)


def count_steps(progress: Progress, total: int) -> Callable[[], None]:
    """Returns what any thread calls after a step, of `total` in all; the bar appears with the first of them."""
    lock, done, report = threading.Lock(), 0, None

    def on_step() -> None:
        nonlocal done, report
        with lock:
            report = report or progress("drawing", total)
            done += 1
            report(done)

    return on_step
