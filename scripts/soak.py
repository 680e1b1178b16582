"""Kill a run at random moments, go on with it, and hold it against one that nobody disturbed: python scripts/soak.py

A run is started, killed with SIGKILL at a random moment (while it starts, packs, trains, validates, saves), gone on
with, killed, and so on. At its end weights, optimizer state, BatchNorm's statistics, metrics.csv, every curve and every
picture must be, bit for bit, those of the same command left alone.
"""

import argparse
import csv
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_simpsons.data.toons import write_toons

SETTINGS = {
    "data.image_size": 32,
    "data.batch_size": 16,
    "model.widths": "[8, 16, 16]",
    "model.latent_dim": 8,
    "trainer.accelerator": "cpu",
    "trainer.log_every_n_steps": 3,
}


def fingerprint(folder: Path) -> dict[str, str]:
    """What a run left in `folder`, but for times: digests of last.ckpt, of the table, of each picture and curve."""
    payload = torch.load(folder / "last.ckpt", weights_only=True)
    parts = {f"last.ckpt {key}": payload[key] for key in ("state_dict", "optimizer_states", "lr_schedulers")}
    parts |= {f"last.ckpt {key}": payload[key] for key in ("epochs_done", "global_step", "interrupted")}
    with open(folder / "metrics.csv", newline="") as file:
        parts["metrics.csv"] = [{k: v for k, v in row.items() if k != "time_s"} for row in csv.DictReader(file)]
    parts |= {f"pictures/{p.name}": p.read_bytes() for p in sorted((folder / "pictures").iterdir())}
    shown = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0}).Reload()
    for tag in shown.Tags()["scalars"]:
        parts[f"curve {tag}"] = [(e.step, e.value) for e in shown.Scalars(tag)]
    for tag in shown.Tags()["images"]:
        parts[f"images {tag}"] = [(e.step, e.encoded_image_string) for e in shown.Images(tag)]
    for tag in shown.Tags()["histograms"]:
        parts[f"histogram {tag}"] = [(e.step, str(e.histogram_value)) for e in shown.Histograms(tag)]
    return {name: digest(part) for name, part in parts.items()}


def digest(tree: Any) -> str:
    """A digest of every bit of a tree of dicts, lists, tensors, numbers and text."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found.update(f"{value.dtype}{tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            found.update(b"{")
            for key in value:
                add(key)
                add(value[key])
        elif isinstance(value, (list, tuple)):
            found.update(b"[")
            for item in value:
                add(item)
        else:
            found.update(repr(value).encode() + b";")

    add(tree)
    return found.hexdigest()


def start(folder: Path, pictures: Path, cache: Path, options: argparse.Namespace) -> subprocess.Popen:
    """The run in `folder`, from its start or from where it was."""
    settings = SETTINGS | {"data.path": pictures, "data.cache_dir": cache, "trainer.max_epochs": options.epochs}
    settings |= {"trainer.save_every_minutes": options.save_every_minutes}
    if (folder / "last.ckpt").exists():
        given = ["--resume", str(folder)]
    else:
        shutil.rmtree(folder, ignore_errors=True)  # nothing had been saved: a user would begin again
        given = [*(f"--{key}={value}" for key, value in settings.items()), f"--out={folder}"]
    command = [sys.executable, "-m", "vae_simpsons", "train", *given]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def whole_s(folder: Path, pictures: Path, cache: Path, options: argparse.Namespace) -> float:
    """Train without a disturbance; how long it took, in seconds."""
    began = time.monotonic()
    with start(folder, pictures, cache, options) as run:
        _, said = run.communicate()
    if run.returncode:
        sys.exit(f"the undisturbed run failed: {said}")
    return time.monotonic() - began


def disturbed(folder: Path, pictures: Path, cache: Path, options: argparse.Namespace, seconds: float) -> Counter:
    """Train with kills at random moments; how often what happened."""
    draw, seen = random.Random(options.seed), Counter()
    while True:
        run = start(folder, pictures, cache, options)
        # Resuming takes a while before its first step, and a run that is killed before it never ends.
        wait = draw.uniform(0, seconds) if seen["killed"] < options.kills else None
        try:
            _, said = run.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.communicate()
            seen["killed"] += 1
            continue
        if run.returncode and "epochs already" not in said:  # which a run says that was killed after its last save
            sys.exit(f"after {seen['killed']} kills the run failed: {said}")
        seen["finished"] += 1
        seen["parts"] = compare(options.undisturbed, folder)
        if seen["killed"] >= options.kills:
            return seen
        shutil.rmtree(folder)  # and again from the start, packing included
        shutil.rmtree(cache)


def compare(one: Path, other: Path) -> int:
    """How many parts of both runs are equal; ends the program where any is not."""
    a, b = fingerprint(one), fingerprint(other)
    differing = [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]
    if differing:
        sys.exit(f"{len(differing)} of {len(a)} parts differ: {', '.join(differing[:8])}; see {one} and {other}")
    return len(a)


def main() -> None:
    """Soak and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=512, help="toons to train on")
    parser.add_argument("--save-every-minutes", type=float, default=0.005)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="soak-"))
    write_toons(place / "toons", options.images, 0, 32, lambda done: None)
    options.undisturbed = place / "undisturbed"
    seconds = whole_s(options.undisturbed, place / "toons", place / "cache", options)
    print(f"undisturbed: {seconds:.0f} s; in {place}", flush=True)
    seen = disturbed(place / "disturbed", place / "toons", place / "other_cache", options, 1.2 * seconds)
    print(f"{seen['killed']} kills, {seen['finished']} runs finished; all {seen['parts']} parts of each bit-identical")
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
