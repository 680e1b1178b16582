"""A run's folder: where it is, what is in it, and what it says of the machine."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_only

from vae_simpsons import __version__, exported
from vae_simpsons.configfile import to_yaml
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.split import write_manifest
from vae_simpsons.errors import VAEError, cannot_write
from vae_simpsons.files import replacing, sweep
from vae_simpsons.settings import Settings

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "tensorboard", "numpy", "pillow")


@dataclass(frozen=True)
class RunFolder:
    """The paths of everything that a run makes."""

    path: Path

    @property
    def config(self) -> Path:
        """Every setting, as resolved."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Command, commit, versions, device."""
        return self.path / "environment.json"

    @property
    def split(self) -> Path:
        """Which images train and which validate."""
        return self.path / "split.csv"

    @property
    def metrics(self) -> Path:
        """One row of figures an epoch."""
        return self.path / "metrics.csv"

    @property
    def last(self) -> Path:
        """The checkpoint after the last whole epoch."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest val/loss."""
        return self.path / "best.ckpt"

    @property
    def pictures(self) -> Path:
        """Reconstructions and samples of each epoch, PNG."""
        return self.path / "pictures"

    def holds_a_run(self) -> bool:
        """Whether some run has written here."""
        return any(p.exists() for p in (self.config, self.environment, self.metrics, self.last, self.best))


def new_folder(config: Settings, config_name: str) -> RunFolder:
    """The folder that a new run will have; nothing is made yet.

    Raises:
        VAEError: it holds another run, is a file, or cannot be written.
    """
    if config.out is None:
        stem = Path("runs", config_name, datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
        return RunFolder(next(p for p in (stem, *_numbered(stem)) if not p.exists()))
    folder = RunFolder(Path(config.out).expanduser())
    if rank_zero_only.rank != 0:  # the first process has checked it, and may have begun to write
        return folder
    if folder.holds_a_run():
        raise VAEError(
            f"out: {folder.path} holds another run, which is not overwritten. "
            f"Give another folder, or --resume {folder.path} to go on with that run."
        )
    check_writable(folder.path)
    return folder


@contextmanager
def held(folder: RunFolder) -> Iterator[None]:
    """Keep other runs out of `folder` during the block; nothing of ours is left of it if the run has not begun.

    Raises:
        VAEError: another run trains in it, or it cannot be written.
    """
    if rank_zero_only.rank != 0:  # the first process holds it for all
        yield
        return
    made = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.path / ".lock")
        lock.acquire(blocking=False)
        sweep(folder.path)
        sweep(folder.pictures)
    except Timeout:
        raise VAEError(
            f"out: another run trains in {folder.path}. Wait for its end, stop it, or give another folder."
        ) from None
    except OSError as e:
        raise cannot_write("out", folder.path, e) from None
    try:
        yield
    finally:
        lock.release()
        if not folder.holds_a_run():
            with suppress(OSError):  # somebody's files are in them
                Path(lock.lock_file).unlink(missing_ok=True)
                for path in made:
                    path.rmdir()


locked = held


def check_writable(path: Path) -> None:
    """Refuse a folder that cannot be made or written in.

    Raises:
        VAEError: naming the part of the path that is in the way.
    """
    there = next(p for p in (path, *path.parents) if p.exists())
    if not there.is_dir():
        raise VAEError(f"out: {there} is a file, so {path} cannot be a run folder. Give another folder.")
    if not os.access(there, os.W_OK):
        raise VAEError(f"out: cannot write in {there}: permission denied. Give another folder with --out DIR.")


def find_last(which: str, out: str | None, config_name: str) -> Path:
    """The checkpoint that `--resume which` means.

    Args:
        which: `last`, a run folder, or a checkpoint.
        out: the run folder that the settings name; None: the newest under runs/.
        config_name: of which config the newest run is meant; `*` for any.

    Raises:
        VAEError: there is none.
    """
    if which != "last":
        path = Path(which).expanduser()
        return path / "last.ckpt" if path.is_dir() and not exported.is_exported(path) else path
    if out is not None:
        return Path(out).expanduser() / "last.ckpt"
    found = max(Path("runs").glob(f"{config_name}/*/last.ckpt"), key=lambda p: p.stat().st_mtime, default=None)
    if found is None:
        where = Path("runs", config_name, "*", "last.ckpt")
        raise VAEError(f"--resume: last, but there is no {where} here. Give the run folder: --resume DIR.")
    return found


def resumed_folder(out: str | None, resumed: Path) -> RunFolder:
    """The folder that a resumed run goes on in: its own, or a new one that `out` names.

    Raises:
        VAEError: `out` holds another run than the one resumed, or cannot be written.
    """
    folder = RunFolder(Path(out).expanduser() if out else resumed.parent)
    if folder.holds_a_run() and folder.path.resolve() != resumed.parent.resolve():
        raise VAEError(f"out: {folder.path} holds another run than {resumed}. Give another folder, or leave --out out.")
    check_writable(folder.path)
    return folder


def create(
    folder: RunFolder, config: Settings, dataset: Dataset, command: Sequence[str], device: str, processes: int
) -> None:
    """Make the folder, with config, split and what there is to say of the machine; resuming adds to the last.

    Raises:
        VAEError: the system will not write there.
    """
    try:
        folder.pictures.mkdir(parents=True, exist_ok=True)
        with replacing(folder.config) as beside:
            beside.write_text(to_yaml(config), encoding="utf-8")
        if not folder.split.exists():
            with replacing(folder.split) as beside:
                write_manifest(beside, dataset.pack.index, dataset.sides)
        now = environment(command, device, processes)
        if folder.environment.exists():
            first = json.loads(folder.environment.read_text(encoding="utf-8"))
            now = first | {"resumed": [*first.get("resumed", []), now]}
        with replacing(folder.environment) as beside:
            beside.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    except OSError as e:
        raise cannot_write("out", folder.path, e) from None


def environment(command: Sequence[str], device: str, processes: int) -> dict[str, object]:
    """What a reader needs to run this again: command, commit, versions, hardware."""
    return {
        "command": list(command),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": commit(),
        "device": device,
        "processes": processes,
        "cpu_threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {"vae-simpsons": __version__} | {name: version(name) for name in PACKAGES},
    }


def commit() -> str | None:
    """The commit of the source tree that this package runs from, '+' behind it if changed; None outside of git."""
    try:
        here = Path(__file__).parent
        run = {"cwd": here, "capture_output": True, "text": True, "timeout": 10, "check": True}
        # A virtual environment inside somebody else's repository is not a source tree of ours.
        subprocess.run(["git", "ls-files", "--error-unmatch", __file__], **run)
        head = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], **run).stdout.strip()
        return head + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def cpu_name() -> str:
    """The processor's name, as well as the system tells it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; without them half precision can be slower than single."""
    if sys.platform != "linux":
        return False
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(Path("/proc/cpuinfo").read_text().split())


def _numbered(stem: Path):
    """Names for a second run within the same second."""
    return (stem.with_name(f"{stem.name}-{i}") for i in range(2, 1000))
