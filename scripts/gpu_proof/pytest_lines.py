"""A pytest plugin that notes each test when it has run, so that a session that is killed has said what it knows."""

import os
from pathlib import Path

import pytest

from gpu_proof.setup import Notes

NOTES = "GPU_PROOF_NOTES"  # environment variable: the file


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how a test came out; of several processes the first one speaks for all."""
    if "PYTEST_XDIST_WORKER" in os.environ or (report.when != "call" and report.passed):
        return
    why = "" if report.passed else str(report.longrepr).strip().splitlines()[-1]
    found = {"name": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 2), "why": why[:300]}
    Notes(Path(os.environ[NOTES])).add(tests=[found])
