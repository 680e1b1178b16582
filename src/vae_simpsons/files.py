"""How a file comes to be whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".part"  # how the name of a file ends that is being written


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place in one step when the block ends without an error.

    Raises:
        OSError: it cannot be written; what was at `path` is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
    try:
        yield beside
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Have the system put the names in `folder` on the disk, so that a power cut does not undo a renaming.

    Raises:
        OSError: the disk is gone.
    """
    if os.name == "nt":  # which cannot
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished in `folder`, to which nobody else may be writing."""
    for left in folder.glob(f".*{UNFINISHED}"):
        left.unlink(missing_ok=True)
