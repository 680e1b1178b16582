"""Images drawn from the prior.

Sample i of a seed has the same pixels however many are drawn: its noise comes from a stream that is drawn in blocks of
a fixed size, and it is made a latent and decoded in such a block.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vae_simpsons.errors import VAEError
from vae_simpsons.inference.blocks import block_size, device_of, map_blocks, padded_blocks
from vae_simpsons.inference.latents import decode
from vae_simpsons.models import Autoencoder


def sample(
    network: Autoencoder,
    count: int,
    seed: int,
    labels: Tensor | None = None,
    guidance: float = 1.0,
    steps: int = 20,
    temperature: float = 1.0,
    on_step: Callable[[], None] = lambda: None,
) -> Iterator[Tensor]:
    """Returns `count` images drawn from the prior, as blocks (n, C, H, W) on the CPU, in [-1, 1].

    Args:
        labels: int64 (count,), the class of each, -1 for any; None: any.
        guidance, steps, temperature: as `Prior.draw` takes them.
        on_step: called after each step of a flow, by several threads.
    """
    if not network.variational:
        raise VAEError(
            "path: this is an autoencoder (model.variational: false). It has no prior to sample from: nothing says "
            "which z decode to images. Train with model.variational true to sample."
        )
    size = block_size(network)
    labels = torch.full((count,), -1) if labels is None else labels
    noise = (z[: count - i * size] for i, z in enumerate(prior_noise(network.latent_shape, count, seed, size)))
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


def prior_noise(shape: tuple[int, ...], count: int, seed: int, block: int) -> Iterator[Tensor]:
    """Yields noise ~ N(0, I) in full blocks (block, *shape) on the CPU, enough of them for `count`."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(0, count, block):
        yield torch.randn(block, *shape, generator=generator)
