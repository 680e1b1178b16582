"""How fast training is, beside the plain loop: python scripts/benchmark.py [--device cpu|cuda] [--json FILE]

The plain loop is what users of such projects write: a DataLoader over the JPEG files, PIL and torchvision's transforms,
fp32, eager, `.item()` on every figure of every step. It trains the published network on the same images as `vae train`,
with the same batches of 64 and Adam. Both run as processes of their own, in turns; figures are medians over the rounds.
`vae train` also validates, draws its pictures and saves in the time that is counted; the plain loop only trains.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from vae_simpsons.data.folder import find_files
from vae_simpsons.data.toons import draw_toon, make_toon
from vae_simpsons.objective import vae_loss
from vae_simpsons.settings import Settings

BATCH, FRACTION = 64, 0.75


class Files(Dataset):
    """JPEG files, decoded whenever they are asked for."""

    def __init__(self, folder: Path) -> None:
        found = find_files(folder)
        self.paths = [folder / file.path for file in found[: int(len(found) * FRACTION)]]
        size = Settings().data.image_size
        steps = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize([0.5] * 3, [0.5] * 3)])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB"))


class PlainVAE(nn.Module):
    """The published network as its readers write it down, in torch's own layers."""

    def __init__(self, widths: tuple[int, ...], latent_dim: int, size: int) -> None:
        super().__init__()
        side, back = size // 2 ** len(widths), widths[::-1]
        down = [nn.Conv2d(i, o, 3, 2, 1) for i, o in pairwise((3, *widths))]
        up = [nn.ConvTranspose2d(i, o, 3, 2, 1, 1) for i, o in pairwise((*back, back[-1]))]
        self.encoder = nn.Sequential(*(layer for c in down for layer in activated(c)), nn.Flatten())
        self.mu = nn.Linear(back[0] * side**2, latent_dim)
        self.log_var = nn.Linear(back[0] * side**2, latent_dim)
        self.linear = nn.Sequential(nn.Linear(latent_dim, back[0] * side**2), nn.Unflatten(1, (back[0], side, side)))
        last = (nn.Conv2d(back[-1], 3, 3, 1, 1), nn.Tanh())
        self.decoder = nn.Sequential(*(layer for c in up for layer in activated(c)), *last)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """recon, mu and log_var of x (B, 3, H, W)."""
        h = self.encoder(x)
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return self.decoder(self.linear(z)), mu, log_var


def activated(convolution: nn.Module) -> tuple[nn.Module, ...]:
    """The convolution, BatchNorm and LeakyReLU."""
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.LeakyReLU()


def published_network() -> PlainVAE:
    """The default config's, which is the published recipe's."""
    model = Settings().model
    return PlainVAE(model.widths, model.latent_dim, Settings().data.image_size)


def plain_loop(folder: Path, epochs: int, device: str) -> list[float]:
    """Images a second in each epoch."""
    network = published_network().to(device)
    adam = torch.optim.Adam(network.parameters(), lr=0.005)
    loader = DataLoader(Files(folder), BATCH, shuffle=True, drop_last=True, num_workers=os.cpu_count() or 1)
    rates = []
    for _ in range(epochs):
        began, figures = time.perf_counter(), []
        for x in loader:
            x = x.to(device)
            recon, mu, log_var = network(x)
            terms = vae_loss(recon, x, mu, log_var, 0.00025)
            adam.zero_grad()
            terms.loss.backward()
            adam.step()
            figures.append((terms.loss.item(), terms.mse.item(), terms.kl.mean().item()))
        rates.append(len(figures) * BATCH / (time.perf_counter() - began))
    return rates


def run(command: list[str]) -> tuple[float, int, str]:
    """Seconds, peak memory in bytes, and what it printed."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024, printed


def measure_plain(folder: Path, epochs: int, device: str) -> dict[str, float]:
    """One run of the plain loop."""
    command = [sys.executable, __file__, "--plain", str(folder), "--epochs", str(epochs), "--device", device]
    seconds, memory, printed = run(command)
    rates = json.loads(printed)
    images = int(len(find_files(folder)) * FRACTION) // BATCH * BATCH * epochs
    return {"steady": rates[-1], "whole": images / seconds, "memory": memory}


def measure_ours(folder: Path, epochs: int, device: str, extra: list[str]) -> dict[str, float]:
    """One run of `vae train`, on images that have not been packed before."""
    with tempfile.TemporaryDirectory() as place:
        settings = {
            "data.path": folder,
            "data.cache_dir": f"{place}/cache",
            "data.split": "sorted",
            "trainer.max_epochs": epochs,
            "trainer.accelerator": device,
            "out": f"{place}/run",
        }
        command = [sys.executable, "-m", "vae_simpsons", "train", *extra]
        command += [f"--{key}={value}" for key, value in settings.items()]
        seconds, memory, _ = run(command)
        first = first_step([*command, f"--out={place}/again"], Path(place, "again"))
        with open(f"{place}/run/metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    steps = int(rows[0]["step"])
    return {
        "steady": steps * BATCH / float(rows[-1]["time_s"]),
        "whole": steps * BATCH * epochs / seconds,
        "memory": memory,
        "first_step": first,
    }


def first_step(command: list[str], folder: Path) -> float:
    """Seconds until a `vae train` that saves after every step has saved its first; it is killed then."""
    began = time.perf_counter()
    with subprocess.Popen([*command, "--trainer.save_every_minutes=0"], stdout=subprocess.DEVNULL) as process:
        while not (folder / "last.ckpt").exists():
            if process.poll() is not None:
                sys.exit(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.01)
        took = time.perf_counter() - began
        process.kill()
    return took


def matrix_rate(device: str, size: int = 2048) -> float:
    """Floating-point operations a second of an fp32 matrix product, at its best."""
    a = torch.randn(size, size, device=device)
    seconds = []
    for _ in range(30):
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds)


def flops_an_image() -> float:
    """Floating-point operations of a training step, for one image."""
    x = torch.zeros(BATCH, 3, Settings().data.image_size, Settings().data.image_size)
    with FlopCounterMode(display=False) as counter:
        recon, mu, log_var = published_network()(x)
        vae_loss(recon, x, mu, log_var, 0.00025).loss.backward()
    return counter.get_total_flops() / BATCH


def draw_jpegs(folder: Path, count: int) -> None:
    """Toons of 256x256 as JPEG files."""
    for i in range(count):
        draw_toon(make_toon(0, i), 256).save(folder / f"{i:05d}.jpg", quality=90)


def compare(folder: Path, options: argparse.Namespace, extra: list[str]) -> dict:
    """Both in turns, and what the hardware could do."""
    rounds: dict[str, list[dict[str, float]]] = {"plain loop": [], "vae train": []}
    for _ in range(options.rounds):
        rounds["plain loop"].append(measure_plain(folder, options.epochs, options.device))
        rounds["vae train"].append(measure_ours(folder, options.epochs, options.device, extra))
    median = {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]} for name, runs in rounds.items()
    }
    rate = matrix_rate(options.device)
    for figures in median.values():
        figures["share"] = figures["steady"] * flops_an_image() / rate
    versions = {"torch": torch.__version__, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {"median": median, "rounds": rounds, "matrix_flops": rate, "settings": extra, **versions}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], epilog="Other flags are handed to vae train."
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of JPEG files; default: drawn toons")
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
        if options.data is None:
            draw_jpegs(Path(place), options.images)
        result = compare(options.data or Path(place), options, extra)
    plain, ours = result["median"]["plain loop"], result["median"]["vae train"]
    gflops = result["matrix_flops"] / 1e9
    print(f"{options.device}, {result['cores']} cores, torch {result['torch']}, matrix products {gflops:.0f} GFLOP/s")
    print(f"{'':24}{'plain loop':>12}{'vae train':>12}{'ratio':>8}")
    for name, key in (("images a second, steady", "steady"), ("  the whole command", "whole")):
        print(f"{name:24}{plain[key]:>12.0f}{ours[key]:>12.0f}{ours[key] / plain[key]:>8.1f}")
    print(f"{'ms a step':24}{BATCH / plain['steady'] * 1e3:>12.1f}{BATCH / ours['steady'] * 1e3:>12.1f}")
    print(f"{'share of matrix rate':24}{plain['share']:>12.0%}{ours['share']:>12.0%}")
    print(f"{'first step after, s':24}{'':12}{ours['first_step']:>12.1f}")
    print(f"{'peak memory, MB':24}{plain['memory'] / 1e6:>12.0f}{ours['memory'] / 1e6:>12.0f}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
