"""Toons, the data set that this program draws: cartoon portraits, each from a few known factors."""

from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path

from vae_simpsons.data.cache import make_cached
from vae_simpsons.data.toons.face import draw_toon
from vae_simpsons.data.toons.factors import Toon, make_toon
from vae_simpsons.files import write_csv
from vae_simpsons.progress import Progress

__all__ = ["Toon", "cached_toons", "draw_toon", "make_toon", "write_toons"]
TOONS_VERSION = 3  # raise it when the drawing or the files change


def write_toons(folder: Path, count: int, seed: int, size: int, show: Callable[[int], None] | None = None) -> None:
    """Draws toons 0 to count - 1 of `seed` into `folder`, which is made, in a sub-folder for each hairstyle.

    So the hairstyle is the label: bald/toon_00012.png. factors.csv lists them all, in the order of their numbers.

    Args:
        folder: new or empty.
        size: height and width, pixels.
        show: called with the number drawn.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = (make_toon(seed, index) for index in range(count))
    toons = {f"{toon.hair}/toon_{index:05d}.png": toon for index, toon in enumerate(drawn)}
    for hair in {toon.hair for toon in toons.values()}:
        (folder / hair).mkdir()
    rows = ((name, *astuple(toon)) for name, toon in toons.items())
    write_csv(folder / "factors.csv", ["file", *(f.name for f in fields(Toon))], rows)
    for number, (name, toon) in enumerate(toons.items(), start=1):
        draw_toon(toon, size).save(folder / name, compress_level=1)
        if show:
            show(number)


def cached_toons(count: int, seed: int, size: int, cache: Path, progress: Progress) -> Path:
    """Returns the folder in `cache` that holds these toons; draws them if it does not exist."""

    def fill(temporary: Path) -> None:
        write_toons(temporary, count, seed, size, progress("drawing toons", count))

    folder = cache / f"toons-v{TOONS_VERSION}-n{count}-seed{seed}-{size}px"
    make_cached(cache, folder, folder.is_dir, fill, progress)
    return folder
