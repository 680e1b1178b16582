"""A folder -> the image files in it."""

import os
import stat
from pathlib import Path
from posixpath import dirname
from typing import NamedTuple

from vae_simpsons.errors import VAEError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class File(NamedTuple):
    """A file with the name of an image. If the system cannot read its status, size is -1, and decoding says why."""

    path: str  # relative to the folder, with / between its parts
    size: int  # bytes
    time_ns: int  # of the last change


def find_files(folder: Path) -> list[File]:
    """Returns the files below `folder`, at any depth, that end in one of EXTENSIONS, sorted by path.

    Links are followed, each real folder once, so that circular links end. Hidden files and folders are skipped. A
    folder that cannot be listed is returned as an unreadable file.

    Raises:
        VAEError: no such folder, not a folder, or no image in it.
    """
    if not folder.exists():
        raise VAEError(f"data.path: no such folder: {folder}. Give a folder of images, or an archive of them.")
    files: list[File] = []

    def add_unreadable(error: OSError) -> None:
        files.append(File(_relative(folder, Path(error.filename)), -1, 0))

    visited: set[tuple[int, int]] = set()
    for parent, subfolders, names in os.walk(folder, followlinks=True, onerror=add_unreadable):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
        images = (n for n in names if n.lower().endswith(EXTENSIONS) and not n.startswith("."))
        files += [_file(folder, Path(parent, n)) for n in images]
    if not files:
        raise VAEError(
            f"data.path: no images under {folder} ({len(visited)} {'folder' if len(visited) == 1 else 'folders'} "
            f"searched for {' '.join(EXTENSIONS)}). Give a folder of images."
        )
    return sorted(files)


def class_of(path: str) -> str:
    """Returns the sub-folder that the file is in; '' at the top."""
    return dirname(path)


def _file(folder: Path, path: Path) -> File:
    try:
        status = path.stat()
    except OSError:  # a link to nothing or a circular one
        return File(_relative(folder, path), -1, 0)
    size = status.st_size if stat.S_ISREG(status.st_mode) else -1  # reading a pipe would wait forever
    return File(_relative(folder, path), size, status.st_mtime_ns)


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
