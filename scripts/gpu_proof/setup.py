"""What every part is given, and how it says what it found."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# A network and an amount of work that a CPU is through with in seconds.
TOY = {
    "data.image_size": "32",
    "data.batch_size": "16",
    "model.widths": "[8, 16, 16]",
    "model.latent_dim": "8",
    "model.width": "16",
    "model.blocks": "1",
    "prior.epochs": "2",
    "prior.batch_size": "16",
    "prior.width": "32",
    "prior.depth": "1",
    "trainer.max_epochs": "3",
}


@dataclass(frozen=True)
class Setup:
    """What a part works with.

    Attributes:
        data: pictures, a folder or an archive.
        out: where proof.json and the pictures go.
        work: run folders, packs and notes of parts, which nobody needs afterwards.
        configs: folder of the configs that may name a budget.
        device: cpu or cuda.
        dry_run: at a toy size.
        commit: of the source tree.
    """

    data: Path
    out: Path
    work: Path
    configs: Path
    device: str
    dry_run: bool
    commit: str

    def flags(self) -> list[str]:
        """The command-line flags that say the same."""
        named = {k: str(getattr(self, k)) for k in ("data", "out", "work", "configs", "device", "commit")}
        return [f"--{name}={value}" for name, value in named.items()] + ["--dry-run"] * self.dry_run

    def proof(self) -> dict[str, Any]:
        """What the parts before this one found."""
        path = self.out / "proof.json"
        return json.loads(path.read_text()) if path.exists() else {"parts": {}}

    def train_flags(self, out: Path, config: Path | None = None, **settings: object) -> list[str]:
        """What `vae train` is given: config, data, device, and `settings` with __ for dots; toy in a dry run."""
        given = {"data.path": self.data, "data.cache_dir": self.work / "cache", "out": out}
        given |= {"trainer.accelerator": self.device}
        given |= TOY if self.dry_run else {}
        given |= {key.replace("__", "."): value for key, value in settings.items()}
        chosen = [f"--config={config or self.configs / 'simpsons.yaml'}"]
        return ["train", *chosen, *(f"--{key}={value}" for key, value in given.items())]


class Deadline:
    """How much of a part's time is left."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left_s(self) -> float:
        """Seconds until it."""
        return self.end - time.monotonic()


class Notes:
    """What a part finds, a JSON line at a time: a part that is killed has said what it had measured."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, **figures: Any) -> None:
        """Note `figures`; lists are added to those noted under the same name, everything else replaces."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")

    def read(self) -> dict[str, Any]:
        """All that was noted; a last line that was cut off is left out."""
        found: dict[str, Any] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            try:
                figures = json.loads(line)
            except ValueError:
                continue
            for name, value in figures.items():
                found[name] = found.get(name, []) + value if isinstance(value, list) else value
        return found


def child_environment(cache: Path) -> dict[str, str]:
    """The environment of a process that runs this source tree, with its user's cache in `cache`.

    OMP_NUM_THREADS, where it is set, goes through: on busy cores the threads of a toy network wait for each other.
    """
    paths = [str(ROOT / "src"), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(p for p in paths if p), "XDG_CACHE_HOME": str(cache), "PYTHONUNBUFFERED": "1"}
    return os.environ | own


def find_commit() -> str:
    """The commit of this source tree, '+' behind it if changed; '' outside of git."""
    try:
        run = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 10, "check": True}
        head = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], **run).stdout.strip()
        return head[:12] + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON; it is a whole file at every instant."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
