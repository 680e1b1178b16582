"""The pictures of a run, found again from its checkpoint."""

import dataclasses
from pathlib import Path

from vae_simpsons.checkpoint import Checkpoint
from vae_simpsons.configfile import from_flat
from vae_simpsons.data.dataset import Dataset, load_dataset
from vae_simpsons.data.split import MANIFEST
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Data, Settings, to_flat


def moved_data(settings: Settings, source: str | Path | None, cache_dir: str | Path | None) -> Data:
    """Returns the settings of a run's data, with another source or another cache where they are given.

    Raises:
        VAEError: an empty name.
    """
    changes = {"data.path": source, "data.cache_dir": cache_dir}
    given = {key: str(value) for key, value in changes.items() if value is not None}
    return from_flat(to_flat(settings) | given).data


def open_dataset(
    checkpoint: Checkpoint, source: str | Path | None, cache_dir: str | None, progress: Progress
) -> Dataset:
    """Returns the images of a run and which of them trained, by the list beside the checkpoint, or drawn as it was.

    Args:
        source: where they are now; None: where the run found them.

    Raises:
        VAEError: they are not there; an export, which does not say where they are, without `source`.
    """
    if source is None and checkpoint.position is None:
        raise VAEError("data.path: an exported model does not say where its pictures are. Give --data.path PATH.")
    settings = dataclasses.replace(checkpoint.settings, data=moved_data(checkpoint.settings, source, cache_dir))
    manifest = checkpoint.path.parent / MANIFEST
    return load_dataset(settings, 1, progress, manifest if manifest.is_file() else None)
