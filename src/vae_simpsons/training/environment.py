"""What a reader needs to run this again: command, commit, versions, hardware."""

import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import torch

from vae_simpsons import __version__

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "tensorboard", "numpy", "pillow")


def environment(command: Sequence[str], device: str, processes: int) -> dict[str, object]:
    """Returns the content of environment.json."""
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
    try:
        options = {"cwd": Path(__file__).parent, "capture_output": True, "text": True, "timeout": 10, "check": True}
        # A virtual environment inside somebody else's repository is not a source tree of ours.
        subprocess.run(["git", "ls-files", "--error-unmatch", __file__], **options)
        head = subprocess.run(["git", "rev-parse", "HEAD"], **options).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], **options).stdout.strip()
        return f"{head}+" if changed else head
    except (OSError, subprocess.SubprocessError):
        return None
