"""Finished runs, read from their folders: settings, curves, figures and pictures."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_simpsons.configfile import from_flat, read_yaml
from vae_simpsons.errors import VAEError, renamed
from vae_simpsons.evaluation.curves import read_curves
from vae_simpsons.settings import to_flat

CONFIG, CURVES, ENVIRONMENT, LAST = "config.yaml", "metrics.csv", "environment.json", "last.ckpt"
PICTURES, EVALUATION = "pictures", Path("evaluation", "evaluation.json")
MOST_BYTES = 2**24  # of a JSON file; an evaluation has some ten thousand


@dataclass(frozen=True)
class FinishedRun:
    """What a run has left in its folder."""

    folder: Path
    name: str  # its folder's, with as much of the path as tells it from the others
    settings: dict[str, Any]  # by dotted name
    curves: list[dict[str, str]]  # rows of metrics.csv
    figures: dict[str, dict[str, Any]]  # of evaluation.json, by "group: name"
    environment: dict[str, Any]
    pictures: dict[str, dict[int, Path]]  # of each kind, by epoch


def read_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """Returns the runs in `folders`.

    Raises:
        VAEError: RUN: not the folder of a run, or one that was named twice.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder in resolved:
        if resolved.count(folder) > 1:
            raise VAEError(f"RUN: {folder} is named twice. Give runs that differ.")
    return [_read_run(folder, name) for folder, name in zip(folders, _names(resolved), strict=True)]


def _read_run(folder: Path, name: str) -> FinishedRun:
    if not folder.exists():
        raise VAEError(f"RUN: no such folder: {folder}. Give the folders of runs, say runs/toons/*.")
    if not folder.is_dir():
        raise VAEError(f"RUN: {folder} is a file. Give the run's folder, {folder.parent}.")
    if not (folder / CONFIG).is_file():
        raise VAEError(f"RUN: {folder} is no run folder: it has no {CONFIG}. Give a folder that vae train made.")
    with renamed(path="RUN"):
        settings = to_flat(from_flat(read_yaml(folder / CONFIG)))
    return FinishedRun(
        folder=folder,
        name=name,
        settings=settings,
        curves=read_curves(folder / CURVES),
        figures=_evaluated(read_json(folder / EVALUATION)),
        environment=read_json(folder / ENVIRONMENT),
        pictures=_pictures(folder / PICTURES),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one where there is none, or it cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return {}
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _names(folders: Sequence[Path]) -> list[str]:
    """Returns the last parts of each path, as many as make them all different."""
    parts = 1
    while len({folder.parts[-parts:] for folder in folders}) < len(folders):
        parts += 1
    return [Path(*folder.parts[-parts:]).as_posix() for folder in folders]


def _evaluated(tree: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the figures of an evaluation.json, those that are whole."""
    groups = tree.get("groups")
    found = {}
    for group, figures in groups.items() if isinstance(groups, dict) else ():
        for figure in figures if isinstance(figures, list) else ():
            if isinstance(figure, dict) and isinstance(figure.get("value"), (int, float)) and "name" in figure:
                found[f"{group}: {figure['name']}"] = figure
    return found


def _pictures(folder: Path) -> dict[str, dict[int, Path]]:
    """Returns the pictures of each kind by epoch, ascending: samples_0003.png is of epoch 3."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob("*.png")):
        if match := re.fullmatch(r"([a-z]+)_(\d{4,9})", path.stem):
            found.setdefault(match[1], {})[int(match[2])] = path
    return {kind: dict(sorted(by_epoch.items())) for kind, by_epoch in found.items()}
