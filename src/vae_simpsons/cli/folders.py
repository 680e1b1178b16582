"""The folder that a verb fills: a new one, or an empty one."""

import shutil
from pathlib import Path

from vae_simpsons.errors import VAEError, cannot_write


def make_way(setting: str, folder: Path) -> None:
    """See to it that `folder` is not there, so that it can be put there whole.

    Args:
        setting: what the user calls it, for errors.

    Raises:
        VAEError: it is a file, or has something in it.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise VAEError(f"{setting}: {folder} is a file. Give a new folder.")
    if any(folder.iterdir()):
        raise VAEError(f"{setting}: {folder} is not empty, and nothing of yours is overwritten. Give a new folder.")
    try:
        shutil.rmtree(folder)
    except OSError as e:
        raise cannot_write(setting, folder, e) from None
