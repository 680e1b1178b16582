"""A folder -> the image files in it."""

import os
import stat
from pathlib import Path
from posixpath import dirname
from typing import NamedTuple

from vae_simpsons.errors import VAEError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class File(NamedTuple):
    """A file that by its name is an image. One that cannot be looked at has size -1: reading it says why."""

    path: str  # in the folder, with / between its parts
    size: int  # bytes
    time_ns: int  # of the last change


def find_files(folder: Path) -> list[File]:
    """The files below `folder`, at any depth, that end in one of EXTENSIONS, sorted by path.

    Linked folders are entered, each real folder once, so that links that loop end. Hidden files and folders are left
    alone. A folder that cannot be listed stands in the result as a file that cannot be read.

    Raises:
        VAEError: no such folder, not a folder, or no image in it.
    """
    if not folder.exists():
        raise VAEError(f"data.path: no such folder: {folder}. Give a folder of images, or an archive of them.")
    found: list[File] = []
    entered: set[tuple[int, int]] = set()
    closed = lambda error: found.append(File(_inside(folder, Path(error.filename)), -1, 0))  # noqa: E731
    for parent, subfolders, names in os.walk(folder, followlinks=True, onerror=closed):
        here = os.stat(parent)
        if (here.st_dev, here.st_ino) in entered:
            subfolders.clear()
            continue
        entered.add((here.st_dev, here.st_ino))
        subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
        images = (n for n in names if n.lower().endswith(EXTENSIONS) and not n.startswith("."))
        found += [_file(folder, Path(parent, n)) for n in images]
    if not found:
        raise VAEError(
            f"data.path: no images under {folder} ({len(entered)} {'folder' if len(entered) == 1 else 'folders'} "
            f"searched for {' '.join(EXTENSIONS)}). Point data.path at a folder of images."
        )
    return sorted(found)


def class_of(path: str) -> str:
    """The sub-folder that the file is in; '' at the top."""
    return dirname(path)


def _file(folder: Path, path: Path) -> File:
    try:
        status = path.stat()
    except OSError:  # a link that leads nowhere or around in a circle
        return File(_inside(folder, path), -1, 0)
    regular = stat.S_ISREG(status.st_mode)  # a pipe named .jpg would be waited on for ever
    return File(_inside(folder, path), status.st_size if regular else -1, status.st_mtime_ns)


def _inside(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
