"""The scripts that no test runs can at least be loaded: what they import is there."""

import runpy

import pytest

from conftest import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_loads(path):
    if "torchvision" in path.read_text(encoding="utf-8"):
        pytest.importorskip("torchvision", reason="of the extra benchmark")
    runpy.run_path(str(path), run_name="loaded")
