"""Imports point one way, as the plan in CONTRIBUTING.md says."""

import ast
from pathlib import Path

import pytest

from conftest import ROOT

PACKAGE = ROOT / "src" / "vae_simpsons"
# A room may import the rooms on its own line and on the lines below it, but for the pairs in APART.
LEVELS = [
    {"__main__"},
    {"cli"},
    {"explore"},
    {"api", "training"},
    {"opened"},
    {"evaluation", "inference", "export"},
    {"loading"},
    {"checkpoint", "data", "images"},
    {"models"},
    {"objective"},
    {"configfile"},
    {"settings"},
    {"settingtypes"},
    {"devices"},
    {"errors", "files", "memory", "paths", "progress", "shipped", "streams", "threads", "yamltext", "__init__"},
]
APART = [("data", "models"), ("models", "data"), ("images", "data"), ("data", "checkpoint"), ("training", "api")]
LIGHTNING = {"training"}
NO_TORCH = {
    "cli",
    "paths",
    "progress",
    "streams",
    "yamltext",
    "configfile",
    "settings",
    "settingtypes",
    "shipped",
    "errors",
    "__init__",
    "__main__",
}


def room(path: Path) -> str:
    """The room that a file of the package is in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """The modules that a file imports, by dotted name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_of(modules: set[str]) -> set[str]:
    names = {m.split(".")[1] for m in modules if m.startswith("vae_simpsons.")}
    return {n if any(n in level for level in LEVELS) else "__init__" for n in names}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path):
    level = {name: i for i, names in enumerate(LEVELS) for name in names}
    here = room(path)
    if here == "__init__":
        return  # the package's own face names VAE, lazily
    for there in rooms_of(imported(path)) - {here}:
        assert level[there] >= level[here], f"{here} imports {there}"
        assert (here, there) not in APART, f"{here} imports {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_only_training_knows_lightning_and_help_waits_for_no_torch(path):
    if room(path) not in LIGHTNING:
        assert not any("lightning" in m for m in imported(path))
    if room(path) in NO_TORCH:
        direct = imported(path, top_level_only=True)
        assert not any(m.split(".")[0] in {"torch", "torchvision", "numpy"} for m in direct)
        assert rooms_of(direct) <= NO_TORCH


def test_there_is_no_utils():
    assert not [p for p in FILES if p.stem in {"utils", "helpers", "misc", "common"}]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_an_import_installs_nothing(path):
    """No hook, handler or warning filter: at the top of a module nothing is called for its effect."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            assert ast.unparse(node.value.func) == "StrictLoader.add_constructor"  # of a class of our own
        for target in getattr(node, "targets", []):
            assert not isinstance(target, ast.Attribute) or ast.unparse(target).startswith("shorten.")
