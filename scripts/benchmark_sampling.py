"""Speed of sampling and encoding: python scripts/benchmark_sampling.py [--ckpt FILE] [--images 10000]

In one process, alternately and `--rounds` times: the decoder alone, on the blocks of z that sampling uses; `vae sample`
to a grid and to a folder; the encoder alone, on one block of images over and over; `vae encode` of toons that have been
packed. The figures are medians, the shares medians over the rounds. Then each command runs once in its own process.
Without --ckpt the network is the published one, untrained, whose samples are grey and compress easily.
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

from vae_simpsons import VAE, cli
from vae_simpsons.checkpoint import NETWORK, Checkpoint, write_checkpoint
from vae_simpsons.data.toons import write_toons
from vae_simpsons.inference.blocks import block_size
from vae_simpsons.inference.sample import prior_noise
from vae_simpsons.models import Autoencoder, build_autoencoder
from vae_simpsons.settings import Settings


def write_untrained(path: Path) -> Path:
    """Writes a checkpoint of the published network as it is initialised, and returns its path."""
    weights = {NETWORK + name: tensor for name, tensor in build_autoencoder(Settings()).state_dict().items()}
    write_checkpoint(Checkpoint(path, Settings(), weights, epochs=0))
    return path


@torch.inference_mode()
def decode(network: Autoencoder, count: int) -> None:
    """Runs the decoder alone."""
    for z in prior_noise(network.latent_shape, count, 0, block_size(network)):
        network.decode(z)


@torch.inference_mode()
def encode(network: Autoencoder, x: Tensor, count: int) -> None:
    """Runs the encoder alone."""
    for _ in range(0, count, len(x)):
        network.encode(x)


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Returns how long `work` takes."""
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def run(arguments: list[str]) -> None:
    """Runs a `vae` command in this process."""
    with contextlib.redirect_stdout(io.StringIO()):
        if status := cli.main(arguments):
            sys.exit(status)


def measure(ckpt: Path, place: Path, count: int, rounds: int) -> None:
    """Measures and prints the table; `place` is an empty folder."""
    network = VAE.load(ckpt).network
    write_toons(place / "toons", count, 0, network.image_shape[-1])
    sample = ["sample", f"--ckpt={ckpt}", f"-n{count}"]
    encode_toons = ["encode", str(place / "toons"), f"--ckpt={ckpt}", f"--data.cache_dir={place / 'cache'}"]
    commands = {  # what their rate is a share of, and their arguments, each time with another target
        "vae sample --out": ("decoder", lambda: [*sample, f"--out={tempfile.mkdtemp(dir=place)}/grid.png"]),
        "vae sample --out-dir": ("decoder", lambda: [*sample, f"--out-dir={tempfile.mkdtemp(dir=place)}"]),
        "vae encode": ("encoder", lambda: [*encode_toons, f"--out={tempfile.mkdtemp(dir=place)}"]),
    }
    run(commands["vae encode"][1]())  # packs the toons
    x = torch.rand(block_size(network), *network.image_shape) * 2 - 1
    times: dict[str, list[float]] = {name: [] for name in ("decoder", "encoder", *commands)}
    for _ in range(rounds):
        times["decoder"].append(seconds(decode, network, count))
        times["encoder"].append(seconds(encode, network, x, count))
        for name, (_, arguments) in commands.items():
            times[name].append(seconds(run, arguments()))
    print(f"{count:,} images, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':22}{'images per second':>18}{'share':>22}{'whole command, s':>18}")
    for name, took in times.items():
        line = f"{name:22}{count / statistics.median(took):>18.0f}"
        if name in commands:
            part, arguments = commands[name]
            share = statistics.median(a / b for a, b in zip(times[part], took, strict=True))
            whole = seconds(subprocess.check_output, [sys.executable, "-m", "vae_simpsons", *arguments()])
            line += f"{share:>8.0%} of the {part}{whole:>18.1f}"
        print(line)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--ckpt", type=Path, metavar="FILE", help="default: the published network, untrained")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        ckpt = options.ckpt or write_untrained(Path(place, "untrained.ckpt"))
        measure(ckpt, Path(place), options.images, options.rounds)


if __name__ == "__main__":
    main()
