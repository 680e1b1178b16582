"""The folder that an evaluation is written to: evaluation.json and report.html."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vae_simpsons.errors import VAEError, writing
from vae_simpsons.evaluation.report import write_report
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.files import atomic_path, check_writable

FORMAT_VERSION = 1  # of evaluation.json
FOLDER, FIGURES, REPORT = "evaluation", "evaluation.json", "report.html"


def check_target(folder: Path) -> None:
    """Refuses, before anything is measured, a folder that must not or cannot be written to.

    An earlier evaluation is replaced, nothing else is.

    Raises:
        VAEError: out: a file, a folder with other things in it, or one that cannot be written.
    """
    check_writable("out", folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / FIGURES).is_file():
        raise VAEError(
            f"out: {folder} is not empty and holds no earlier evaluation, which alone is replaced. Give a new folder."
        )


def write_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Writes evaluation.json and report.html into `folder` and returns their paths; both appear complete, or neither.

    Raises:
        VAEError: out: it cannot be written.
    """
    with (
        writing("out", folder, "folder"),
        atomic_path(folder / FIGURES) as figures,
        atomic_path(folder / REPORT) as report,
    ):
        figures.write_text(json.dumps(to_json(evaluation), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        write_report(evaluation, report)
    return [folder / FIGURES, folder / REPORT]


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Returns the evaluation without its pictures, as what JSON can hold; NaN and infinity are null."""
    information = evaluation.factors
    return _plain(
        {
            "format_version": FORMAT_VERSION,
            "run": evaluation.run,
            "groups": {name: [asdict(f) for f in figures] for name, figures in evaluation.groups.items()},
            "missing": evaluation.missing,
            "sentences": evaluation.sentences,
            "kl_per_dimension": evaluation.kl_per_dimension,
            "factors": None if information is None else information._asdict(),
        }
    )


def _plain(value: Any) -> Any:
    """Returns `value` as dicts, lists, texts, whole and finite numbers, true, false and null."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (int, str, bool, type(None))) else str(value)
