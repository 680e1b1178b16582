"""Where data that can be made again is kept, and how a folder of it comes to be whole or not at all."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Data

UNFINISHED = ".vae-unfinished-"  # how the name of a folder begins that is being filled
ABANDONED_S = 3600  # without a change for this long, it was left by a process that was killed


def cache_folder(data: Data) -> Path:
    """`data.cache_dir`, or where this user's programs keep what can be made again."""
    if data.cache_dir:
        return Path(data.cache_dir).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vae-simpsons"


@contextmanager
def publishing(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `folder` in one step when the block ends without an error.

    A killed process leaves nothing at `folder`. Of two that fill it at once, the first one's stays, and the other's
    is thrown away.

    Raises:
        OSError: the system will not write there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder.parent, ignore_cleanup_errors=True) as beside:
        filled = Path(beside, folder.name)
        filled.mkdir()
        yield filled
        try:
            filled.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise


@contextmanager
def alone(cache: Path, name: str, progress: Progress) -> Iterator[None]:
    """Wait until no other process makes what is called `name` in `cache`, and keep others waiting during the block.

    Raises:
        OSError: the system will not write there.
    """
    locks = cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        progress("another process makes this; waiting", 0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what will not fit.

    Args:
        folder: where it is to go; need not be there yet.
        needed: bytes.

    Raises:
        OSError: the disk has less room than that.
    """
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise OSError(f"it takes {in_bytes(needed)}, and {in_bytes(free)} are free")


def cannot_keep(folder: Path, error: OSError) -> VAEError:
    """The error for a cache that cannot be written."""
    return VAEError(
        f"data.cache_dir: cannot write {folder}: {one_line(error.strerror or error)}. "
        "Give a folder on a disk with room with --data.cache_dir DIR."
    )


def in_bytes(count: float) -> str:
    """A number of bytes for people: 186 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _sweep(parent: Path) -> None:
    """Remove what killed processes left unfinished below `parent`."""
    for left in parent.glob(f"{UNFINISHED}*"):
        with suppress(OSError):  # another process sweeps too
            newest = max(p.stat().st_mtime for p in (left, *left.glob("*"), *left.glob("*/*")))
            if time.time() - newest > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
