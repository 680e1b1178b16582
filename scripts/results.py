"""Prints the README's tables of results from run folders: python scripts/results.py RUN [RUN ...]

Everything comes from the run folder: figures of the last epoch, hardware, versions, commit; and the second table from
what `vae evaluate` left there.
"""

import argparse
import json
from pathlib import Path

from vae_simpsons.configfile import from_flat, read_yaml
from vae_simpsons.files import read_csv
from vae_simpsons.progress import format_duration
from vae_simpsons.training.runfolder import RunFolder


def table_row(folder: RunFolder) -> dict[str, str]:
    """Returns the cells for one run, by column."""
    settings = from_flat(read_yaml(folder.config))
    environment = json.loads(folder.environment.read_text(encoding="utf-8"))
    rows = read_csv(folder.metrics)
    last, size = rows[-1], "x".join(map(str, settings.data.size))
    flow = read_csv(folder.table("prior")) if folder.table("prior").exists() else []
    then = f", then {flow[-1]['epoch']} of {settings.prior.epochs} of a flow" if flow else ""
    return {
        "run": folder.path.name,
        "images": f"{Path(settings.data.path).name} {size}, {settings.data.split}",
        "epochs": f"{last['epoch']} of {settings.trainer.max_epochs}{then}",
        "val mse": f"{float(last['val/mse']):.4f}",
        "val KL (nats)": f"{float(last['val/kl']):.1f}" if "val/kl" in last else "-",
        "val ELBO (nats)": f"{float(last['val/elbo']):.1f}" if "val/elbo" in last else "-",
        "residual sigma": f"{float(last['sigma/residual']):.3f}",
        "time": format_duration(sum(float(row["time_s"]) for row in [*rows, *flow])),
        "on": f"{environment['device']}, torch {environment['versions']['torch']}, "
        f"{(environment['commit'] or 'no commit')[:8]}",
    }


EVALUATED = {  # column: group, figure
    "mse": ("reconstruction", "mse"),
    "PSNR, dB": ("reconstruction", "PSNR"),
    "SSIM": ("reconstruction", "SSIM"),
    "bits/dim, implied sigma": ("likelihood", "bits per dimension, implied sigma"),
    "bits/dim, fitted sigma": ("likelihood", "bits per dimension, fitted sigma"),
    "KD of reconstructions": ("reconstruction", "KD-EffNetLite0 of reconstructions"),
    "KD of samples": ("samples", "KD-EffNetLite0"),
    "floor of KD": ("samples", "KD-EffNetLite0"),
    "coverage": ("samples", "coverage"),
    "sharpness of samples": ("samples", "sharpness of samples"),
    "of images": ("samples", "sharpness of samples"),
}


def evaluated_row(folder: RunFolder) -> dict[str, str] | None:
    """Returns the cells of the second table for one run; None where it has not been evaluated."""
    path = folder.path / "evaluation" / "evaluation.json"
    if not path.exists():
        return None
    groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
    figures = {(group, figure["name"]): figure for group, members in groups.items() for figure in members}
    cells = {"run": folder.path.name}
    for column, key in EVALUATED.items():
        part = "reference" if column in ("floor of KD", "of images") else "value"
        value = figures[key][part] if key in figures else None
        cells[column] = "-" if value is None else f"{value:.4g}"
    return cells


def print_table(rows: list[dict[str, str]]) -> None:
    """Prints a Markdown table."""
    for cells in (rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)):
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Prints the tables as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder")
    folders = [RunFolder(path) for path in parser.parse_args().runs]
    if trained := [table_row(folder) for folder in folders if folder.metrics.exists()]:  # not of vae fit-prior
        print_table(trained)
    if evaluated := [row for folder in folders if (row := evaluated_row(folder))]:
        print()
        print_table(evaluated)


if __name__ == "__main__":
    main()
