"""The figures that a run leaves."""

import csv
from pathlib import Path


def read_curve(run: Path) -> list[dict[str, float]]:
    """The main figures of each epoch of a run; nothing where it has no table yet."""
    if not (run / "metrics.csv").exists():
        return []
    with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
        wanted = ("epoch", "train/loss", "val/loss", "val/mse", "val/kl", "time_s")
        return [{key: float(row[key]) for key in wanted if key in row} for row in csv.DictReader(file)]


def final_figures(run: Path) -> dict[str, float] | None:
    """The last epoch's."""
    curve = read_curve(run)
    return curve[-1] if curve else None
