"""A run: its folder, what is in it, and what the parts of training share."""

import json
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from glob import escape
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path

import torch
from filelock import Timeout

from vae_simpsons import __version__
from vae_simpsons.checkpoint import Checkpoint, Position
from vae_simpsons.configfile import to_yaml
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.split import MANIFEST, write_manifest
from vae_simpsons.errors import VAEError, writing
from vae_simpsons.files import atomic_path, check_writable, lock_file, remove_temporary
from vae_simpsons.paths import for_shell
from vae_simpsons.settings import Settings
from vae_simpsons.training.lightning import is_first_process
from vae_simpsons.training.writer import Attempts, Writer

LOCK = ".lock"  # held while a run is trained
PACKAGES = ("torch", "pytorch-lightning", "tensorboard", "numpy", "pillow")


class RunFolder:
    """The paths of everything that a run makes, below `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"  # every setting, as resolved
        self.environment = path / "environment.json"  # command, commit, versions, device
        self.split = path / MANIFEST  # which images train and which validate
        self.metrics = path / "metrics.csv"  # one row of figures an epoch, of the autoencoder
        self.last = path / "last.ckpt"  # the checkpoint that was saved last
        self.best = path / "best.ckpt"  # the one of the best epoch
        self.pictures = path / "pictures"  # of each epoch, PNG
        self.evaluations = path / "evaluation.csv"  # the evaluation's quick figures, one row a measurement
        self.projector = path / "projector"  # what TensorBoard's projector shows

    def table(self, stage: str) -> Path:
        """Returns where the figures of a stage are: metrics.csv of the autoencoder, prior_metrics.csv."""
        return self.metrics if stage == "autoencoder" else self.path / f"{stage}_metrics.csv"

    def holds_a_run(self) -> bool:
        """Whether some run has written here."""
        return any(p.exists() for p in (self.config, self.environment, self.metrics, self.last, self.best))


@dataclass(frozen=True)
class Run:
    """What the parts of training share."""

    settings: Settings
    folder: RunFolder
    command: Sequence[str]  # how the user started it
    resume: Checkpoint | None = None  # what its stage resumes from
    trained: Checkpoint | None = None  # the autoencoder, once its stage is done, in memory
    writer: Writer = field(default_factory=Writer)
    attempts: Attempts = field(default_factory=Attempts)

    @property
    def position(self) -> Position | None:
        """How far the run had come when it was saved; None for a new one."""
        return self.resume.position if self.resume else None


def new_folder(settings: Settings, config_name: str) -> RunFolder:
    """Returns the folder that a new run will have, which holds no other run and can be written; nothing is made yet."""
    if settings.out is None:
        stem = Path("runs", config_name, datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
        numbered = (stem.with_name(f"{stem.name}-{i}") for i in count(2))  # further runs within the same second
        return RunFolder(next(path for path in chain([stem], numbered) if not path.exists()))
    folder = RunFolder(Path(settings.out))
    if not is_first_process():  # the first process has checked it, and may have begun to write
        return folder
    if folder.holds_a_run():
        raise VAEError(
            f"out: {folder.path} holds another run, which is not overwritten. "
            f"Give another folder, or --resume {for_shell(folder.path)} to continue that run."
        )
    check_writable("out", folder.path)
    return folder


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Keeps other runs out of `folder` during the block; removes what it made if the run has not begun."""
    if not is_first_process():  # the first process locks it for all
        yield
        return
    made = [path for path in (folder.path, *folder.path.parents) if not path.exists()]
    with writing("out", folder.path, "folder"):
        folder.path.mkdir(parents=True, exist_ok=True)
        try:
            lock = lock_file(folder.path / LOCK)
        except Timeout:
            raise VAEError(
                f"out: another run trains in {folder.path}. Wait until it ends, stop it, or give another folder."
            ) from None
        remove_temporary(folder.path)
        remove_temporary(folder.pictures)
    try:
        with lock:
            yield
    finally:
        if not folder.holds_a_run():
            with suppress(OSError):  # somebody's files are in them
                (folder.path / LOCK).unlink(missing_ok=True)
                for path in made:
                    path.rmdir()


def find_last(which: str, out: str | None, config_name: str) -> Path:
    """Returns the checkpoint that `which` means: `last`, a run folder, or a checkpoint.

    The last one is that of the folder `out` or, without it, of the newest run of a config (`*` for any) under runs/.
    """
    if which != "last":
        path = Path(which)
        return path / "last.ckpt" if (path / "last.ckpt").exists() else path
    if out is not None:
        return Path(out) / "last.ckpt"
    where = Path("runs", config_name, "*", "last.ckpt")
    named = "*" if config_name == "*" else escape(config_name)
    found = max(Path("runs").glob(f"{named}/*/last.ckpt"), key=lambda p: p.stat().st_mtime, default=None)
    if found is None:
        raise VAEError(f"which: last, but there is no {where} here. Give the run folder.")
    return found


def resumed_folder(out: str | None, checkpoint: Path) -> RunFolder:
    """Returns the folder that a resumed run continues in: its own, or a new one that `out` names."""
    folder = RunFolder(Path(out) if out else checkpoint.parent)
    if folder.holds_a_run() and folder.path.resolve() != checkpoint.parent.resolve():
        raise VAEError(f"out: {folder.path} holds another run than {checkpoint}. Give another folder.")
    check_writable("out", folder.path)
    return folder


def create_folder(run: Run, dataset: Dataset | None, device: str, processes: int) -> None:
    """Makes the folder, with settings, split and environment; resuming adds to the last. Without images, no split."""
    folder = run.folder
    with writing("out", folder.path, "folder"):
        folder.pictures.mkdir(parents=True, exist_ok=True)
        now = environment(run.command, device, processes)
        if folder.environment.exists():
            first = json.loads(folder.environment.read_text(encoding="utf-8"))
            now = first | {"resumed": [*first.get("resumed", []), now]}
        if dataset is not None and not folder.split.exists():
            with atomic_path(folder.split) as temporary:
                write_manifest(temporary, dataset.pack.index, dataset.split)
        texts = {folder.config: to_yaml(run.settings), folder.environment: json.dumps(now, indent=2) + "\n"}
        for path, text in texts.items():
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


def environment(command: Sequence[str], device: str, processes: int) -> dict[str, object]:
    """Returns what a reader needs to run this again, the content of environment.json."""
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
    """Returns the commit of the source tree that this package runs from, '+' behind it if changed; None outside git."""

    def git(*arguments: str) -> str:
        folder = Path(__file__).parent
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        # A virtual environment inside somebody else's repository is not a source tree of ours.
        git("ls-files", "--error-unmatch", __file__)
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
