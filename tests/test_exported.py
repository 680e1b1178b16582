"""A model for passing on: the same pictures, nothing of the optimizer, and as strict a reading as a checkpoint's."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from test_cli import refused

from vae_simpsons import VAE
from vae_simpsons.cli import main
from vae_simpsons.errors import VAEError
from vae_simpsons.exported import LOCAL
from vae_simpsons.models import ConvVAE
from vae_simpsons.settings import to_flat


@pytest.fixture
def folder(run_folder, tmp_path) -> Path:
    assert main(["export", "--ckpt", str(run_folder / "last.ckpt"), "--out", str(tmp_path / "passed on")]) == 0
    return tmp_path / "passed on"


def test_its_samples_are_the_checkpoints_to_the_bit(folder, run_folder):
    before, after = VAE.load(run_folder / "last.ckpt"), VAE.load(folder)
    assert torch.equal(before.sample(70, seed=3), after.sample(70, seed=3))
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    assert all(torch.equal(a, b) for a, b in zip(before.encode(x), after.encode(x), strict=True))
    assert main(["sample", "--ckpt", str(folder), "-n", "9", "--out", "a.png"]) == 0
    assert main(["sample", "--ckpt", str(run_folder / "last.ckpt"), "-n", "9", "--out", "b.png"]) == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_it_holds_settings_and_weights_and_nothing_else(folder, run_folder):
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    settings = json.loads((folder / "config.json").read_text())
    assert list(settings) == ["format", "format_version", "config", "epochs_done", "weights_sha256"]
    assert "/" not in (folder / "config.json").read_text()  # no path of the machine that trained
    before, after = to_flat(VAE.load(run_folder / "last.ckpt").config), to_flat(VAE.load(folder).config)
    assert {key for key in before if before[key] != after[key]} <= set(LOCAL)
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    network = ConvVAE(channels=3, image_size=32, widths=(8, 16, 16), latent_dim=8)
    network.load_state_dict(weights)  # without this project's files: the names are the network's own


def test_nothing_of_the_users_is_overwritten(folder, run_folder, capfd):
    ckpt = str(run_folder / "last.ckpt")
    capfd.readouterr()
    assert f"--out: {folder} is not empty" in refused(capfd, "export", "--ckpt", ckpt, "--out", str(folder))
    Path("file").write_text("x")
    assert "--out: file is a file" in refused(capfd, "export", "--ckpt", ckpt, "--out", "file")
    assert "--out: cannot write file/x" in refused(capfd, "export", "--ckpt", ckpt, "--out", "file/x")
    assert "--ckpt: no such file" in refused(capfd, "export", "--ckpt", "no.ckpt", "--out", "new")
    assert main(["export", "--ckpt", str(folder), "--out", "again"]) == 0  # an export can be exported
    assert Path("again", "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_training_cannot_go_on_from_it(folder, capfd):
    capfd.readouterr()
    assert "holds no optimizer state to go on from" in refused(capfd, "train", "--resume", str(folder))


def changed(folder: Path, **settings) -> None:
    """Other settings in config.json; of None, none."""
    kept = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))


def said_of(folder: Path) -> str:
    with pytest.raises(VAEError) as caught:
        VAE.load(folder)
    said = str(caught.value)
    assert "\n" not in said and said.startswith("path: ") or said.startswith("--ckpt: ")
    return said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "theirs"}, "not a checkpoint of this project but another's (format, format_version"),
        ({"format_version": 3}, "has format version 3, newer than this"),
        ({"format_version": True}, "does not say its format version"),
        ({"config": None}, "it has no config"),
        ({"config": {"modle": {}}}, "its weights do not fit"),
        ({"config": {"modle": 3}}, "modle: no such setting"),
        ({"config": {"model": {"latent_dim": 10**30}}}, "latent_dim: 10000"),
        ({"config": {"model": {"latent_dim": 9}}}, "its weights do not fit its config"),
        ({"config": {"data": {"image_size": 4096}, "model": {"widths": [65536]}}}, "asks for too much"),
        ({"epochs_done": 1e9}, "it has no epochs_done"),
        ({"weights_sha256": "0"}, "its weights are not those that were written"),
    ],
)
def test_other_settings_than_it_was_written_with(folder, settings, said):
    changed(folder, **settings)
    assert said in said_of(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("[1]", "has no keys"),
        ('{"format": "vae-simpsons", "format": "x"}', "a key stands twice"),
        ('{"format": NaN}', "NaN is no number"),
        ("[" * 60_000, "not valid JSON"),
        ('{"a": 1' + "0" * 5000 + "}", "not valid JSON"),
        (" " * 70_000, "longer than 65,536 characters"),
    ],
    ids=range(7),
)
def test_what_is_no_list_of_settings(folder, text, said):
    (folder / "config.json").write_text(text)
    assert said in said_of(folder)


def test_weights_that_are_none(folder):
    good = (folder / "model.safetensors").read_bytes()
    flipped = bytes([*good[:-1], good[-1] ^ 1])
    for content in (good[:-1], flipped, b"", good + b"x"):
        (folder / "model.safetensors").write_bytes(content)
        assert "its weights are not those that were written" in said_of(folder)
    for content, said in (
        (good[:-1], "its weights are no safetensors"),
        (b"", "its weights are no safetensors"),
        ((2**40).to_bytes(8, "little") + good[8:], "described in more than 262,144 bytes"),
        (safetensors.torch.save({"a": torch.zeros(3)}), "its weights do not fit its config"),
    ):
        (folder / "model.safetensors").write_bytes(content)
        changed(folder, weights_sha256=hashlib.sha256(content).hexdigest())
        assert said in said_of(folder)


def test_a_folder_that_is_no_export(run_folder, tmp_path):
    assert "is a folder. Give the checkpoint in it" in said_of(run_folder)
    shutil.copy(run_folder / "config.yaml", tmp_path / "config.json")
    assert "is a folder. Give the checkpoint in it" in said_of(tmp_path)
