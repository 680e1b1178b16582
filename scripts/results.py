"""The README's table of results, from run folders: python scripts/results.py RUN [RUN ...]

Each row is what the folder itself says: figures of the last and the best epoch, hardware, versions, commit.
"""

import argparse
import json
from pathlib import Path

from vae_simpsons.configfile import from_flat, read_yaml
from vae_simpsons.progress import format_duration
from vae_simpsons.training.callbacks import read_table
from vae_simpsons.training.runfolder import RunFolder

COLUMNS = ("run", "images", "epochs", "val mse", "val KL (nats)", "val ELBO (nats)", "residual sigma", "time", "on")


def row(folder: RunFolder) -> dict[str, str]:
    """The table's cells for one run."""
    config, environment = from_flat(read_yaml(folder.config)), json.loads(folder.environment.read_text())
    table = read_table(folder.metrics)
    last = table[-1]
    versions = environment["versions"]
    size = config.data.image_size
    return {
        "run": folder.path.name,
        "images": f"{Path(config.data.path).name} {size}x{size}, {config.data.split}",
        "epochs": f"{last['epoch']} of {config.trainer.max_epochs}",
        "val mse": f"{float(last['val/mse']):.4f}",
        "val KL (nats)": f"{float(last['val/kl']):.1f}" if "val/kl" in last else "-",
        "val ELBO (nats)": f"{float(last['val/elbo']):.1f}" if "val/elbo" in last else "-",
        "residual sigma": f"{float(last['sigma/residual']):.3f}",
        "time": format_duration(sum(float(r["time_s"]) for r in table)),
        "on": f"{environment['device']}, torch {versions['torch']}, {(environment['commit'] or 'no commit')[:8]}",
    }


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder")
    rows = [row(RunFolder(path)) for path in parser.parse_args().runs]
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    for cells in rows:
        print("| " + " | ".join(cells[name] for name in COLUMNS) + " |")


if __name__ == "__main__":
    main()
