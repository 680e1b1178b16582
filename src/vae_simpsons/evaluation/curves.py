"""The rows of a run's metrics.csv as charts: train and validation of the same figure in one."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from vae_simpsons.evaluation.charts import Line, line_chart
from vae_simpsons.files import read_csv

Rows = Sequence[Mapping[str, str]]

NOT_FIGURES = ("epoch", "step", "time_s")
MEANINGS = {
    "loss": "what is minimised",
    "mse": "squared error of a pixel",
    "kl": "nats an image",
    "elbo": "nats an image, more is better",
    "active_units": "latent dimensions",
    "sigma": "noise of a pixel, left and assumed",
    "lr": "learning rate",
}
SIDES = {"train": 1, "val": 0}  # colour of each


def read_curves(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a metrics.csv; none where there is no such file, or it is no table."""
    try:
        return [row for row in read_csv(path) if _value(row, "epoch") is not None]
    except (OSError, csv.Error):
        return []


def grouped(columns: Iterable[str]) -> dict[str, list[str]]:
    """Returns which columns belong into one chart, by its name: kl: train/kl, val/kl; sigma: sigma/residual, ..."""
    charts: dict[str, list[str]] = {}
    for column in columns:
        if column in NOT_FIGURES:
            continue
        side, _, name = column.rpartition("/")
        charts.setdefault(side if side == "sigma" else name, []).append(column)
    return charts


def points(rows: Rows, column: str) -> list[tuple[float, float]]:
    """Returns (epoch, value) of each row that has one."""
    pairs = ((_value(row, "epoch"), _value(row, column)) for row in rows)
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def curve_charts(rows: Rows) -> str:
    """Returns a chart of each figure of one run, side by side."""
    charts = []
    for name, columns in grouped(rows[0]).items():
        lines = []
        for i, column in enumerate(columns):
            side, _, figure = column.rpartition("/")
            label = figure if side == "sigma" else side
            colour = SIDES.get(side, i)
            lines.append(Line(label if len(columns) > 1 else "", points(rows, column), colour, side == "train"))
        charts.append(chart_figure(name, line_chart(name, lines)))
    return chart_grid(charts)


def chart_figure(name: str, chart: str) -> str:
    """Returns a chart under its name and what the figure means; nothing where it has no points."""
    meaning = MEANINGS.get(name, "")
    words = escape(name.replace("_", " ")) + (f" <small>{meaning}</small>" if meaning else "")
    return f"<figure><figcaption>{words}</figcaption>{chart}</figure>" if chart else ""


def chart_grid(charts: Iterable[str]) -> str:
    """Returns charts side by side, as many as the page is wide."""
    return f'<div class="charts">{"".join(charts)}</div>'


def _value(row: Mapping[str, str], column: str) -> float | None:
    try:
        value = float(row.get(column) or "nan")
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
