"""The `data` settings -> images, labels and their split: what a run trains on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.data.cache import cache_folder
from vae_simpsons.data.pack import Pack, open_pack
from vae_simpsons.data.split import Split, check_count, draw_split, read_manifest
from vae_simpsons.data.toons import cached_toons
from vae_simpsons.progress import Progress
from vae_simpsons.settings import TOONS, Data, Settings

TOONS_SEED = 0  # not the run's seed: another seed must not change the data


@dataclass(frozen=True)
class Dataset:
    """The images of a run, and which of them train and validate."""

    source: Path  # a folder or an archive
    pack: Pack
    split: Split

    @property
    def train(self) -> np.ndarray:
        """The indices of the images that train, ascending."""
        return self.split.train

    @property
    def val(self) -> np.ndarray:
        """The indices of the images that validate, ascending."""
        return self.split.val

    @property
    def labels(self) -> Tensor:
        """The class of each image, int64 (N,), as an index into `class_names`."""
        return torch.from_numpy(self.pack.index.labels)

    @property
    def class_names(self) -> list[str]:
        """The names of the sub-folders with images, sorted; '' for images that are in none."""
        return self.pack.index.class_names

    def numbered(self, class_names: Sequence[str]) -> Tensor:
        """Returns the number of each image's class in `class_names`, int64 (N,); -1 for a class that is not in it."""
        numbers = {name: number for number, name in enumerate(class_names)}
        return torch.tensor([numbers.get(name, -1) for name in self.class_names])[self.labels]

    def large_classes(self, at_least: int) -> list[str]:
        """Returns the names of the classes with `at_least` training images, sorted; images at the top have no class."""
        counts = np.bincount(self.pack.index.labels[self.train], minlength=len(self.class_names))
        return [name for name, n in zip(self.class_names, counts, strict=True) if name and n >= at_least]


def load_dataset(settings: Settings, processes: int, progress: Progress, manifest: Path | None = None) -> Dataset:
    """Returns the images that `settings` select, packed and split.

    Args:
        processes: how many processes train together, each on its own batches.
        manifest: the split of a run that is resumed; None: a new one is drawn.

    Raises:
        VAEError: no folder, no images, too many unreadable, too few for a batch; the cache cannot be written.
    """
    data = settings.data
    source = source_of(data, progress)
    pack = open_pack(source, data, progress)
    split = read_manifest(manifest, pack.index) if manifest else draw_split(pack.index, data, settings.seed)
    check_count(split, data, processes)
    return Dataset(source, pack, split)


def with_levels(settings: Settings, dataset: Dataset) -> Settings:
    """Returns `settings` with the levels of the images, so that later ones are read like those that trained."""
    levels = dataset.pack.index.levels
    return replace(settings, data=replace(settings.data, levels=levels)) if levels else settings


def source_of(data: Data, progress: Progress) -> Path:
    """Returns the folder or archive that `data.path` means; toons are drawn unless they are in the cache.

    Toons are square, with the larger side of data.image_size, and cropped like other pictures.

    Raises:
        VAEError: the cache cannot be written.
    """
    if data.path != TOONS:
        return Path(data.path)
    return cached_toons(data.toons, TOONS_SEED, max(data.size), cache_folder(data), progress)
