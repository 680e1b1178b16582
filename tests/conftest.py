"""Pictures to train on, drawn here, and a network small enough to train in a second."""

import functools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

if "PYTEST_XDIST_WORKER" in os.environ:  # torch's threads of several processes would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from PIL import Image

from vae_simpsons.cli import VERBS, main
from vae_simpsons.cli.parsing import Group, Verb
from vae_simpsons.configfile import from_flat
from vae_simpsons.models import build_autoencoder

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

TINY = {
    "data.image_size": "32",
    "data.batch_size": "8",
    "model.widths": "[8, 16, 16]",
    "model.latent_dim": "8",
    "trainer.max_epochs": "2",
    "trainer.accelerator": "cpu",
}


class Explorer(NamedTuple):
    """A `vae explore` that runs."""

    address: str
    pid: int
    printed: list[str]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU, and torch.cuda.is_available() is false here")


def flags(settings: dict[str, str]) -> list[str]:
    """`settings` as command-line flags."""
    return [f"--{key}={value}" for key, value in settings.items()]


def every_verb(verbs: Mapping[str, Verb | Group] = VERBS) -> list[list[str]]:
    """The words of each command."""
    commands = []
    for word, verb in verbs.items():
        inner = every_verb(verb.verbs) if isinstance(verb, Group) else [[]]
        commands += [[word, *words] for words in inner]
    return commands


def draw_pictures(folder: Path, count: int, size: int = 40) -> Path:
    """`count` PNGs in two sub-folders: a bright disc of some colour somewhere on a dark gradient."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[0:size, 0:size] / size
    for i in range(count):
        (y, x), colour = rng.uniform(0.3, 0.7, 2), rng.uniform(100, 255, 3)
        disc = (down - y) ** 2 + (across - x) ** 2 < 0.04
        picture = np.where(disc[..., None], colour, 80 * down[..., None]).astype(np.uint8)
        path = folder / f"class_{i % 2}" / f"pic_{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of 40 pictures."""
    return draw_pictures(tmp_path_factory.mktemp("pictures"), 40)


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """Where all tests keep what they pack and draw: a pack's name says what is in it, so they may share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def nothing_elsewhere(tmp_path, cache, monkeypatch) -> None:
    """Commands run in a folder of the test's own; what they pack is kept beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture(scope="session")
def run_folder(pictures, cache, tmp_path_factory) -> Path:
    """A finished run of two epochs, made once by the real command."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    kept = f"--data.cache_dir={cache / 'vae-simpsons'}"
    assert main(["train", *flags(TINY), f"--data.path={pictures}", f"--out={folder}", kept]) == 0
    return folder


def build_network(size: int = 32, widths=(8, 16), latent_dim: int = 8, channels: int = 3, variational: bool = True):
    """A fresh autoencoder of the published kind, the same each time."""
    data = {"data.image_size": size, "data.channels": channels}
    model = {"model.widths": list(widths), "model.latent_dim": latent_dim, "model.variational": variational}
    torch.manual_seed(0)
    return build_autoencoder(from_flat(data | model))


@pytest.fixture(scope="session")
def explorer(run_folder, cache) -> Iterator[Explorer]:
    """`vae explore` of that run, in a process of its own, which must print nothing else and end on Ctrl-C."""
    kept = f"--data.cache_dir={cache / 'vae-simpsons'}"
    command = ["explore", "--ckpt", str(run_folder / "last.ckpt"), "--no-browser", "--device", "cpu", kept]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    process = subprocess.Popen([sys.executable, "-m", "vae_simpsons", *command], **pipes, preexec_fn=listen)
    try:
        printed = [process.stdout.readline() for _ in range(3)]
        yield Explorer(re.search(r"http://\S+", "".join(printed))[0], process.pid, printed)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "ended\n", "")
    finally:
        process.kill()
        process.wait()
