"""An evaluation as text, and as JSON: all but its pictures."""

import json
import math
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.evaluation.disentanglement import Information
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.result import Evaluation

FORMAT_VERSION = 1
WIDTH = 110  # columns
NAME = 40
ROUNDING = 1e-9  # of a value: a smaller error is none, all images have the same value


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


def value_and_error(figure: Figure) -> str:
    """Returns a value to the second digit of its error, 0.0554 ± 0.0012; to four digits where it has none."""
    value, error = figure.value, figure.error
    if error is None or not math.isfinite(error) or not math.isfinite(value) or error <= ROUNDING * abs(value):
        return f"{value:.4g}"
    decimals = 1 - math.floor(math.log10(abs(error)))
    if not 0 <= decimals <= 6:
        return f"{value:.4g} ± {error:.2g}"
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


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


def from_json(tree: dict[str, Any]) -> Evaluation:
    """Returns the evaluation, without pictures, of what `to_json` returned; a figure without a value is NaN."""
    information = tree["factors"]
    return Evaluation(
        run=tree["run"],
        groups={name: [_figure(f) for f in figures] for name, figures in tree["groups"].items()},
        missing=tree["missing"],
        sentences=tree["sentences"],
        kl_per_dimension=tree["kl_per_dimension"],
        factors=information and Information(
            information["names"], np.array(information["matrix"]), np.array(information["entropies"])
        ),
    )  # fmt: skip


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Writes `to_json` of an evaluation.

    Raises:
        OSError: it cannot be written.
    """
    path.write_text(json.dumps(to_json(evaluation), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Evaluation:
    """Returns the evaluation in an evaluation.json, without its pictures.

    Raises:
        VAEError: no such file, or something else in it.
    """
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise VAEError(f"path: {path} is no evaluation: {one_line(e)}. Give one that vae evaluate wrote.") from None


def _figure(tree: dict[str, Any]) -> Figure:
    return Figure(**tree | {"value": math.nan if tree["value"] is None else tree["value"]})


def _row(figure: Figure) -> str:
    value = value_and_error(figure)
    over = f"N {figure.count:,} {figure.split}"
    reference = "" if figure.reference is None else f"{figure.reference_is} {figure.reference:.4g}"
    return f"  {figure.name:<{NAME}}{value:<22}{over:<27}{reference}".rstrip()


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
