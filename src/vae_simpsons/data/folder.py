"""A folder -> the image files in it."""

import os
import stat
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vae_simpsons.data.formats import EXTENSIONS
from vae_simpsons.data.index import describe_others
from vae_simpsons.errors import VAEError


class File(NamedTuple):
    """A file with the name of an image. If the system cannot read its status, size is -1, and decoding says why."""

    path: str  # relative to the folder, with / between its parts
    size: int  # bytes
    time_ns: int  # of the last change


def find_files(folder: Path, others: Counter[str] | None = None) -> list[File]:
    """Returns the files below `folder`, at any depth, that end in one of EXTENSIONS, sorted by path.

    Links are followed, each real folder once, so that circular links end. Hidden files and folders are skipped. A
    folder that cannot be listed is returned as an unreadable file.

    Args:
        others: is given how many files have which other endings.

    Raises:
        VAEError: no such folder, not a folder, or no image in it.
    """
    if not folder.exists():
        raise VAEError(f"data.path: no such folder: {folder}. Give a folder of images, or an archive of them.")
    paths: list[str] = []
    others = Counter() if others is None else others
    unlisted: list[OSError] = []
    visited: set[tuple[int, int]] = set()
    for parent, subfolders, names in os.walk(folder, followlinks=True, onerror=unlisted.append):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
        names = [n for n in names if not n.startswith(".")]
        images = [n for n in names if n.lower().endswith(EXTENSIONS)]
        paths += [os.path.join(parent, n) for n in images]
        if len(images) < len(names):
            others.update(ending_of(n) for n in names if not n.lower().endswith(EXTENSIONS))
    paths += [error.filename for error in unlisted]
    if not paths:
        found = f"; found {describe_others(others)}" if others else ""
        raise VAEError(
            f"data.path: no images under {folder} ({len(visited)} {'folder' if len(visited) == 1 else 'folders'} "
            f"searched for {' '.join(EXTENSIONS)}{found}). Give a folder of images."
        )
    return sorted(file_of(Path(path), folder) for path in paths)


def ending_of(name: str) -> str:
    """Returns the ending of a file's name as it is counted: '.heic', or 'without an ending'."""
    return os.path.splitext(name)[1].lower() or "without an ending"


def file_of(path: Path, folder: Path) -> File:
    """Returns what the system knows of the file at `path`, which is in `folder`."""
    name = path.relative_to(folder).as_posix()
    with suppress(OSError):  # from a link to nothing, or a circular one
        status = path.stat()
        if stat.S_ISREG(status.st_mode):  # reading a pipe would wait forever
            return File(name, status.st_size, status.st_mtime_ns)
    return File(name, -1, 0)
