"""What each step from fog to pictures gives: python scripts/ablation.py --out DIR [--rows NAME,NAME] [--table FILE]

Trains one row after the other on toons and measures each with `vae evaluate`, all on the same held-out images. A row
that has been measured is not trained again, and one that was interrupted is resumed. The epochs are such that each row
takes about as long as the others on the same cores. With --table the rows that are there are written as Markdown.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
VAE = [sys.executable, "-m", "vae_simpsons"]
SAMPLES = 1000  # of each row


class Row(NamedTuple):
    """A row of the table: its name, what it is in words, and its command, with {out} for the folder of all rows."""

    name: str
    words: str
    command: list[str]


def train(name: str, words: str, **settings: object) -> Row:
    """Returns a row that trains configs/toons.yaml with other settings, written section__name=value."""
    flags = [part for key, value in settings.items() for part in (f"--{key.replace('__', '.')}", str(value))]
    return Row(name, words, ["train", "--config", "configs/toons.yaml", *flags])


def fit(name: str, words: str, model: str, *flags: str) -> Row:
    """Returns a row that gives the model of another row a prior."""
    return Row(name, words, ["fit-prior", "--ckpt", f"{{out}}/{model}/last.ckpt", *flags])


# The recipe's network and optimizer as configs/toons.yaml had them before there was anything else, for longer.
RECIPE: dict[str, object] = {
    "model__latent": "vector", "model__latent_dim": 64, "model__widths": "[16, 32, 64, 128, 256]",
    "objective__sigma": "null", "objective__beta": 1.0, "objective__kld_weight": 0.0001,
    "optimizer__kind": "adam", "optimizer__lr": 0.003, "optimizer__beta2": 0.999, "optimizer__warmup_steps": 0,
    "optimizer__schedule": "exponential", "optimizer__lr_decay": 0.94, "optimizer__ema": "null",
    "trainer__gradient_clip_val": "null", "prior__kind": "normal", "prior__labels": "false",
}  # fmt: skip
OPTIMAL = RECIPE | {"objective__sigma": "optimal", "objective__beta": 1.0}
AVERAGED = OPTIMAL | {"optimizer__ema": 0.999, "optimizer__schedule": "cosine"}
NO_PRIOR = {"prior__kind": "normal", "prior__labels": "false"}
GAUSSIAN = ("--prior.kind", "gaussian")


def rows(vector_epochs: int, spatial_epochs: int, short_epochs: int, prior_epochs: int) -> list[Row]:
    """Returns the rows, in the order of the table.

    Args:
        vector_epochs: of the rows with the recipe's network.
        spatial_epochs: of the factor-8 network alone; `short_epochs`, where a flow of `prior_epochs` follows.
    """
    return [
        train("recipe", "the recipe: a vector of 64, kld_weight 0.0001", **RECIPE, trainer__max_epochs=vector_epochs),
        train("sigma", "+ `objective.sigma optimal`", **OPTIMAL, trainer__max_epochs=vector_epochs),
        fit("sigma-gaussian", "+ a Gaussian as the prior", "sigma", *GAUSSIAN),
        train("average", "+ averaged weights, cosine", **AVERAGED, trainer__max_epochs=vector_epochs),
        fit("average-gaussian", "+ a Gaussian as the prior", "average", *GAUSSIAN),
        train("f8", "a map of 8x8x8, factor 8, N(0, I)", **NO_PRIOR, trainer__max_epochs=spatial_epochs),
        fit("f8-gaussian", "+ a Gaussian as the prior", "f8", *GAUSSIAN),
        train("f8-flow", "factor 8 for half the time, then a flow, as in `configs/toons.yaml`",
              trainer__max_epochs=short_epochs, prior__epochs=prior_epochs),
        train("f4", "a map of 16x16x4, factor 4, N(0, I)", **NO_PRIOR, model__factor=4, model__latent_channels=4,
              trainer__max_epochs=short_epochs),
    ]  # fmt: skip


def run_row(row: Row, out: Path) -> None:
    """Trains and measures a row in its folder, as far as that is not done."""
    folder, last = out / row.name, out / row.name / "last.ckpt"
    if (folder / "evaluation" / "evaluation.json").exists():
        return
    command = [part.format(out=out) for part in row.command] + ["--out", str(folder)]
    if last.exists() and row.command[0] == "train":
        command = ["train", "--resume", str(folder)]
    print(" ".join(["vae", *command]), flush=True)
    with open(out / f"{row.name}.log", "a", encoding="utf-8") as log:
        if not is_trained(folder):
            subprocess.run([*VAE, *command], cwd=ROOT, stdout=log, stderr=log, check=True)
        measure = ["evaluate", "--ckpt", str(last), "--samples", str(SAMPLES), "--out", str(folder / "evaluation")]
        subprocess.run([*VAE, *measure], cwd=ROOT, stdout=log, stderr=log, check=True)


def is_trained(folder: Path) -> bool:
    """Whether the run in a folder needs no more training: its last picture or its prior is there."""
    from vae_simpsons.checkpoint import read_checkpoint
    from vae_simpsons.training.resuming import is_done, lacks_prior

    last = folder / "last.ckpt"
    if not last.exists():
        return False
    checkpoint = read_checkpoint(last)
    return is_done(checkpoint, checkpoint.settings) and not lacks_prior(checkpoint, checkpoint.settings)


COLUMNS = {  # of the table: group and figure of the evaluation
    "mse": ("reconstruction", "mse"),
    "KD recon.": ("reconstruction", "KD-EffNetLite0 of reconstructions"),
    "KD samples": ("samples", "KD-EffNetLite0"),
    "coverage": ("samples", "coverage"),
    "sharpness recon.": ("reconstruction", "sharpness of reconstructions"),
    "sharpness samples": ("samples", "sharpness of samples"),
}


def table(chosen: list[Row], out: Path) -> str:
    """Returns the rows that have been measured, as Markdown."""
    lines = ["| | minutes | images | " + " | ".join(COLUMNS) + " |", "| --- " * (len(COLUMNS) + 3) + "|"]
    for row in chosen:
        found = out / row.name / "evaluation" / "evaluation.json"
        if found.exists():
            groups = json.loads(found.read_text(encoding="utf-8"))["groups"]
            minutes, images = effort(out / row.name)
            cost = [f"{minutes:.1f}", f"{images:,}"] if images else ["seconds more", ""]
            cells = [row.words, *cost, *(cell(groups, *place) for place in COLUMNS.values())]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(groups: dict[str, list[dict[str, Any]]], group: str, name: str) -> str:
    """Returns a figure as text; sharpness as a share of the images' own."""
    figure = next((f for f in groups.get(group, []) if f["name"] == name), None)
    if figure is None:
        return "-"
    return f"{figure['value'] / figure['reference']:.2f}" if "sharpness" in name else f"{figure['value']:.3g}"


def effort(folder: Path) -> tuple[float, int]:
    """Returns the minutes of all epochs of a run, and how many images they went through."""
    seconds, images = 0.0, 0
    sides = list(csv.DictReader(open(folder / "split.csv", newline="", encoding="utf-8")))
    train_images = sum(side["side"] == "train" for side in sides)
    for path in (folder / "metrics.csv", folder / "prior_metrics.csv"):
        if path.exists():
            epochs = list(csv.DictReader(open(path, newline="", encoding="utf-8")))
            seconds += sum(float(epoch["time_s"]) for epoch in epochs)
            images += len(epochs) * train_images
    return seconds / 60, images


def main() -> None:
    """Runs the rows that are asked for and writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder for each row")
    parser.add_argument("--rows", metavar="NAME,NAME", help="these alone, in this order")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table of all rows that are there")
    parser.add_argument("--epochs", type=int, nargs=4, default=(40, 12, 6, 11), metavar="INT",
                        help="of the vector, the map, the map before a flow, the flow")  # fmt: skip
    options = parser.parse_args()
    every = rows(*options.epochs)
    wanted = options.rows.split(",") if options.rows else [row.name for row in every]
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for row in (row for row in every if row.name in wanted):
        run_row(row, out)
    if options.table:
        options.table.write_text(table(every, out), encoding="utf-8")


if __name__ == "__main__":
    main()
