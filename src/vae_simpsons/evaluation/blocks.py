"""Networks over many images in blocks of one size, so that no figure depends on anybody's batch.

A convolution may add in another order for a batch of another size, and so differ in its last digit. Here each image is
one of a block of always the same size: the last block is filled up, and what filled it is dropped.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

BLOCK = 64  # images


def slices(count: int, size: int) -> Iterator[slice]:
    """0..count in steps of `size`; the last may be shorter."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


@torch.inference_mode()
def in_blocks(
    function: Callable[..., Tensor | tuple[Tensor, ...]],
    *inputs: Tensor,
    size: int = BLOCK,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, ...]:
    """What `function` makes of `inputs`, `size` rows at a time, joined again.

    Args:
        function: takes a block (size, ...) of each input; returns one tensor (size, ...) or several.
        inputs: (N, ...) each.
        size: rows of a block; a constant of the figure, nothing that a user sets.
        on_progress: called with the number of rows done.

    Returns:
        Always a tuple, of tensors (N, ...) on the CPU.
    """
    count = len(inputs[0])
    parts: list[tuple[Tensor, ...]] = []
    for rows in slices(count, size):
        found = function(*(filled(x[rows], size) for x in inputs))
        found = found if isinstance(found, tuple) else (found,)
        parts.append(tuple(x[: rows.stop - rows.start].cpu() for x in found))
        if on_progress:
            on_progress(rows.stop)
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def filled(x: Tensor, size: int) -> Tensor:
    """`x` (n, ...) with its last row repeated up to `size` rows."""
    missing = size - len(x)
    return torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x


def noise_source(seed: int, block: int) -> torch.Generator:
    """Where the noise of one block comes from: it depends on the seed and the block's number, on nothing before it."""
    state = np.random.SeedSequence([seed, block]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) % 2**63)
