"""Pictures that a user names - files, folders, archives - prepared as in training, read when they are needed."""

import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.data.decode import decode_block
from vae_simpsons.data.folder import File
from vae_simpsons.data.formats import EXTENSIONS, FORMATS
from vae_simpsons.data.members import is_archive
from vae_simpsons.data.pack import Pack, open_pack
from vae_simpsons.errors import VAEError, renamed
from vae_simpsons.paths import expand_home
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Data


class Part(NamedTuple):
    """Some of the pictures: those of one file, folder or archive."""

    names: list[str]
    read: Callable[[int], Tensor]  # the number of a picture -> uint8 (C, H, W)
    left_out: str | None = None  # the unreadable ones, in words


class Pictures:
    """Named pictures in the order given, each read from its file or pack when it is asked for.

    Attributes:
        parts: one for each path that was given.
        names: of each picture, as its user can find it.
        left_out: how many files of each folder are unreadable, and why.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self._starts = list(accumulate((len(part.names) for part in parts), initial=0))
        self.names = [name for part in parts for name in part.names]
        self.left_out = [part.left_out for part in parts if part.left_out]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, numbers: Sequence[int]) -> Tensor:
        """Returns the pictures with these numbers, uint8 (n, C, H, W).

        Raises:
            VAEError: one of them is not an image.
        """
        return torch.stack([self._read(number) for number in numbers])

    def blocks(self, size: int) -> Iterator[Tensor]:
        """Yields all pictures in blocks of `size`; the last may be smaller."""
        for start in range(0, len(self), size):
            yield self.take(range(start, min(start + size, len(self))))

    def _read(self, number: int) -> Tensor:
        part = bisect_right(self._starts, number) - 1
        return self.parts[part].read(number - self._starts[part])


def open_pictures(name: str, paths: Sequence[str | Path], data: Data, progress: Progress) -> Pictures:
    """Returns the pictures at `paths`; folders and archives are packed, as for training, files are read later.

    Args:
        name: what the user calls `paths`, for errors.

    Raises:
        VAEError: no such file or folder, no image in it, or no image.
    """
    with renamed(**{"data.path": name, "archive": name}):
        return Pictures([_open_part(name, Path(expand_home(name, path)), data, progress) for path in paths])


def pictures_of(pack: Pack, numbers: Sequence[int] | np.ndarray) -> Pictures:
    """Returns those images of a pack that have these numbers."""
    names = [pack.index.paths[number] for number in numbers]
    return Pictures([Part(names, lambda number: pack.pixels[int(numbers[number])])])


def is_picture_file(path: Path) -> bool:
    """Whether `path` is one picture rather than a folder or an archive of them."""
    if not path.is_file() or path.suffix.lower() in EXTENSIONS:
        return path.is_file()
    try:
        return not is_archive(path)
    except VAEError:
        return True


def _open_part(name: str, path: Path, data: Data, progress: Progress) -> Part:
    if not path.exists():
        raise VAEError(f"{name}: no such file or folder: {path}. Give images, a folder of images or an archive of one.")
    if is_picture_file(path):
        return Part([str(path)], lambda _: _read_file(name, path, data))
    pack = open_pack(path, data, progress)
    names = [str(path / image) for image in pack.index.paths]
    return Part(names, lambda number: pack.pixels[number], pack.index.left_out())


def _read_file(name: str, path: Path, data: Data) -> Tensor:
    with warnings.catch_warnings(action="ignore"):
        block = decode_block(path.parent, [File(path.name, path.stat().st_size, 0)], data)
    if isinstance(block.outcomes[0], str):
        raise VAEError(f"{name}: cannot read {path}: {block.outcomes[0]}. Give an image ({', '.join(FORMATS)}).")
    return block.pixels[0]
