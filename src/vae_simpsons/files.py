"""How a file comes to be whole or not at all."""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vae_simpsons.errors import VAEError, cannot_write

UNFINISHED = ".part"  # how the name of a file ends that is being written

TEMPORARY = ".vae-temporary-"  # how the names of temporary files and folders begin
ABANDONED_S = 3600  # a temporary folder without a change for this long was left by a process that was killed


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
def publish_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty temporary folder, which becomes `folder` when the block ends without an error.

    A killed process leaves nothing at `folder`. If two processes fill it at once, the first result is kept.

    Raises:
        OSError: it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_temporary(folder.parent, unchanged_for_s=ABANDONED_S)
    temporary = _temporary_path(folder)
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def output_folder(name: str, folder: Path) -> Iterator[Path]:
    """Yields an empty temporary folder, which becomes the output `folder` of a command, new or empty until then.

    Args:
        name: what the user calls `folder`, for errors.

    Raises:
        VAEError: `folder` is a file, is not empty, or cannot be written.
    """
    try:
        if folder.exists():
            if not folder.is_dir():
                raise VAEError(f"{name}: {folder} is a file. Give a new folder.")
            if any(folder.iterdir()):
                raise VAEError(
                    f"{name}: {folder} is not empty, and nothing of yours is overwritten. Give a new folder."
                )
            folder.rmdir()
        with publish_folder(folder) as temporary:
            yield temporary
    except OSError as e:
        raise cannot_write(name, folder, e) from None


def remove_temporary(folder: Path, unchanged_for_s: float = 0) -> None:
    """Removes the temporary files and folders that killed processes left in `folder`.

    Args:
        unchanged_for_s: leave those that have changed more recently; 0 only where no other process writes.
    """
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):  # another process may be removing it too
            last_change_s = max(p.stat().st_mtime for p in (path, *path.glob("*"), *path.glob("*/*")))
            if unchanged_for_s and time.time() - last_change_s < unchanged_for_s:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _temporary_path(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")
