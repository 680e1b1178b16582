"""Paths -> their pixels, in memory, as uint8."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from struct import error as StructError
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vae_simpsons.data.folder import read_image
from vae_simpsons.errors import VAEError, one_line

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, StructError, Image.DecompressionBombError)
MOST_UNREADABLE = 0.1  # share of unreadable images at which a folder is taken for something else than data


class Unreadable(NamedTuple):
    """An image that training goes on without."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Pixels:
    """The images that could be read, in the order of their paths."""

    data: Tensor  # uint8 (N, C, H, W)
    paths: list[Path]
    unreadable: list[Unreadable]


def load_pixels(
    paths: Sequence[Path], size: int, channels: int, on_progress: Callable[[int], None] | None = None
) -> Pixels:
    """Decode every image of `paths` to (channels, size, size), on all cores.

    Args:
        on_progress: called with the number of images done, as they are done.

    Raises:
        VAEError: more than a tenth of the images are unreadable.
    """
    # One allocation for all; what is unreadable leaves its row to the next image.
    data = np.empty((len(paths), channels, size, size), dtype=np.uint8)
    kept: list[Path] = []
    unreadable: list[Unreadable] = []
    with ThreadPoolExecutor() as pool:
        for path, result in _in_order(pool, paths, size, channels):
            if isinstance(result, str):
                unreadable.append(Unreadable(path, result))
            else:
                data[len(kept)] = result
                kept.append(path)
            if on_progress:
                on_progress(len(kept) + len(unreadable))
    if len(unreadable) > MOST_UNREADABLE * len(paths):
        raise _too_many(unreadable, len(paths))
    return Pixels(torch.from_numpy(data[: len(kept)]), kept, unreadable)


def _in_order(
    pool: ThreadPoolExecutor, paths: Sequence[Path], size: int, channels: int, ahead: int = 256
) -> Iterator[tuple[Path, np.ndarray | str]]:
    """Each path with its pixels or the reason why there are none; at most `ahead` images wait at a time."""
    todo = iter(paths)
    waiting: deque[tuple[Path, Future]] = deque()
    while True:
        for path in islice(todo, ahead - len(waiting)):
            waiting.append((path, pool.submit(_pixels_or_reason, path, size, channels)))
        if not waiting:
            return
        path, future = waiting.popleft()
        yield path, future.result()


def _pixels_or_reason(path: Path, size: int, channels: int) -> np.ndarray | str:
    try:
        return read_image(path, size, channels)
    except UNREADABLE as e:
        return one_line(e).replace(f" {str(path)!r}", "") or type(e).__name__


def _too_many(unreadable: Sequence[Unreadable], count: int) -> VAEError:
    path, reason = unreadable[0]
    return VAEError(
        f"data.path: {len(unreadable)} of {count} images are unreadable, the first {path} ({reason}). "
        f"Up to {MOST_UNREADABLE:.0%} are passed over. Mend or remove them."
    )
