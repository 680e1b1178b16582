"""Part 2: the tests that need CUDA."""

import importlib.util
import os
import subprocess
import sys

from gpu_proof import pytest_lines
from gpu_proof.setup import ROOT, Deadline, Notes, Setup

PROCESSES = 8  # they share the GPU; most of a test is Python
TEST_LIMIT_S = 90


def run_cuda_tests(setup: Setup, notes: Notes, deadline: Deadline) -> None:
    """Run `pytest -m cuda` and note every test.

    Raises:
        SystemExit: some failed.
    """
    options = ["-m", "cuda", "-p", "gpu_proof.pytest_lines", "-p", "no:cacheprovider", "-W", "ignore"]
    options += [f"--basetemp={setup.work / 'pytest'}"]
    if setup.device == "cuda" and importlib.util.find_spec("xdist"):
        options += ["-n", str(PROCESSES)]
    if importlib.util.find_spec("pytest_timeout"):
        options += [f"--timeout={TEST_LIMIT_S}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(ROOT / "tests" / "cuda")],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
        | {pytest_lines.NOTES: str(notes.path)},
    )
    if done.returncode:
        sys.exit(f"pytest ended with {done.returncode}")
