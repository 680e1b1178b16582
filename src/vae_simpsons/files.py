"""Files and folders that appear complete or not at all, free space, streamed .npy files and CSV tables.

What writes raises OSError where the disk is full or failing, or the path cannot be written.
"""

import csv
import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import DTypeLike

from vae_simpsons.errors import VAEError, writing
from vae_simpsons.progress import warn

TEMPORARY = ".vae-temporary-"  # how the names of temporary files and folders begin
ABANDONED_S = 3600  # a temporary folder without a change for this long was left by a process that was killed
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # from some file systems of clusters
KINDS = {  # of outputs that are replaced, by their endings, and how such files begin
    ".png": ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ".gif": ("GIF", rb"GIF8[79]a"),
    ".webp": ("WEBP", rb"RIFF....WEBP"),
    ".html": ("HTML page", rb"\s*<!doctype html"),
}
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # from file systems that do not implement fsync


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder, which replaces `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_path(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def publish_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty temporary folder, which becomes `folder` when the block ends without an error.

    If two processes fill it at once, the first result is kept.
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
    """Yields an empty temporary folder, which becomes the output `folder` of a command, called `name` in its errors."""
    with writing(name, folder, "folder"):
        if folder.exists() and not folder.is_dir():
            raise VAEError(f"{name}: {folder} is a file. Give a new folder.")
        if folder.exists() and any(folder.iterdir()):
            raise VAEError(f"{name}: {folder} is not empty, and nothing of yours is overwritten. Give a new folder.")
        if folder.exists():
            folder.rmdir()  # Windows does not rename onto an existing folder
        with publish_folder(folder) as temporary:
            yield temporary


def check_target(name: str, path: Path, *endings: str) -> None:
    """Refuses an output `path`, called `name`, before any work: without one of `endings`, a folder, or another's file.

    A file that is no output of this kind is not overwritten.
    """
    ending = path.suffix.lower()
    if ending not in endings:
        raise VAEError(f"{name}: {path} does not end in {' or '.join(endings)}, what is written. Give such a name.")
    if path.is_dir():
        raise VAEError(f"{name}: {path} is a folder. Give the name of a file in it.")
    kind, beginning = KINDS.get(ending, ("", b""))
    if path.exists() and path.stat().st_size:
        with open(path, "rb") as file:
            if not re.match(beginning, file.read(64), re.DOTALL | re.IGNORECASE):
                raise VAEError(f"{name}: {path} exists and is no {kind}; it is not overwritten. Give another name.")


def remove_temporary(folder: Path, unchanged_for_s: float = 0) -> None:
    """Removes the temporary files and folders that killed processes left in `folder`.

    Those that have changed in the last `unchanged_for_s` seconds stay; 0 only where no other process writes.
    """
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):  # another process may be removing it too
            last_change_s = max(p.stat().st_mtime for p in (path, *path.glob("*"), *path.glob("*/*")))
            if not unchanged_for_s or time.time() - last_change_s >= unchanged_for_s:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def sync_file(file: IO) -> None:
    """Writes what was written to `file` through to the disk."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as e:
        if e.errno not in NO_SYNC:
            raise


def sync_folder(folder: Path) -> None:
    """Writes the names in `folder` through to the disk, so that a power cut does not undo a rename."""
    if os.name != "nt":  # which cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def lock_file(path: Path, before_waiting: Callable[[], object] | None = None) -> AbstractContextManager:
    """Returns a `with` block that holds the lock at `path`; on a file system without locks, it only warns, once.

    Args:
        before_waiting: called where another process holds it; None: Timeout is raised then.
    """
    lock = FileLock(path)
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        if before_waiting is None:
            raise
        before_waiting()
        return lock.acquire()
    except OSError as e:
        if e.errno not in NO_LOCKS:
            raise
        warn_of_no_locks()
        return nullcontext()


@cache
def warn_of_no_locks() -> None:
    """Warns at the first call."""
    warn("this file system has no locks: nothing keeps two processes from writing to one folder. Start one at a time.")


def link_or_copy(source: Path, target: Path) -> None:
    """Makes `target`, which must not exist, a hard link to `source`, or a copy on a file system without links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_writable(name: str, path: Path) -> None:
    """Refuses a folder, called `name`, that cannot be made or written in, naming the part of the path in the way."""
    existing = existing_part(path)
    if not existing.is_dir():
        raise VAEError(f"{name}: {existing} is a file. Give a new folder.")
    if not os.access(existing, os.W_OK):
        raise VAEError(f"{name}: cannot write in {existing}: permission denied. Give another folder.")


def existing_part(path: Path) -> Path:
    """Returns `path`, or the last of its parents that exists."""
    return next(p for p in (path, *path.absolute().parents) if p.exists())


def check_free_space(folder: Path, needed_bytes: int) -> None:
    """Refuses, with an OSError, to start writing what will not fit into `folder`, which need not exist yet."""
    free_bytes = shutil.disk_usage(existing_part(folder)).free
    if free_bytes < needed_bytes:
        raise OSError(f"it takes {format_bytes(needed_bytes)}, and {format_bytes(free_bytes)} are free")


def format_bytes(count: float) -> str:
    """Returns a number of bytes in words: 186 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


@contextmanager
def npy_writer(path: Path, shape: Sequence[int], dtype: DTypeLike) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that appends rows to a .npy file of an array of `shape`, or with as many rows as came.

    Nothing is mapped into memory: on a disk that fills up, writing to a map ends the process with a signal.
    """
    rows = 0

    def write_header(rows: int) -> None:  # always as long: numpy leaves space in it
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (rows, *shape[1:])}
        np.lib.format.write_array_header_1_0(file, header)

    def append(block: np.ndarray) -> None:
        nonlocal rows
        file.write(np.ascontiguousarray(block, dtype).data)
        rows += len(block)

    with open(path, "wb") as file:
        write_header(shape[0])
        yield append
        file.seek(0)
        write_header(rows)
        sync_file(file)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Writes a table as CSV in UTF-8; file names that are no valid Unicode keep their bytes."""
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows(chain([columns], rows))


def read_csv(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a table that `write_csv` wrote, by column; csv.Error where it is none."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def _temporary_path(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")
