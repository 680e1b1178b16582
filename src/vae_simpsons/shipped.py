"""What comes with the program, found by its name wherever the program is installed: configs and trained models."""

import os.path  # whose questions, unlike Path's, have an answer for any name
from pathlib import Path

CONFIGS, MODELS = "configs", "pretrained"  # folders of the repository, and of the installed package (setup.py)


def find_config(path: Path) -> Path:
    """Returns `path` if there is such a file, else the shipped config of that name, `toons`, else `path`."""
    return path if os.path.isfile(path) else _find(path, CONFIGS, ".yaml")


def find_model(path: Path) -> Path:
    """Returns `path` if there is such a file or folder, else the shipped model of that name, `toons`, else `path`."""
    return path if os.path.exists(path) else _find(path, MODELS, "")


def folder_of(kind: str) -> Path:
    """Returns the folder of the shipped CONFIGS or MODELS."""
    package = Path(__file__).parent
    return package / kind if (package / kind).is_dir() else package.parent.parent / kind


def shipped_names(kind: str) -> str:
    """Returns the names of the shipped CONFIGS or MODELS, in words."""
    return ", ".join(sorted(path.stem for path in folder_of(kind).glob("[!.]*")))


def _find(path: Path, kind: str, ending: str) -> Path:
    """Returns what is shipped as `path`, a bare name or one in the folder `kind`; `path` where nothing is."""
    if path.parent not in (Path(), Path(kind)) or path.name in ("", ".."):
        return path
    names = [name for name in (path.name, path.name + ending) if os.path.exists(folder_of(kind) / name)]
    return folder_of(kind) / names[0] if names else path
