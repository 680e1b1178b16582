"""The notebook docs/tour.ipynb: its cells run, one after the other, and what they show can be shown."""

import ast
import json

import pytest

from conftest import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"
PRETRAINED = ROOT / "pretrained" / "toons"
CODE = ["".join(cell["source"]) for cell in json.loads(TOUR.read_text())["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict) -> object:
    """Runs a cell among `names`; returns the value of its last line if that is an expression, as Jupyter shows it."""
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(TOUR), "exec"), names)
    return last and eval(compile(last, str(TOUR), "eval"), names)


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="needs the model in pretrained/toons, and there is none")
def test_its_cells_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    names, pictures = {}, 0
    for source in CODE:
        shown = run_cell(source, names)
        pictures += hasattr(shown, "_repr_png_") and shown._repr_png_().startswith(b"\x89PNG")
    assert pictures == 7


def test_it_is_kept_without_outputs():
    assert CODE and '"pretrained/toons"' in CODE[0]
    assert not any(cell.get("outputs") for cell in json.loads(TOUR.read_text())["cells"])
