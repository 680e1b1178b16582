"""Parts as processes of their own: each has its share of the time, and costs the others nothing but that."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_proof.setup import Notes, child_environment

LINES_KEPT = 12  # of what a part that failed said last
GRACE_S = 8  # for a training run to save itself and end, once it has been asked to


@dataclass(frozen=True)
class Part:
    """A part of the proof.

    Attributes:
        name: of the part.
        weight: its share of the time, in seconds where all is at its usual size.
        most_s: more is of no use to it; None: it takes what there is.
    """

    name: str
    weight: float
    most_s: float | None = None


def budget_s(parts: Sequence[Part], number: int, left_s: float) -> float:
    """The seconds for part `number`: its share, among those still to come, of the seconds that are left."""
    weights = sum(part.weight for part in parts[number:])
    share = left_s * parts[number].weight / weights if weights else 0.0
    most = parts[number].most_s
    return max(0.0, share if most is None else min(share, most))


def run_part(command: Sequence[str], seconds: float, folder: Path, name: str) -> dict[str, Any]:
    """Run `command`, which notes what it finds in `folder`/`name`.jsonl, and kill it with all its children in time.

    Returns:
        status (ok, failed, or out of time), budget_s, seconds, figures, and what it said last unless it is ok.
    """
    began, log = time.monotonic(), folder / f"{name}.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=child_environment(folder / "user_cache"),
            start_new_session=True,
        )
        try:
            status = "ok" if process.wait(max(seconds, 0.01)) == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "out of time"
        finally:
            kill_group(process)
    took = round(time.monotonic() - began, 2)
    figures = Notes(folder / f"{name}.jsonl").read()
    found = {"status": status, "budget_s": round(seconds, 1), "seconds": took, "figures": figures}
    said = log.read_text(errors="replace").splitlines()[-LINES_KEPT:]
    return found if status == "ok" else found | {"said": said}


def kill_group(process: subprocess.Popen) -> None:
    """Kill the process, and whatever it has started that is still there."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run_within(command: Sequence[str], seconds: float, log: Path, cache: Path) -> tuple[int, float, bool]:
    """Run a training command for at most `seconds`; its status, how long it took, and whether it had to be stopped.

    One whose time is up is asked to end, with SIGTERM, in time for it to save itself.
    """
    began = time.monotonic()
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=child_environment(cache))
        stopped = False
        try:
            process.wait(max(1.0, seconds - GRACE_S))
        except subprocess.TimeoutExpired:
            stopped = True
            process.terminate()
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return process.returncode, time.monotonic() - began, stopped


def vae(arguments: Sequence[str]) -> list[str]:
    """The command line of `vae`."""
    return [sys.executable, "-m", "vae_simpsons", *arguments]
