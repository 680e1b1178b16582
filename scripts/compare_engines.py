"""Whether fast training learns what the plain loop learns: python scripts/compare_engines.py [--device cpu|cuda]

A few epochs on toons: the plain loop in float32 with several seeds, whose spread is the noise, then each other engine
and precision of the device with the first seed. Each curve is held against the plain loop's of the same seed; what is
far beyond the spread between seeds is not the same mathematics. Flags that it does not know are handed to `vae train`.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

SEEDS = (1265, 1, 2)
WAYS = {
    "cpu": [("compile", "32-true"), ("eager", "bf16-mixed")],
    "cuda": [("graph", "32-true"), ("graph", "tf32"), ("graph", "bf16-mixed"), ("compile", "32-true")],
}


def curve(folder: Path, seed: int, engine: str, precision: str, given: list[str]) -> list[float]:
    """val/loss of each epoch."""
    settings = {"seed": seed, "trainer.engine": engine, "trainer.precision": precision, "out": folder}
    command = [sys.executable, "-m", "vae_simpsons", "train", *(f"--{k}={v}" for k, v in settings.items()), *given]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    with open(folder / "metrics.csv", newline="") as file:
        return [float(row["val/loss"]) for row in csv.DictReader(file)]


def main() -> None:
    """Train and print a row a way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=WAYS, default="cpu")
    parser.add_argument("--epochs", type=int, default=5)
    options, given = parser.parse_known_args()
    # sorted: the seed draws weights, order and noise, and leaves the split as it is
    given = [f"--trainer.accelerator={options.device}", f"--trainer.max_epochs={options.epochs}", *given]
    given = ["--data.path=toons", "--data.split=sorted", *given]
    ways = [(seed, "eager", "32-true") for seed in SEEDS] + [(SEEDS[0], *way) for way in WAYS[options.device]]
    epochs = " | ".join(f"epoch {i + 1}" for i in range(options.epochs))
    print(f"| way | {epochs} | largest difference |\n| --- |{' --- |' * (options.epochs + 1)}")
    plain: list[float] = []
    for number, (seed, engine, precision) in enumerate(ways):
        with tempfile.TemporaryDirectory() as place:
            losses = curve(Path(place, "run"), seed, engine, precision, given)
        plain = plain or losses
        difference = max(abs(a - b) / b for a, b in zip(losses, plain, strict=True)) if number else 0.0
        shown = " | ".join(f"{loss:.4f}" for loss in losses)
        print(f"| {engine}, {precision}, seed {seed} | {shown} | {difference:.1%} |", flush=True)


if __name__ == "__main__":
    main()
