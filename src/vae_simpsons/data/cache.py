"""The cache folder, and how one process at a time fills a folder in it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import publish_folder
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Data


def cache_folder(data: Data) -> Path:
    """Returns `data.cache_dir`, or the cache folder of this user."""
    if data.cache_dir:
        return Path(data.cache_dir).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "vae-simpsons"


def make_cached(
    cache: Path, folder: Path, is_complete: Callable[[], bool], fill: Callable[[Path], object], progress: Progress
) -> None:
    """Makes `folder` in `cache` unless it is complete, in one process; others wait for it.

    Args:
        is_complete: whether `folder` is there and undamaged.
        fill: is called with an empty temporary folder, which then becomes `folder`.

    Raises:
        VAEError: the cache cannot be written.
    """
    if is_complete():
        return
    try:
        with _locked(cache, folder.name, progress):
            if is_complete():  # another process has made it in the meantime
                return
            shutil.rmtree(folder, ignore_errors=True)
            with publish_folder(folder) as temporary:
                fill(temporary)
    except OSError as e:
        raise cannot_write_cache(folder.parent, e) from None


def cannot_write_cache(folder: Path, error: OSError) -> VAEError:
    """Returns the error for a cache that cannot be written."""
    return VAEError(
        f"data.cache_dir: cannot write {folder}: {one_line(error.strerror or error)}. "
        "Give a folder on a disk with room with --data.cache_dir DIR."
    )


@contextmanager
def _locked(cache: Path, name: str, progress: Progress) -> Iterator[None]:
    """Holds the lock called `name` in `cache` during the block, after waiting for other processes."""
    locks = cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        progress("waiting for another process that makes this", 0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
