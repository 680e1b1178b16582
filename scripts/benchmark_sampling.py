"""Sampling and encoding beside the bare network: python scripts/benchmark_sampling.py [--ckpt FILE] [--images 10000]

In one process and in turns, `--rounds` times: the decoder alone, on blocks of z as sampling has them; `vae sample` to a
grid and to a folder; the encoder alone, on a block of images over and over; `vae encode` of drawn toons that have been
packed. The figures are medians, the shares medians over the rounds. Then each command once, in a process of its own.
Without `--ckpt` the network is the published one as it is initialised, whose samples are grey and easily compressed.
"""

import argparse
import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from vae_simpsons import VAE, checkpoint, cli, sampling
from vae_simpsons.data.toons import write_toons
from vae_simpsons.memory import keep_freed_buffers
from vae_simpsons.models import ConvVAE
from vae_simpsons.settings import Settings


def fresh_checkpoint(path: Path) -> Path:
    """A checkpoint of the published network, as it is initialised."""
    torch.manual_seed(0)
    states = checkpoint.build_network(Settings()).state_dict()
    payload = {"state_dict": {checkpoint.NETWORK + name: weights for name, weights in states.items()}}
    checkpoint.stamp(payload, Settings(), epochs_done=0)
    checkpoint.write(payload, path)
    return path


@torch.inference_mode()
def decode(network: ConvVAE, count: int) -> None:
    """The decoder alone."""
    for z in sampling.prior_latents(count, network.latent_dim, 0, sampling.block_size(network.shape[-1])):
        network.decode(z)


@torch.inference_mode()
def encode(network: ConvVAE, x: Tensor, count: int) -> None:
    """The encoder alone."""
    for _ in range(0, count, len(x)):
        network.encode(x)


def commands(ckpt: Path, toons: Path, count: int, place: Path) -> dict[str, tuple[str, Callable[[], list[str]]]]:
    """By name: what the command's rate is a share of, and what makes its arguments, with a new target each time."""
    new = lambda: tempfile.mkdtemp(dir=place)  # noqa: E731
    drawn = ["sample", "--ckpt", str(ckpt), "-n", str(count)]
    cache = f"--data.cache_dir={place / 'cache'}"
    return {
        "vae sample --out": ("decoder", lambda: [*drawn, "--out", f"{new()}/grid.png"]),
        "vae sample --out-dir": ("decoder", lambda: [*drawn, "--out-dir", new()]),
        "vae encode": ("encoder", lambda: ["encode", "--ckpt", str(ckpt), str(toons), cache, "--out", new()]),
    }


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


def run(arguments: list[str]) -> None:
    """The command, in this process."""
    with contextlib.redirect_stdout(io.StringIO()):
        if status := cli.main(arguments):
            sys.exit(status)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--ckpt", type=Path, metavar="FILE", help="default: the published network, not trained")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count = options.images
    keep_freed_buffers()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ckpt = options.ckpt or fresh_checkpoint(place / "fresh.ckpt")
        network = VAE.load(ckpt).network
        write_toons(place / "toons", count, 0, network.shape[-1])
        measured = commands(ckpt, place / "toons", count, place)
        run(measured["vae encode"][1]())  # packs
        x = torch.rand(sampling.block_size(network.shape[-1]), *network.shape) * 2 - 1
        times: dict[str, list[float]] = {name: [] for name in ("decoder", "encoder", *measured)}
        for _ in range(options.rounds):
            times["decoder"].append(seconds(decode, network, count))
            times["encoder"].append(seconds(encode, network, x, count))
            for name, (_, arguments) in measured.items():
                times[name].append(seconds(run, arguments()))
        print(f"{count:,} images, {torch.get_num_threads()} threads, torch {torch.__version__}")
        print(f"{'':22}{'images a second':>16}{'share':>22}{'whole command, s':>18}")
        for name, took in times.items():
            line = f"{name:22}{count / statistics.median(took):>16.0f}"
            if name in measured:
                of, arguments = measured[name]
                share = statistics.median(a / b for a, b in zip(times[of], took, strict=True))
                whole = seconds(subprocess.check_output, [sys.executable, "-m", "vae_simpsons", *arguments()])
                line += f"{share:>8.0%} of the {of}{whole:>18.1f}"
            print(line)


if __name__ == "__main__":
    main()
