"""How training scales: python scripts/benchmark_scale.py [--device cpu|cuda] [--json FILE] [--plot FILE]

Images a second of the steps of `vae train` (its module, its batches, its engine, Lightning's Trainer; no validation)
against batch size, image size, number of images and number of processes. Each row is a process of its own; pixels are
noise, since their values cost nothing. --plot needs matplotlib.
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
from vae_simpsons.training.datamodule import ImagesDataModule
from vae_simpsons.training.engine import build_module, choose
from vae_simpsons.training.run import use_precision

STANDARD = {"batch_size": 64, "image_size": 64, "images": 16_384, "processes": 1}
SERIES = {
    "batch_size": [16, 64, 256, 1024, 4096],
    "image_size": [32, 64, 128, 256],
    "images": [4_096, 16_384, 65_536, 262_144],
    "processes": [1, 2],
}
LEAST_STEPS, IMAGES_TIMED = 6, 4_096  # of a row: enough steps to see one in its stride, and no more than it takes


class Clock(pl.Callback):
    """When how many steps had been trained, in seconds."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        """Note it, once the device is done."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.seen.append((trainer.global_step, time.perf_counter()))

    def rate(self) -> float:
        """The median of steps a second, without the first third, in which buffers are made and graphs captured."""
        later = self.seen[len(self.seen) // 3 :]
        return statistics.median((b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(later))


def measure(row: dict[str, int], device: str, precision: str, folder: Path) -> dict[str, float | str]:
    """Images a second of a row, its engine, and its peak memory in bytes."""
    settings = {"data.batch_size": row["batch_size"], "data.image_size": row["image_size"]}
    settings |= {"trainer.accelerator": device, "trainer.precision": precision, "trainer.log_every_n_steps": 10}
    config, processes = from_flat(settings), row["processes"]
    shape = (row["images"], 3, row["image_size"], row["image_size"])
    pixels = torch.from_numpy(np.memmap(folder / "pixels", np.uint8, "r", shape=shape))
    index = Index([f"{i}.png" for i in range(len(pixels))])
    dataset = Dataset(folder, Pack(folder, pixels, index), Split(np.arange(row["images"]), np.arange(0)))
    steps = max(LEAST_STEPS, IMAGES_TIMED // row["batch_size"] * (16 if device == "cuda" else 1))
    clock = Clock()
    trainer = pl.Trainer(
        max_steps=steps,
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
    engine = choose(config, trainer.strategy.root_device, processes)
    use_precision(config, engine)
    module = build_module(config, engine).to(memory_format=torch.channels_last)
    trainer.fit(module, ImagesDataModule(dataset, config, chunked=engine.name == "graph"))
    return {"images_s": clock.rate() * row["batch_size"] * processes, "engine": engine.name, "memory": memory(device)}


def memory(device: str) -> int:
    """The peak of this process's memory, or of the GPU's that it has taken, in bytes."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's, from before exec, as well
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def in_a_process(row: dict[str, int], options: argparse.Namespace) -> dict:
    """`measure` in a process of its own, and what the row was."""
    with tempfile.TemporaryDirectory() as place:
        rng = np.random.default_rng(0)
        with open(Path(place, "pixels"), "wb") as file:
            for _ in range(0, row["images"], 4096):
                file.write(rng.bytes(4096 * 3 * row["image_size"] ** 2))
        given = ["--row", json.dumps(row), "--folder", place, "--device", options.device]
        command = [sys.executable, __file__, *given, "--precision", options.precision]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return row | json.loads(done.stdout.strip().splitlines()[-1])


def plot(results: dict[str, list[dict]], path: Path, title: str) -> None:
    """A panel a series: images a second, or pixels a second where images differ in size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(results), figsize=(3.2 * len(results), 3), layout="constrained")
    for (name, rows), panel in zip(results.items(), panels, strict=True):
        factor = [row["image_size"] ** 2 / 1e6 if name == "image_size" else 1 for row in rows]
        values = [row["images_s"] * f for row, f in zip(rows, factor, strict=True)]
        panel.plot([row[name] for row in rows], values, "o-", color="#4269d0")
        panel.set_xscale("log", base=2)
        panel.set_xticks([row[name] for row in rows], [f"{row[name]:,}" for row in rows], rotation=45, minor=False)
        panel.minorticks_off()
        panel.set_ylim(0, 1.15 * max(values))
        panel.set_xlabel(name.replace("_", " "))
        panel.set_ylabel("megapixels a second" if name == "image_size" else "images a second")
        panel.grid(alpha=0.3)
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print, plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", default="32-true", help="as trainer.precision")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        from vae_simpsons.memory import keep_freed_buffers

        keep_freed_buffers()
        print(json.dumps(measure(options.row, options.device, options.precision, options.folder)))
        return
    results: dict[str, list[dict]] = {}
    for name, values in SERIES.items():
        if options.device == "cuda":
            values = [v for v in values if name != "processes" or v <= torch.cuda.device_count()]
        print(
            f"| {name.replace('_', ' ')} | images a second | ms a step | peak memory, MB |\n| --- | --- | --- | --- |"
        )
        for value in values:
            row = in_a_process(STANDARD | {name: value}, options)
            results.setdefault(name, []).append(row)
            step_ms = 1e3 * row["batch_size"] * row["processes"] / row["images_s"]
            print(f"| {value:,} | {row['images_s']:,.0f} | {step_ms:,.1f} | {row['memory'] / 1e6:,.0f} |", flush=True)
        print()
    title = f"{options.device}, {options.precision}, torch {torch.__version__}"
    if options.plot:
        plot(results, options.plot, title)
    if options.json:
        options.json.write_text(json.dumps({"title": title, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
