"""How training scales: python scripts/benchmark_scale.py [--device cpu|cuda] [--json FILE] [--plot FILE]

Images per second of the steps of `vae train` (its module, batches and engine in Lightning's Trainer, no validation) by
batch size, image size, number of images and number of processes. Each row is measured in its own process; pixels are
noise, since their values do not matter. --plot needs matplotlib.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from vae_simpsons.configfile import from_flat
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.index import Index
from vae_simpsons.data.pack import Pack
from vae_simpsons.data.split import Split
from vae_simpsons.memory import keep_freed_buffers
from vae_simpsons.models.cpu import use_fast_convolutions
from vae_simpsons.progress import no_progress
from vae_simpsons.training.datamodule import ImagesDataModule
from vae_simpsons.training.engine import build_module, choose_engine
from vae_simpsons.training.stages import AutoencoderStage, build_stage
from vae_simpsons.training.trainer import set_precision

STANDARD = {"batch_size": 64, "image_size": 64, "images": 16_384, "processes": 1}
SERIES = {
    "batch_size": [16, 64, 256, 1024, 4096],
    "image_size": [32, 64, 128, 256],
    "images": [4_096, 16_384, 65_536, 262_144],
    "processes": [1, 2],
}
LEAST_STEPS, IMAGES_TIMED = 6, 4_096  # of a row: enough steps for a steady rate, and no more than that takes


class Clock(pl.Callback):
    """Notes when how many steps had been trained, in seconds."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        """Notes the time once the device is done."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.seen.append((trainer.global_step, time.perf_counter()))

    def rate(self) -> float:
        """Returns the median steps per second, without the first third, in which buffers and graphs are made."""
        later = self.seen[len(self.seen) // 3 :]
        return statistics.median((b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(later))


def measure(row: dict[str, int], options: argparse.Namespace) -> dict[str, float | str]:
    """Returns the images per second of a row, its engine, and its peak memory in bytes."""
    device, precision, processes = options.device, options.precision, row["processes"]
    changes = {"data.batch_size": row["batch_size"], "data.image_size": row["image_size"]}
    changes |= {"trainer.accelerator": device, "trainer.precision": precision, "trainer.log_every_n_steps": 10}
    settings = from_flat(changes | {"trainer.engine": options.engine})
    clock = Clock()
    trainer = pl.Trainer(
        max_steps=max(LEAST_STEPS, IMAGES_TIMED // row["batch_size"] * (16 if device == "cuda" else 1)),
        accelerator=device,
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        precision=precision.replace("tf32", "32-true"),
        log_every_n_steps=10,
        callbacks=[clock],
        reload_dataloaders_every_n_epochs=1,
        limit_val_batches=0,
        use_distributed_sampler=False,
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    )
    engine = choose_engine(settings, trainer.strategy.root_device, processes)
    set_precision(settings, engine)
    images, stage = map_noise(row, options.folder), build_stage(AutoencoderStage.name, settings)
    stage.start(None, images, trainer.strategy.root_device, processes, no_progress)
    if device == "cpu":
        use_fast_convolutions(stage.network)
    module = build_module(stage, settings, engine, resume=None).to(memory_format=torch.channels_last)
    trainer.fit(module, ImagesDataModule(stage, images, settings, engine.name == "graph"))
    images_s = clock.rate() * row["batch_size"] * processes
    return {"images_s": images_s, "engine": engine.name, "memory": peak_memory(device)}


def write_noise(row: dict[str, int], folder: Path) -> None:
    """Writes the pixels of a row into `folder`."""
    rng = np.random.default_rng(0)
    with open(folder / "pixels", "wb") as file:
        for _ in range(0, row["images"], 4096):
            file.write(rng.bytes(4096 * 3 * row["image_size"] ** 2))


def map_noise(row: dict[str, int], folder: Path) -> Dataset:
    """Returns the images of a row, all of which train."""
    shape = (row["images"], 3, row["image_size"], row["image_size"])
    pixels = torch.from_numpy(np.memmap(folder / "pixels", np.uint8, "r", shape=shape))
    index = Index([f"{i}.png" for i in range(len(pixels))])
    return Dataset(folder, Pack(folder, pixels, index), Split(np.arange(row["images"]), np.arange(0)))


def peak_memory(device: str) -> int:
    """Returns the most bytes that this process has had in memory, or in the GPU's."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's, from before exec, as well
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def measure_in_process(row: dict[str, int]) -> dict:
    """Returns `row` with what `measure` returns in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        write_noise(row, Path(place))
        command = [sys.executable, *sys.argv, f"--row={json.dumps(row)}", f"--folder={place}"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return row | json.loads(done.stdout.strip().splitlines()[-1])


def plot(results: dict[str, list[dict]], path: Path, title: str) -> None:
    """Draws a panel for each series: images per second, or megapixels per second where images differ in size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(results), figsize=(3.2 * len(results), 3), layout="constrained")
    for (name, rows), panel in zip(results.items(), panels, strict=True):
        pixels = name == "image_size"
        values = [row["images_s"] * (row["image_size"] ** 2 / 1e6 if pixels else 1) for row in rows]
        panel.plot([row[name] for row in rows], values, "o-", color="#4269d0")
        panel.set_xscale("log", base=2)
        panel.set_xticks([row[name] for row in rows], [f"{row[name]:,}" for row in rows], rotation=45, minor=False)
        panel.minorticks_off()
        panel.set_ylim(0, 1.15 * max(values))
        panel.set_xlabel(name.replace("_", " "))
        panel.set_ylabel("megapixels per second" if pixels else "images per second")
        panel.grid(alpha=0.3)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=110)


def measure_all(options: argparse.Namespace) -> dict[str, list[dict]]:
    """Measures every row, prints it, and returns the rows by series."""
    results: dict[str, list[dict]] = {}
    for name, values in SERIES.items():
        print(f"| {name.replace('_', ' ')} | images per second | ms per step | peak memory, MB |")
        print("| --- | --- | --- | --- |")
        for value in values:
            if name == "processes" and options.device == "cuda" and value > torch.cuda.device_count():
                continue
            row = measure_in_process(STANDARD | {name: value})
            results.setdefault(name, []).append(row)
            step_ms = 1e3 * row["batch_size"] * row["processes"] / row["images_s"]
            print(f"| {value:,} | {row['images_s']:,.0f} | {step_ms:,.1f} | {row['memory'] / 1e6:,.0f} |", flush=True)
        print()
    return results


def main() -> None:
    """Measures, prints and plots."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", default="32-true", help="as trainer.precision")
    parser.add_argument("--engine", default="auto", help="as trainer.engine")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        keep_freed_buffers()
        print(json.dumps(measure(options.row, options)))
        return
    results = measure_all(options)
    title = f"{options.device}, {options.precision}, torch {torch.__version__}"
    if options.plot:
        plot(results, options.plot, title)
    if options.json:
        options.json.write_text(json.dumps({"title": title, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
