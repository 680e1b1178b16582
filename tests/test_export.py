"""A model for passing on: the same pictures, nothing of the optimizer, and a card that says how to use it."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from test_cli import refused

from vae_simpsons import VAE
from vae_simpsons.checkpoint import LOCAL
from vae_simpsons.cli import main
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


def test_it_holds_the_weights_and_a_card_and_nothing_of_this_machine(folder, run_folder, pictures):
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    content = (folder / "model.safetensors").read_bytes()
    assert str(pictures).encode() not in content and str(run_folder).encode() not in content
    before, after = (to_flat(VAE.load(path).settings) for path in (run_folder / "last.ckpt", folder))
    assert {key for key in before if before[key] != after[key]} <= set(LOCAL)
    weights = safetensors.torch.load(content)
    assert all(name.startswith("network.") for name in weights)


def test_its_card_says_what_it_is_how_good_and_how_to_use_it(folder):
    card = (folder / "README.md").read_text()
    called = ("vae sample --ckpt", "VAE.from_pretrained(")
    for text in ("# passed on", "2 epochs", "32x32", "val/mse", "latent_dim: 8", *called):
        assert text in card
    assert "path:" not in card and "cache_dir" not in card


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


def test_training_cannot_resume_from_it(folder, capfd):
    capfd.readouterr()
    assert "is an exported model, without the optimizer's state" in refused(capfd, "train", "--resume", str(folder))


def test_a_folder_that_is_no_export(run_folder):
    with pytest.raises(Exception, match="is a folder. Give the checkpoint in it"):
        VAE.load(run_folder)
