"""Toons as PNG files, and a table of their factors."""

import errno
import os
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path

from vae_simpsons.data.cache import make_cached
from vae_simpsons.data.toons.drawing import draw_toon
from vae_simpsons.data.toons.factors import Toon, make_toon
from vae_simpsons.files import write_csv
from vae_simpsons.progress import Progress

TOONS_VERSION = 2  # raise it when the drawing changes


def write_toons(folder: Path, count: int, seed: int, size: int, show: Callable[[int], None] | None = None) -> None:
    """Draws toons 0 to count - 1 of `seed` into `folder`, which is made: toon_00000.png ... and factors.csv.

    Args:
        folder: must be empty if it exists.
        size: height and width, pixels.
        show: called with the number drawn.

    Raises:
        OSError: the folder is not empty or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
    rows = ((toon_name(index), *astuple(make_toon(seed, index))) for index in range(count))
    write_csv(folder / "factors.csv", ["file", *(f.name for f in fields(Toon))], rows)
    for index in range(count):
        draw_toon(make_toon(seed, index), size).save(folder / toon_name(index), compress_level=1)
        if show:
            show(index + 1)


def toon_name(index: int) -> str:
    """Returns the file name of toon `index`."""
    return f"toon_{index:05d}.png"


def cached_toons(count: int, seed: int, size: int, cache: Path, progress: Progress) -> Path:
    """Returns the folder in `cache` that holds these toons; draws them if it does not exist.

    Raises:
        VAEError: `cache` cannot be written.
    """
    folder = cache / f"toons-v{TOONS_VERSION}-n{count}-seed{seed}-{size}px"

    def fill(temporary: Path) -> None:
        write_toons(temporary, count, seed, size, progress("drawing toons", count))

    make_cached(cache, folder, folder.is_dir, fill, progress)
    return folder
