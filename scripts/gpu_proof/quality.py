"""Part 5: the configs that name a budget, each trained within it and evaluated in what is left of the time.

A config takes part once its first block of comments has a line `# gpu_proof: 3 minutes`.
"""

import json
import re
from pathlib import Path

from gpu_proof.setup import Deadline, Notes, Setup
from gpu_proof.supervise import run_within, vae
from gpu_proof.tables import final_figures, read_curve

LEAST_EVALUATION_S = 20.0
BUDGET = re.compile(r"#\s*gpu_proof:\s*(\d+(?:\.\d+)?)\s*minutes?\s*$")


def budget_minutes(config: Path) -> float | None:
    """The minutes that a config asks for; None where it takes no part."""
    for line in config.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return None
        if found := BUDGET.match(line):
            return float(found[1])
    return None


def find_budgets(configs: Path) -> dict[Path, float]:
    """The configs of a folder that take part, and their minutes."""
    asked = {path: budget_minutes(path) for path in sorted(configs.glob("*.yaml"))}
    return {path: minutes for path, minutes in asked.items() if minutes}


def train_quality_configs(setup: Setup, notes: Notes, deadline: Deadline) -> None:
    """Train each of them, within its minutes, and less where all have to share less; note how it came out.

    Raises:
        SystemExit: one failed, once all have run.
    """
    budgets = find_budgets(setup.configs)
    failed = []
    for number, (config, minutes) in enumerate(budgets.items()):
        to_come = sum(list(budgets.values())[number:])
        seconds = min(60 * minutes, deadline.left_s() * minutes / to_come)
        place = setup.work / "quality" / config.stem
        place.mkdir(parents=True, exist_ok=True)
        command = vae(setup.train_flags(place / "run", config))
        status, took, stopped = run_within(command, seconds, place / "log", setup.work / "user_cache")
        row = {"config": config.name, "minutes": minutes, "budget_s": round(seconds, 1), "seconds": round(took, 1)}
        row |= {"stopped": stopped, "final": final_figures(place / "run"), "curve": read_curve(place / "run")}
        if status and not stopped:
            row["error"] = (place / "log").read_text(errors="replace").strip()[-300:]
            failed.append(config.name)
        row["evaluated"] = evaluate(setup, place, deadline.left_s())
        notes.add(rows=[row])
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def evaluate(setup: Setup, place: Path, seconds: float) -> dict[str, float]:
    """What `vae evaluate` measures of the run in a folder within so many seconds, by group and name; {} if nothing."""
    last, out = place / "run" / "last.ckpt", place / "evaluation"
    if seconds < LEAST_EVALUATION_S or not last.exists():
        return {}
    flags = ["--quick"] if setup.dry_run else ["--samples=1000"]
    command = vae(["evaluate", f"--ckpt={last}", f"--out={out}", f"--device={setup.device}", *flags])
    run_within(command, seconds, place / "evaluation.log", setup.work / "user_cache")
    found = out / "evaluation.json"
    groups = json.loads(found.read_text(encoding="utf-8"))["groups"] if found.exists() else {}
    return {f"{group}/{f['name']}": f["value"] for group, figures in groups.items() for f in figures}
