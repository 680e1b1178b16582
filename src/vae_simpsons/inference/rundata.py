"""The pictures of a run, found again from its checkpoint."""

from dataclasses import replace
from pathlib import Path

from vae_simpsons.checkpoint import Checkpoint
from vae_simpsons.configfile import from_flat
from vae_simpsons.data.dataset import Dataset, load_dataset, source_of
from vae_simpsons.data.pack import open_pack
from vae_simpsons.data.split import MANIFEST, draw_split, read_manifest
from vae_simpsons.errors import VAEError
from vae_simpsons.files import read_csv
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
    settings = replace(checkpoint.settings, data=moved_data(checkpoint.settings, source, cache_dir))
    manifest = checkpoint.path.parent / MANIFEST
    return load_dataset(settings, 1, progress, manifest if manifest.is_file() else None)


def images_of_run(settings: Settings, manifest: Path, progress: Progress) -> tuple[Dataset, str]:
    """Returns the images that `settings` select, as the run split them, and in words where the split is from.

    Args:
        manifest: where the run's split.csv is, if there is one.

    Raises:
        VAEError: no folder, no images, too many unreadable, none for one side; some of the run's are gone.
    """
    source = source_of(settings.data, progress)
    pack = open_pack(source, settings.data, progress)
    if manifest.is_file() and _names_most(manifest, pack.index.paths):
        return Dataset(source, pack, read_manifest(manifest, pack.index)), "the run's split.csv"
    drawn = f"drawn by data.split {settings.data.split} with seed {settings.seed}"
    why = "the run's split.csv is of other images" if manifest.is_file() else "no split.csv at the checkpoint"
    return Dataset(source, pack, draw_split(pack.index, settings.data, settings.seed)), f"{drawn}: {why}"


def _names_most(manifest: Path, paths: list[str]) -> bool:
    """Whether half of the images that the split names are there: if so, they are the run's own."""
    named = {row.get("path", "") for row in read_csv(manifest)}
    return 2 * len(named.intersection(paths)) >= len(named)
