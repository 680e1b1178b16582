"""Prints the README's table of results from run folders: python scripts/results.py RUN [RUN ...]

Everything in a row comes from the run folder: figures of the last epoch, hardware, versions, commit.
"""

import argparse
import json
from pathlib import Path

from vae_simpsons.configfile import from_flat, read_yaml
from vae_simpsons.progress import format_duration
from vae_simpsons.training.runfolder import RunFolder
from vae_simpsons.training.table import read_table


def table_row(folder: RunFolder) -> dict[str, str]:
    """Returns the cells for one run, by column."""
    settings = from_flat(read_yaml(folder.config))
    environment = json.loads(folder.environment.read_text(encoding="utf-8"))
    rows = read_table(folder.metrics)
    last, size = rows[-1], settings.data.image_size
    return {
        "run": folder.path.name,
        "images": f"{Path(settings.data.path).name} {size}x{size}, {settings.data.split}",
        "epochs": f"{last['epoch']} of {settings.trainer.max_epochs}",
        "val mse": f"{float(last['val/mse']):.4f}",
        "val KL (nats)": f"{float(last['val/kl']):.1f}" if "val/kl" in last else "-",
        "val ELBO (nats)": f"{float(last['val/elbo']):.1f}" if "val/elbo" in last else "-",
        "residual sigma": f"{float(last['sigma/residual']):.3f}",
        "time": format_duration(sum(float(row["time_s"]) for row in rows)),
        "on": f"{environment['device']}, torch {environment['versions']['torch']}, "
        f"{(environment['commit'] or 'no commit')[:8]}",
    }


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder")
    rows = [table_row(RunFolder(path)) for path in parser.parse_args().runs]
    for cells in (rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
