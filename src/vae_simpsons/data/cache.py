"""The cache folder, and how one process at a time fills a folder in it."""

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import lock_file, publish_folder
from vae_simpsons.paths import expand_home
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Data

Found = TypeVar("Found")


def cache_folder(data: Data) -> Path:
    """Returns `data.cache_dir`, or the cache folder of this user."""
    if data.cache_dir:
        return Path(data.cache_dir)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(expand_home("data.cache_dir", base)) / "vae-simpsons"
    except VAEError:
        raise VAEError(
            "data.cache_dir: this user has no home folder. Give a folder with --data.cache_dir DIR."
        ) from None


def make_cached(
    cache: Path, folder: Path, read: Callable[[], Found | None], fill: Callable[[Path], object], progress: Progress
) -> Found:
    """Returns what `read` makes of `folder` in `cache`, which one process fills first if need be; others wait for it.

    Args:
        read: returns something false if `folder` is not there, or is damaged.
        fill: is called with an empty temporary folder, which then becomes `folder`.

    Raises:
        VAEError: the cache cannot be written.
    """
    if found := read():
        return found
    try:
        (cache / "locks").mkdir(parents=True, exist_ok=True)
        waiting = partial(progress, "waiting for another process that makes this", 0)
        with lock_file(cache / "locks" / f"{folder.name}.lock", waiting):
            if found := read():  # another process has made it in the meantime
                return found
            shutil.rmtree(folder, ignore_errors=True)
            with publish_folder(folder) as temporary:
                fill(temporary)
            found = read()
            assert found, "what was just filled is complete"
            return found
    except OSError as e:
        raise cannot_write_cache(folder.parent, e) from None


def cannot_write_cache(folder: Path, error: OSError) -> VAEError:
    """Returns the error for a cache that cannot be written."""
    return VAEError(
        f"data.cache_dir: cannot write {folder}: {one_line(error.strerror or error)}. "
        "Give a folder on a disk with room with --data.cache_dir DIR."
    )
