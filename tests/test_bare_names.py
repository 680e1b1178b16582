"""What comes with the program is found by its name, in a checkout and in an installed wheel."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import CONFIGS, ROOT
from vae_simpsons import VAE, shipped
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat, read_yaml, to_yaml


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["toons", "toons.yaml", "configs/toons.yaml", "configs/toons"])
def test_a_config_is_found_by_its_name(elsewhere, capsys, name):
    assert main(["train", "--config", name, "--print_config"]) == 0
    assert capsys.readouterr().out == to_yaml(from_flat(read_yaml(ROOT / "configs" / "toons.yaml")))


def test_a_file_in_the_current_folder_comes_first(elsewhere, capsys):
    Path("toons").write_text("seed: 7\n")
    assert main(["train", "--config", "toons", "--print_config"]) == 0
    assert capsys.readouterr().out.startswith("seed: 7\n")


def test_a_folder_of_pictures_called_toons_does_not(elsewhere):
    Path("toons").mkdir()
    assert shipped.find_config(Path("toons")) == ROOT / "configs" / "toons.yaml"


@pytest.mark.parametrize("name", ["nothing", "pictures/toons", "/toons", "..", "../configs/toons", "x" * 999, "a\0b"])
def test_any_other_name_stays_what_it_is(elsewhere, name):
    assert shipped.find_config(Path(name)) == Path(name) and shipped.find_model(Path(name) / "x") == Path(name) / "x"


def test_an_unknown_name_is_answered_with_those_that_there_are(elsewhere, capsys):
    assert main(["train", "--config", "toon"]) == 1
    assert "--config: no such file: toon. Give a YAML file, or one of autoencoder, published" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["small", "pretrained/small"])
def test_a_model_is_found_by_its_name(elsewhere, run_folder, monkeypatch, name):
    folder = elsewhere / "program"
    monkeypatch.setattr(shipped, "folder_of", lambda kind: folder / kind)
    assert main(["export", "--ckpt", str(run_folder / "last.ckpt"), "--out", str(folder / "pretrained" / "small")]) == 0
    assert VAE.load(name).sample(2).shape == (2, 3, 32, 32)


def test_the_wheel_holds_what_is_shipped(tmp_path):
    """Built from a copy: setuptools leaves files of its own beside what it builds."""
    for name in ("setup.py", "pyproject.toml", "README.md", "src", "configs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "pretrained" / "small").mkdir(parents=True)
    (tmp_path / "pretrained" / "small" / "config.json").write_text("{}")
    build = "from setuptools.build_meta import build_wheel; build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= {f"vae_simpsons/configs/{path.name}" for path in CONFIGS}
    assert "vae_simpsons/pretrained/small/config.json" in names
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert names >= modules and "vae_simpsons/evaluation/page.css" in names
