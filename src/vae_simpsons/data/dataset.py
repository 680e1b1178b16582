"""A `Data` section -> pixels and their split: what the trainer trains on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_simpsons.data import toons
from vae_simpsons.data.cache import cache_folder
from vae_simpsons.data.pack import Pack, open_pack
from vae_simpsons.data.split import Split, read_manifest, split
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import Progress
from vae_simpsons.settings import TOONS, Data, Settings

TOONS_SEED = 0  # not the run's seed: repeating a run with another seed must not change its data


@dataclass(frozen=True)
class Dataset:
    """The images of a run, and which of them train and validate."""

    source: Path
    pack: Pack
    sides: Split

    @property
    def train(self) -> np.ndarray:
        """The indices of the images that train, ascending."""
        return self.sides.train

    @property
    def val(self) -> np.ndarray:
        """The indices of the images that validate, ascending."""
        return self.sides.val


def load_dataset(config: Settings, processes: int, progress: Progress, manifest: Path | None = None) -> Dataset:
    """The images that `config` selects, packed and split.

    Args:
        processes: how many processes train side by side, each with batches of its own.
        progress: called with a title and a total, returns what is called with the number done.
        manifest: the split of a run that is gone on with; None: a new one is drawn.

    Raises:
        VAEError: no folder, no images, too many unreadable, too few for a batch; no room for the pack.
    """
    source = source_of(config.data, progress)
    pack = open_pack(source, config.data, progress)
    sides = read_manifest(manifest, pack.index) if manifest else split(pack.index, config.data, config.seed)
    check_count(sides, config, processes)
    return Dataset(source, pack, sides)


def source_of(data: Data, progress: Progress) -> Path:
    """The folder or archive that `data.path` means; toons are drawn now if they are not kept from an earlier run."""
    if data.path != TOONS:
        return Path(data.path).expanduser()
    return toons.cached(data.toons, TOONS_SEED, data.image_size, cache_folder(data), progress)


def check_count(sides: Split, config: Settings, processes: int) -> None:
    """Refuse images that are too few for one batch in each process, or for one to validate.

    Raises:
        VAEError: with what would do.
    """
    train, val = len(sides.train), len(sides.val)
    needed = config.data.batch_size * processes
    if train < needed:
        each = f" in each of {processes} processes" if processes > 1 else ""
        raise VAEError(
            f"data.batch_size: {config.data.batch_size}{each} is more than the {train} training images "
            f"({train + val} found, train_fraction {config.data.train_fraction:g}). "
            f"Give more images or --data.batch_size {max(2, train // processes)}."
        )
    if val < processes:
        raise VAEError(
            f"trainer.devices: {processes} processes, but {val} images to validate. "
            "Give more images, a smaller data.train_fraction, or fewer devices."
        )
