"""A run: its folder, what is in it, and what the parts of training share."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_only

from vae_simpsons.checkpoint import MODEL_FILE, Checkpoint, Position
from vae_simpsons.configfile import to_yaml
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.split import write_manifest
from vae_simpsons.errors import VAEError, cannot_write
from vae_simpsons.files import atomic_path, remove_temporary
from vae_simpsons.settings import Settings
from vae_simpsons.training.environment import environment
from vae_simpsons.training.writer import Attempts, Writer


class RunFolder:
    """The paths of everything that a run makes, below `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"  # every setting, as resolved
        self.environment = path / "environment.json"  # command, commit, versions, device
        self.split = path / "split.csv"  # which images train and which validate
        self.metrics = path / "metrics.csv"  # one row of figures an epoch
        self.last = path / "last.ckpt"  # the checkpoint that was saved last
        self.best = path / "best.ckpt"  # the one of the best epoch
        self.pictures = path / "pictures"  # of each epoch, PNG
        self.evaluations = path / "evaluation.csv"  # the evaluation's quick figures, one row a measurement
        self.projector = path / "projector"  # what TensorBoard's projector shows

    def holds_a_run(self) -> bool:
        """Whether some run has written here."""
        return any(p.exists() for p in (self.config, self.environment, self.metrics, self.last, self.best))


@dataclass(frozen=True)
class Run:
    """What the parts of training share."""

    settings: Settings
    folder: RunFolder
    command: Sequence[str]  # how the user started it
    resume: Checkpoint | None = None  # what it resumes from
    writer: Writer = field(default_factory=Writer)
    attempts: Attempts = field(default_factory=Attempts)

    @property
    def position(self) -> Position | None:
        """How far the run had come when it was saved; None for a new one."""
        return self.resume.position if self.resume else None


def new_folder(settings: Settings, config_name: str) -> RunFolder:
    """Returns the folder that a new run will have; nothing is made yet.

    Raises:
        VAEError: it holds another run, is a file, or cannot be written.
    """
    if settings.out is None:
        stem = Path("runs", config_name, datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
        return RunFolder(next(p for p in (stem, *_numbered(stem)) if not p.exists()))
    folder = RunFolder(Path(settings.out).expanduser())
    if rank_zero_only.rank != 0:  # the first process has checked it, and may have begun to write
        return folder
    if folder.holds_a_run():
        raise VAEError(
            f"out: {folder.path} holds another run, which is not overwritten. "
            f"Give another folder, or --resume {folder.path} to continue that run."
        )
    check_writable(folder.path)
    return folder


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Keeps other runs out of `folder` during the block; removes what it made if the run has not begun.

    Raises:
        VAEError: another run trains in it, or it cannot be written.
    """
    if rank_zero_only.rank != 0:  # the first process locks it for all
        yield
        return
    made = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.path / ".lock")
        lock.acquire(blocking=False)
        remove_temporary(folder.path)
        remove_temporary(folder.pictures)
    except Timeout:
        raise VAEError(
            f"out: another run trains in {folder.path}. Wait until it ends, stop it, or give another folder."
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


def check_writable(path: Path) -> None:
    """Refuses a folder that cannot be made or written in.

    Raises:
        VAEError: naming the part of the path that is in the way.
    """
    existing = next(p for p in (path, *path.parents) if p.exists())
    if not existing.is_dir():
        raise VAEError(f"out: {existing} is a file, so {path} cannot be a run folder. Give another folder.")
    if not os.access(existing, os.W_OK):
        raise VAEError(f"out: cannot write in {existing}: permission denied. Give another folder with --out DIR.")


def find_last(which: str, out: str | None, config_name: str) -> Path:
    """Returns the checkpoint that `which` means.

    Args:
        which: `last`, a run folder, or a checkpoint.
        out: the run folder that the settings name; None: the newest under runs/.
        config_name: of which config the newest run is meant; `*` for any.

    Raises:
        VAEError: there is none.
    """
    if which != "last":
        path = Path(which).expanduser()
        return path / "last.ckpt" if path.is_dir() and not (path / MODEL_FILE).exists() else path
    if out is not None:
        return Path(out).expanduser() / "last.ckpt"
    found = max(Path("runs").glob(f"{config_name}/*/last.ckpt"), key=lambda p: p.stat().st_mtime, default=None)
    if found is None:
        where = Path("runs", config_name, "*", "last.ckpt")
        raise VAEError(f"which: last, but there is no {where} here. Give the run folder.")
    return found


def resumed_folder(out: str | None, checkpoint: Path) -> RunFolder:
    """Returns the folder that a resumed run continues in: its own, or a new one that `out` names.

    Raises:
        VAEError: `out` holds another run than the one resumed, or cannot be written.
    """
    folder = RunFolder(Path(out).expanduser() if out else checkpoint.parent)
    if folder.holds_a_run() and folder.path.resolve() != checkpoint.parent.resolve():
        raise VAEError(f"out: {folder.path} holds another run than {checkpoint}. Give another folder.")
    check_writable(folder.path)
    return folder


def create_folder(run: Run, dataset: Dataset, device: str, processes: int) -> None:
    """Makes the folder, with settings, split and environment; resuming adds to the last.

    Raises:
        VAEError: the system will not write there.
    """
    folder = run.folder
    try:
        folder.pictures.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder.config) as temporary:
            temporary.write_text(to_yaml(run.settings), encoding="utf-8")
        if not folder.split.exists():
            with atomic_path(folder.split) as temporary:
                write_manifest(temporary, dataset.pack.index, dataset.split)
        now = environment(run.command, device, processes)
        if folder.environment.exists():
            first = json.loads(folder.environment.read_text(encoding="utf-8"))
            now = first | {"resumed": [*first.get("resumed", []), now]}
        with atomic_path(folder.environment) as temporary:
            temporary.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    except OSError as e:
        raise cannot_write("out", folder.path, e) from None


def _numbered(stem: Path):
    """Yields names for further runs within the same second."""
    return (stem.with_name(f"{stem.name}-{i}") for i in range(2, 1000))
