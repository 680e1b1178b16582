import os
import pickle
import shutil
import zipfile

import pytest
import torch

from vae_simpsons import VAE, checkpoint
from vae_simpsons.errors import VAEError


class Evil:
    """What a stranger's checkpoint may carry: code that runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("evil_was_here",)


def test_a_checkpoint_is_tensors_numbers_and_text_alone(run_folder):
    def kinds(value) -> set:
        if isinstance(value, dict):
            return set().union(*(kinds(k) | kinds(v) for k, v in value.items()))
        if isinstance(value, (list, tuple)):
            return set().union(*map(kinds, value)) if value else set()
        return {type(value)}

    payload = torch.load(run_folder / "last.ckpt", weights_only=True)
    assert kinds(payload) <= {torch.Tensor, int, float, str, bool, type(None)}


def test_it_is_all_that_is_needed(run_folder, tmp_path):
    shutil.copy(run_folder / "last.ckpt", tmp_path / "alone.ckpt")
    model = VAE.load(tmp_path / "alone.ckpt")
    assert model.sample(3).shape == (3, 3, 32, 32)
    assert model.config.model.latent_dim == 8
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    assert model.reconstruct(x).shape == x.shape
    mu, log_var = model.encode(x)
    assert mu.shape == log_var.shape == (2, 8)
    assert torch.equal(model.decode(mu), model.reconstruct(x))
    with pytest.raises(VAEError, match="n: 0 is not accepted"):
        model.sample(0)


def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path):
    torch.save({"format": "vae-simpsons", "x": Evil()}, tmp_path / "evil.ckpt")
    (tmp_path / "evil2.ckpt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(VAEError, match="carries code or foreign objects and is refused; nothing in it was run"):
        checkpoint.read(tmp_path / "evil.ckpt")
    with pytest.raises(VAEError, match="refused|no checkpoint"):
        checkpoint.read(tmp_path / "evil2.ckpt")
    assert not (tmp_path / "evil_was_here").exists()


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, run_folder):
    good = (run_folder / "last.ckpt").read_bytes()
    payload = torch.load(run_folder / "last.ckpt", weights_only=True)

    def refused(content, said):
        path = tmp_path / "x.ckpt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(VAEError, match=said) as caught:
            checkpoint.network_of(checkpoint.read(path))
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)

    refused(b"", "no checkpoint")
    refused(b"hello, I am a text file", "no checkpoint")
    for share in (0.01, 0.1, 0.5, 0.99):
        refused(good[: int(len(good) * share)], "no checkpoint, or a damaged one")
    refused({"state_dict": {}}, "not a checkpoint of this project")
    refused(torch.zeros(3), "not a checkpoint of this project")
    refused(payload | {"format_version": 99}, "format version 99")
    refused(payload | {"config": "model: {latent_dim: 9}"}, "weights do not fit its config")
    refused(payload | {"config": "modle: 3"}, "no such setting")
    refused(payload | {"config": 3}, "it has no config")
    refused(payload | {"state_dict": {}}, "weights do not fit")
    with zipfile.ZipFile(tmp_path / "y.ckpt", "w") as archive:
        archive.writestr("a.txt", "a")
    refused((tmp_path / "y.ckpt").read_bytes(), "no checkpoint")


def test_a_path_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(VAEError, match="--ckpt: no such file"):
        checkpoint.read(tmp_path / "nope.ckpt")
    with pytest.raises(VAEError, match="--ckpt: .* is a folder. Give the checkpoint in it"):
        checkpoint.read(tmp_path)


def test_a_save_that_fails_keeps_the_last_one_and_leaves_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    checkpoint.write({"a": 1}, path)

    def full_disk(payload, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write({"a": 2}, path)
    assert torch.load(path, weights_only=True) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_is_on_the_disk_before_it_takes_the_place_of_the_last(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (done.append(name), real(*args)))
    checkpoint.write({"a": 1}, tmp_path / "last.ckpt")
    assert done == ["fsync", "replace", "fsync"], "the file, then its name"


@pytest.mark.parametrize("links", [True, False])
def test_a_kept_checkpoint_stays_when_the_next_is_written(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    last, best = tmp_path / "last.ckpt", tmp_path / "best.ckpt"
    for epoch in (1, 2):
        checkpoint.write({"epoch": epoch}, last)
        checkpoint.keep(last, best)
    checkpoint.write({"epoch": 3}, last)
    assert torch.load(best) == {"epoch": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
