"""An evaluation as text, and as JSON: all but its pictures."""

import json
import math
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vae_simpsons.evaluation.figures import Figure, value_and_error
from vae_simpsons.evaluation.result import Evaluation

FORMAT_VERSION = 1
WIDTH = 110  # columns
NAME = 40


def format_table(evaluation: Evaluation) -> str:
    """Returns the figures group by group, each with error, N, split, reference and definition, then what they mean."""
    lines: list[str] = []
    for group, figures in evaluation.groups.items():
        lines += ["", group]
        for figure in figures:
            lines += [_row(figure), f"      {figure.definition}"]
    if evaluation.missing:
        lines += ["", "not measured"]
        for reason in evaluation.missing:
            lines += _wrapped(reason)
    if evaluation.sentences:
        lines += ["", "what it means"]
        for sentence in evaluation.sentences:
            lines += _wrapped(sentence)
    return "\n".join(lines[1:])


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


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Writes `to_json` of an evaluation.

    Raises:
        OSError: it cannot be written.
    """
    path.write_text(json.dumps(to_json(evaluation), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _row(figure: Figure) -> str:
    over = f"N {figure.count:,} {figure.split}"
    reference = "" if figure.reference is None else f"{figure.reference_is} {figure.reference:.4g}"
    return f"  {figure.name:<{NAME}}{value_and_error(figure):<22}{over:<27}{reference}".rstrip()


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)


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
