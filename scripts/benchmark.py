"""Training speed next to a plain PyTorch loop: python scripts/benchmark.py [--device cpu|cuda] [--json FILE]

The plain loop is what such projects usually have: a DataLoader over JPEG files, PIL and torchvision's transforms, fp32,
eager, `.item()` on every figure of every step. It trains the same network as `vae train`, in torch's own layers, on the
same images with batches of 64 and Adam. Both run as separate processes, alternately; figures are medians over the
rounds. The time of `vae train` includes validation, pictures and checkpoints; the plain loop only trains.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Subset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from torchvision.datasets import ImageFolder

from vae_simpsons.data.folder import find_files
from vae_simpsons.data.toons import draw_toon, make_toon
from vae_simpsons.files import read_csv
from vae_simpsons.models import Autoencoder, build_autoencoder
from vae_simpsons.objective import Objective, Terms, kl_per_dimension, mean_squared_error
from vae_simpsons.settings import Settings

PUBLISHED = Settings()
BATCH, SIZE, FRACTION = PUBLISHED.data.batch_size, PUBLISHED.data.image_size, PUBLISHED.data.train_fraction


def loss_of(network: Autoencoder, x: torch.Tensor) -> Terms:
    """Returns the loss of x (B, 3, H, W) and its terms."""
    recon, mu, log_var = network(x)
    chosen = Objective(PUBLISHED.objective, x[0].numel())
    return chosen.terms(mean_squared_error(recon, x), kl_per_dimension(mu, log_var).mean(0))


def plain_loop(folder: Path, epochs: int, device: str) -> list[float]:
    """Trains as most scripts do and returns the images per second of each epoch."""
    half = [0.5] * 3
    steps = [transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.ToTensor()]
    images = ImageFolder(folder, transforms.Compose([*steps, transforms.Normalize(half, half)]))
    train = Subset(images, range(int(len(images) * FRACTION)))
    loader = DataLoader(train, BATCH, shuffle=True, drop_last=True, num_workers=os.cpu_count() or 1)
    network = build_autoencoder(PUBLISHED).to(device)
    adam = torch.optim.Adam(network.parameters(), lr=PUBLISHED.optimizer.lr)
    rates = []
    for _ in range(epochs):
        started, figures = time.perf_counter(), []
        for x, _ in loader:
            terms = loss_of(network, x.to(device))
            adam.zero_grad()
            terms.loss.backward()
            adam.step()
            figures.append((terms.loss.item(), terms.mse.item(), terms.kl.item()))
        rates.append(len(figures) * BATCH / (time.perf_counter() - started))
    return rates


def run(command: list[str]) -> tuple[float, int, str]:
    """Runs `command`; returns seconds, peak memory in bytes, and what it printed."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024, printed


def measure_plain(folder: Path, epochs: int, device: str) -> dict[str, float]:
    """Runs the plain loop once."""
    command = [sys.executable, __file__, "--plain", str(folder), "--epochs", str(epochs), "--device", device]
    seconds, memory, printed = run(command)
    images = int(len(find_files(folder)) * FRACTION) // BATCH * BATCH * epochs
    return {"steady": json.loads(printed)[-1], "whole": images / seconds, "memory": memory}


def measure_train(folder: Path, epochs: int, device: str, extra: list[str]) -> dict[str, float]:
    """Runs `vae train` once, on images that have not been packed yet."""
    with tempfile.TemporaryDirectory() as place:
        flags = [f"--data.path={folder}", f"--data.cache_dir={place}/cache", "--data.split=sorted"]
        flags += [f"--trainer.max_epochs={epochs}", f"--trainer.accelerator={device}"]
        command = [sys.executable, "-m", "vae_simpsons", "train", *extra, *flags]
        seconds, memory, _ = run([*command, f"--out={place}/run"])
        first = time_first_step([*command, f"--out={place}/again"], Path(place, "again"))
        rows = read_csv(Path(place, "run", "metrics.csv"))
    images = int(rows[0]["step"]) * BATCH
    steady, whole = images / float(rows[-1]["time_s"]), images * epochs / seconds
    return {"steady": steady, "whole": whole, "memory": memory, "first_step": first}


def time_first_step(command: list[str], folder: Path) -> float:
    """Returns the seconds until a `vae train` that saves after every step has saved its first, and stops it."""
    started = time.perf_counter()
    with subprocess.Popen([*command, "--trainer.save_every_minutes=0"], stdout=subprocess.DEVNULL) as process:
        while not (folder / "last.ckpt").exists():
            if process.poll() is not None:
                sys.exit(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.01)
        seconds = time.perf_counter() - started
        process.kill()
    return seconds


def measure_matrix_rate(device: str, size: int = 2048) -> float:
    """Returns the floating-point operations per second of an fp32 matrix product, at its best."""
    a = torch.randn(size, size, device=device)
    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        (a @ a)[0, 0].item()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def count_flops() -> float:
    """Returns the floating-point operations of a training step, per image."""
    with FlopCounterMode(display=False) as counter:
        loss_of(build_autoencoder(PUBLISHED), torch.zeros(BATCH, 3, SIZE, SIZE)).loss.backward()
    return counter.get_total_flops() / BATCH


def compare(folder: Path, options: argparse.Namespace, extra: list[str]) -> dict:
    """Returns the figures of both ways and of the hardware."""
    rounds: dict[str, list[dict[str, float]]] = {"plain loop": [], "vae train": []}
    for _ in range(options.rounds):
        rounds["plain loop"].append(measure_plain(folder, options.epochs, options.device))
        rounds["vae train"].append(measure_train(folder, options.epochs, options.device, extra))
    median = {way: {k: statistics.median(run[k] for run in runs) for k in runs[0]} for way, runs in rounds.items()}
    rate = measure_matrix_rate(options.device)
    for figures in median.values():
        figures["share"] = figures["steady"] * count_flops() / rate
    versions = {"torch": torch.__version__, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {"median": median, "rounds": rounds, "matrix_flops": rate, "settings": extra, **versions}


def format_table(result: dict, device: str) -> str:
    """Returns the medians as a table."""
    plain, train = result["median"]["plain loop"], result["median"]["vae train"]
    gflops = result["matrix_flops"] / 1e9
    rows = [f"{device}, {result['cores']} cores, torch {result['torch']}, matrix products {gflops:.0f} GFLOP/s"]
    rows.append(f"{'':26}{'plain loop':>12}{'vae train':>12}{'ratio':>8}")
    for name, key in (("images per second, steady", "steady"), ("  the whole command", "whole")):
        rows.append(f"{name:26}{plain[key]:>12.0f}{train[key]:>12.0f}{train[key] / plain[key]:>8.1f}")
    rows.append(f"{'ms per step':26}{BATCH / plain['steady'] * 1e3:>12.1f}{BATCH / train['steady'] * 1e3:>12.1f}")
    rows.append(f"{'share of matrix rate':26}{plain['share']:>12.0%}{train['share']:>12.0%}")
    rows.append(f"{'first step after, s':26}{'':12}{train['first_step']:>12.1f}")
    rows.append(f"{'peak memory, MB':26}{plain['memory'] / 1e6:>12.0f}{train['memory'] / 1e6:>12.0f}")
    return "\n".join(rows)


def main() -> None:
    """Measures and prints."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(description=description, epilog="Other flags are passed on to vae train.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--data", type=Path, metavar="DIR", help="JPEG files in sub-folders; default: drawn toons")
    parser.add_argument("--images", type=int, default=4096, help="how many toons to draw (default 4096)")
    parser.add_argument("--epochs", type=int, default=2, help="of each run; the last one is the steady state")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plain", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    options, extra = parser.parse_known_args()
    if options.plain:
        print(json.dumps(plain_loop(options.plain, options.epochs, options.device)))
        return
    with tempfile.TemporaryDirectory() as place:
        faces = Path(place, "faces")
        faces.mkdir()
        for i in range(0 if options.data else options.images):
            draw_toon(make_toon(0, i), 256).save(faces / f"{i:05d}.jpg", quality=90)
        result = compare(options.data or Path(place), options, extra)
    print(format_table(result, options.device))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
