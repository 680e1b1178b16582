"""How a file comes to be whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vae_simpsons.errors import VAEError, cannot_write

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


@contextmanager
def output_folder(name: str, folder: Path) -> Iterator[Path]:
    """Yields an empty temporary folder, which becomes the output `folder` of a command, new or empty until then.

    Args:
        name: what the user calls `folder`, for errors.

    Raises:
        VAEError: `folder` is a file, is not empty, or cannot be written.
    """
    from vae_simpsons.data.cache import publishing as publish_folder

    try:
        if folder.exists():
            if not folder.is_dir():
                raise VAEError(f"{name}: {folder} is a file. Give a new folder.")
            if any(folder.iterdir()):
                raise VAEError(f"{name}: {folder} is not empty, and nothing of yours is overwritten. Give a new folder.")  # noqa: E501
            folder.rmdir()
        with publish_folder(folder) as temporary:
            yield temporary
    except OSError as e:
        raise cannot_write(name, folder, e) from None
