"""scripts/gpu_proof.py: the whole of it at a toy size, and what it does when a part hangs or fails."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import CONFIGS, ROOT
from gpu_proof import published
from gpu_proof.pictures import choose_pictures, plain_name
from gpu_proof.quality import budget_minutes, find_budgets
from gpu_proof.report import format_report, say_part
from gpu_proof.setup import Deadline, Notes, Setup
from gpu_proof.steps_costs import costs
from gpu_proof.supervise import Part, budget_s, run_part

SCRIPT = ROOT / "scripts" / "gpu_proof.py"
NAMES = ["machine", "tests", "steps", "published", "quality", "pictures"]


def load_command():
    """The script as a module; `gpu_proof` itself is the package beside it."""
    spec = importlib.util.spec_from_file_location("gpu_proof_command", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup(tmp_path) -> Setup:
    out, work, configs = (tmp_path / name for name in ("out", "work", "configs"))
    for folder in (out, work, configs):
        folder.mkdir()
    return Setup(tmp_path / "data", out, work, configs, "cpu", True, "abc")


def test_a_dry_run_goes_through_every_part(tmp_path):
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "simpsons.yaml").write_text((ROOT / "configs" / "simpsons.yaml").read_text())
    sharp = (ROOT / "configs" / "simpsons-sharp-gpu.yaml").read_text()
    (configs / "sharp.yaml").write_text(sharp.replace("gpu_proof: 6 minutes", "gpu_proof: 1 minute"))
    command = [sys.executable, str(SCRIPT), "--device=cpu", "--dry-run", f"--out={tmp_path / 'out'}"]
    command += [f"--configs={configs}", "--minutes=8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stdout + done.stderr
    proof = json.loads((tmp_path / "out" / "proof.json").read_text())
    assert list(proof["parts"]) == NAMES
    assert all(part["status"] == "ok" and part["figures"]["on"]["card"] for part in proof["parts"].values())
    assert [line.split()[0] for line in done.stdout.splitlines()[: len(NAMES)]] == NAMES
    figures = {name: part["figures"] for name, part in proof["parts"].items()}
    assert figures["tests"]["tests"]
    assert all("error" not in row and row["share"] > 0 for row in figures["steps"]["rows"])
    assert figures["published"]["final"]["epoch"] == 3 and None not in figures["published"]["split_s"].values()
    (row,) = figures["quality"]["rows"]
    assert row["config"] == "sharp.yaml" and row["evaluated"]["reconstruction/mse"] > 0
    assert figures["quality"]["rows"][0]["final"]["epoch"] == 3
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    pictures = figures["pictures"]["files"]
    assert made == sorted(["proof.json", "proof.md", *pictures]) and len(made) <= 8
    assert any(name.startswith("published_samples") for name in pictures)
    assert any(name.startswith("sharp_prior_samples") for name in pictures)


NOTING = """
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1], "w") as file:
    file.write(json.dumps({"rows": [1], "child": child.pid}) + "\\n" + '{"rows": [2')
"""


def test_a_part_that_hangs_is_killed_with_its_children_and_keeps_what_it_noted(tmp_path):
    script = NOTING + "time.sleep(600)"
    found = run_part([sys.executable, "-c", script, str(tmp_path / "steps.jsonl")], 5, tmp_path, "steps")
    assert found["status"] == "out of time" and found["figures"]["rows"] == [1]
    assert is_gone(found["figures"]["child"])


def test_a_part_that_fails_says_its_last_lines_and_leaves_no_children(tmp_path):
    script = NOTING + "sys.exit('it broke')"
    found = run_part([sys.executable, "-c", script, str(tmp_path / "steps.jsonl")], 60, tmp_path, "steps")
    assert found["status"] == "failed" and found["said"] == ["it broke"] and found["figures"]["rows"] == [1]
    assert is_gone(found["figures"]["child"])
    assert "it broke" in say_part("steps", found)


def is_gone(pid: int) -> bool:
    """Whether the process ends, which the system may take a moment to notice."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").exists() and " Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_part_that_fails_costs_only_itself_and_proof_is_written_after_each(setup, monkeypatch, capsys):
    command, known = load_command(), []

    def run(given, seconds, folder, name):
        known.append(list(setup.proof()["parts"]))
        status = {"tests": "out of time", "steps": "failed"}.get(name, "ok")
        return {"status": status, "budget_s": seconds, "seconds": 1.0, "figures": {}, "said": ["why"]}

    monkeypatch.setattr(command, "run_part", run)
    assert command.prove(setup, 8, drawn=False) == 1
    assert known == [NAMES[:count] for count in range(len(NAMES))]
    assert list(setup.proof()["parts"]) == NAMES
    said = capsys.readouterr().out
    assert "steps      failed" in said and "[why]" in said and "| tests | out of time |" in said
    assert not list(setup.out.glob(".*"))


def test_time_is_shared_by_weight_and_what_is_left_goes_on():
    parts = [Part("a", 10), Part("b", 20, most_s=5), Part("c", 30)]
    assert [budget_s(parts, i, 60) for i in range(3)] == [10, 5, 60]
    assert budget_s(parts, 0, 6) == 1
    assert budget_s(parts, 2, -3) == 0
    assert budget_s([Part("a", 0)], 0, 10) == 0


@pytest.mark.parametrize("minutes", [2, 8, 13])
def test_all_parts_together_take_no_more_than_was_given(minutes):
    parts, left = load_command().with_quality(120), 60 * minutes
    for number in range(len(parts)):
        left -= budget_s(parts, number, left)  # the worst: each takes all it has
    assert left >= -1e-6


def test_a_config_takes_part_by_a_line_of_its_first_comment(tmp_path):
    texts = {
        "two": "# Words.\n# gpu_proof: 2 minutes\nseed: 1\n",
        "half": "# gpu_proof: 0.5 minutes\n",
        "below": "seed: 1\n# gpu_proof: 2 minutes\n",
        "loose": "# gpu_proof takes 2 minutes\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    assert {path.stem: minutes for path, minutes in find_budgets(tmp_path).items()} == {"two": 2, "half": 0.5}
    assert budget_minutes(tmp_path / "below.yaml") is None


def test_the_shipped_configs_name_budgets_that_fit():
    assert sum(budget_minutes(path) or 0 for path in CONFIGS) <= 10


def test_pictures_are_few_and_small(tmp_path):
    found = []
    for number, size in enumerate([30, 80, 30, 30, 30]):
        path = tmp_path / f"{number}.png"
        path.write_bytes(b"x" * size)
        found.append((path.name, path))
    assert [name for name, _ in choose_pictures(found, most_files=3, most_bytes=100)] == ["0.png", "2.png", "3.png"]
    assert len(choose_pictures(found, most_files=2, most_bytes=1000)) == 2
    assert plain_name("sharp é/1_samples.png") == "sharp___1_samples.png"


def test_the_fastest_way_whose_curve_matches_is_chosen(setup, monkeypatch):
    curves = {("eager", "32-true", 1265): [1.0, 0.5], ("eager", "32-true", 1): [1.0, 0.55]}
    curves |= {("eager", "bf16-mixed", 1265): [1.0, 0.8], ("eager", "tf32", 1265): [1.0, 0.52]}
    monkeypatch.setattr(published, "compared_curve", lambda setup, notes, *way: curves[way])
    monkeypatch.setitem(published.CANDIDATES, "cpu", [("eager", "bf16-mixed"), ("eager", "tf32")])
    notes = Notes(setup.work / "published.jsonl")
    assert published.choose_way(setup, notes, Deadline(60)) == ("eager", "tf32")
    assert [way["matches"] for way in notes.read()["compared"]] == [False, True] and notes.read()["noise"] == 0.1
    curves["eager", "tf32", 1265] = []  # it failed
    assert published.choose_way(setup, notes, Deadline(60)) == ("eager", "32-true")


def test_what_a_run_adds_to_a_step_is_told_apart():
    row = {"engine": "graph", "precision": "32-true", "batch": 64, "validation_s": 0.1, "rest_s": 0.2, "bare_ms": 1.0}
    steps = {"": 1.5, "never logged": 1.4, "copied ahead": 1.75}
    found = costs([row | {"variant": name, "step_ms": ms} for name, ms in steps.items()])
    assert found["Lightning, data, logging: more, ms"] == 0.5 and found["of that logging, ms"] == 0.1
    assert found["copied ahead: more, ms"] == 0.25
    assert costs([{"error": "no"}]) == {}


def test_a_report_is_written_of_whatever_there_is():
    row = {"engine": "graph", "precision": "tf32", "batch": 64, "variant": "", "error": "out of memory"}
    test = {"name": "tests/cuda/test_x.py::test_y", "outcome": "failed", "seconds": 1, "why": "assert 1 == 2"}
    parts = {"steps": {"rows": [row]}, "tests": {"tests": [test]}}
    found = {name: {"status": "ok", "budget_s": 1, "seconds": 1, "figures": parts.get(name, {})} for name in NAMES}
    said = format_report({"parts": found})
    assert "out of memory" in said and "FAILED tests/cuda/test_x.py::test_y: assert 1 == 2" in said
    assert all(say_part(name, found[name]) for name in NAMES)
