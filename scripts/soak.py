"""Kills a run at random moments and resumes it each time: python scripts/soak.py [--kills 50] [--processes 1]

A run is killed with SIGKILL at a random moment (while it starts, packs, trains, validates or saves), resumed, killed
again, and so on. At its end the tensors and the position in last.ckpt, metrics.csv, every curve and every picture must
equal, bit for bit, those of the same command left alone. Where a run finishes before the last kill, another is started.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_simpsons.checkpoint import read_checkpoint
from vae_simpsons.data.toons import write_toons
from vae_simpsons.files import read_csv
from vae_simpsons.training.runfolder import RunFolder

SETTINGS = {
    "data.image_size": 32,
    "data.batch_size": 16,
    "model.widths": "[8, 16, 16]",
    "model.latent_dim": 8,
    "trainer.accelerator": "cpu",
    "trainer.log_every_n_steps": 3,
}


def fingerprint(path: Path) -> dict[str, object]:
    """Returns everything that a run left in the folder `path`, by name, but for durations."""
    folder = RunFolder(path)
    last = read_checkpoint(folder.last)
    parts: dict[str, object] = {name: (t.dtype, t.shape, t.numpy().tobytes()) for name, t in last.tensors.items()}
    parts |= {f"position {name}": repr(value) for name, value in vars(last.position).items() if name != "epoch_s"}
    parts |= {"figures": repr(last.figures), "class names": repr(last.class_names), "epochs": last.epochs}
    for table in path.glob("*metrics.csv"):
        parts[table.name] = [{k: v for k, v in row.items() if k != "time_s"} for row in read_csv(table)]
    parts |= {f"pictures/{picture.name}": picture.read_bytes() for picture in folder.pictures.iterdir()}
    for stage, events_folder in {"": path, "prior ": path / "prior"}.items():
        if events_folder.exists():
            parts |= {f"{stage}{name}": points for name, points in curves(events_folder).items()}
    return parts


def curves(path: Path) -> dict[str, object]:
    """Returns all that TensorBoard shows of the files in the folder `path`, by name."""
    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0, "histograms": 0}).Reload()
    tags = events.Tags()
    shown = {f"curve {tag}": [(e.step, repr(e.value)) for e in events.Scalars(tag)] for tag in tags["scalars"]}
    shown |= {f"images {t}": [(e.step, e.encoded_image_string) for e in events.Images(t)] for t in tags["images"]}
    histograms = {tag: events.Histograms(tag) for tag in tags["histograms"]}
    return shown | {f"histogram {t}": [(e.step, repr(e.histogram_value)) for e in histograms[t]] for t in histograms}


def count_equal_parts(one: Path, other: Path) -> int:
    """Returns how many parts two runs have; ends the program if any differs."""
    a, b = fingerprint(one), fingerprint(other)
    differing = [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]
    if differing:
        sys.exit(f"{len(differing)} of {len(a)} parts differ: {', '.join(differing[:8])}; see {one} and {other}")
    return len(a)


def start(folder: Path, settings: dict[str, object]) -> subprocess.Popen:
    """Starts the run in `folder`, or resumes it, in a process group of its own."""
    if (folder / "last.ckpt").exists():
        given = ["--resume", str(folder)]
    else:
        shutil.rmtree(folder, ignore_errors=True)  # nothing had been saved
        given = [*(f"--{key}={value}" for key, value in settings.items()), f"--out={folder}"]
    command = [sys.executable, "-m", "vae_simpsons", "train", *given]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run_undisturbed(folder: Path, settings: dict[str, object]) -> float:
    """Trains without a kill and returns how long it took, in seconds."""
    started = time.monotonic()
    run = start(folder, settings)
    _, errors = run.communicate()
    if run.returncode:
        sys.exit(f"the undisturbed run failed: {errors}")
    return time.monotonic() - started


def run_with_kills(folder: Path, settings: dict[str, object], seed: int, kills: int, seconds: float) -> int:
    """Trains with up to `kills` kills, each within `seconds` of a start, and returns how many there were."""
    draw, killed = random.Random(seed), 0
    while True:
        run = start(folder, settings)
        try:
            _, errors = run.communicate(timeout=draw.uniform(0, seconds) if killed < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)  # every process of the run
            run.communicate()
            killed += 1
            continue
        if run.returncode and "epochs already" not in errors:  # the answer to resuming a run killed after its last save
            sys.exit(f"after {killed} kills the run failed: {errors}")
        return killed


def main() -> None:
    """Compares disturbed runs with an undisturbed one and reports."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--processes", type=int, default=1, help="that train together (default 1)")
    parser.add_argument("--epochs", type=int, default=4, help="of the autoencoder, and of a flow")
    parser.add_argument("--prior", choices=("normal", "gaussian", "flow"), default="normal")
    parser.add_argument("--images", type=int, default=512, help="toons to train on")
    parser.add_argument("--save-every-minutes", type=float, default=0.005)
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="soak-"))
    write_toons(place / "toons", options.images, 0, 32)
    settings = SETTINGS | {"trainer.max_epochs": options.epochs, "trainer.devices": options.processes}
    settings |= {"data.path": place / "toons", "trainer.save_every_minutes": options.save_every_minutes}
    settings |= {"prior.kind": options.prior, "prior.epochs": options.epochs, "prior.width": 16, "prior.depth": 1}
    if options.processes > 1:
        settings["trainer.strategy"] = "ddp"
    seconds = run_undisturbed(place / "undisturbed", settings | {"data.cache_dir": place / "cache"})
    print(f"undisturbed: {seconds:.0f} s; in {place}", flush=True)
    killed = finished = parts = 0
    while killed < options.kills:
        run, cache = place / f"run_{finished}", place / f"cache_{finished}"  # packs its images again
        changed = settings | {"data.cache_dir": cache}
        killed += run_with_kills(run, changed, options.seed + finished, options.kills - killed, 1.2 * seconds)
        parts = count_equal_parts(place / "undisturbed", run)
        finished += 1
        shutil.rmtree(run), shutil.rmtree(cache)
        print(f"{killed} kills, {finished} runs finished; all {parts} parts of each are bit-identical", flush=True)
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
