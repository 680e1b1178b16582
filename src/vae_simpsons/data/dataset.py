"""A `Data` section -> pixels and their split: what the trainer trains on."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_simpsons.config import TOONS, Config
from vae_simpsons.data.folder import find_images
from vae_simpsons.data.pixels import Pixels, load_pixels
from vae_simpsons.data.split import split
from vae_simpsons.data.toons import cached
from vae_simpsons.errors import VAEError

TOONS_SEED = 0  # not the run's seed: repeating a run with another seed must not change its data
# A progress callback is asked for with what is being done and how many there are to do.
Progress = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True)
class Dataset:
    """The images of a run, and which of them train and validate."""

    folder: Path
    pixels: Pixels
    train: np.ndarray  # indices into pixels
    val: np.ndarray


def load_dataset(config: Config, processes: int, progress: Progress) -> Dataset:
    """The images that `config` selects, decoded and split.

    Args:
        processes: how many processes train side by side, each with batches of its own.
        progress: called with a title and a total, returns what is called with the number done.

    Raises:
        VAEError: no folder, no images, too many unreadable, too few for a batch.
    """
    data = config.data
    folder = toons_folder(config, progress) if data.path == TOONS else Path(data.path).expanduser()
    paths = find_images(folder)
    check_count(len(paths), config, processes)
    pixels = load_pixels(paths, data.image_size, data.channels, progress("reading images", len(paths)))
    check_count(len(pixels.paths), config, processes)
    return Dataset(folder, pixels, *split(len(pixels.paths), data, config.seed))


def toons_folder(config: Config, progress: Progress) -> Path:
    """The folder of drawn portraits, drawn now if they are not kept from an earlier run."""
    data = config.data
    cache = Path(data.cache_dir).expanduser() if data.cache_dir else user_cache()
    return cached(data.toons, TOONS_SEED, data.image_size, cache, progress("drawing toons", data.toons))


def user_cache() -> Path:
    """Where this user's programs keep what can be made again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vae-simpsons"


def check_count(count: int, config: Config, processes: int) -> None:
    """Refuse images that are too few for one batch in each process, or for one to validate.

    Raises:
        VAEError: with what would do.
    """
    train, _ = split(count, config.data, config.seed)
    needed = config.data.batch_size * processes
    if len(train) < needed:
        each = f" in each of {processes} processes" if processes > 1 else ""
        raise VAEError(
            f"data.batch_size: {config.data.batch_size}{each} is more than the {len(train)} training images "
            f"({count} found, train_fraction {config.data.train_fraction:g}). "
            f"Give more images or --data.batch_size {max(2, len(train) // processes)}."
        )
    if count - len(train) < processes:
        raise VAEError(
            f"trainer.devices: {processes} processes, but {count - len(train)} images to validate. "
            "Give more images, a smaller data.train_fraction, or fewer devices."
        )
