import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch

from vae_simpsons import VAE, checkpoint
from vae_simpsons.checkpoint import read
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat, parse_yaml, to_yaml
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


def saved(payload, path: Path) -> Path:
    torch.save(payload, path)
    return path


def payload_of(run_folder: Path) -> dict:
    return torch.load(run_folder / "last.ckpt", weights_only=True)


def said_of(path: Path) -> str:
    """The one line that `path` is refused with; what stands before and in its name is left out."""
    with pytest.raises(VAEError) as caught:
        checkpoint.network_of(checkpoint.read(path))
    said = str(caught.value)
    assert "\n" not in said and said.startswith("--ckpt: ") and str(path) in said
    return said


def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path):
    said = said_of(saved({"format": "vae-simpsons", "x": Evil()}, tmp_path / "evil.ckpt"))
    assert f"carries code or foreign objects ({os.name}.mkdir) and is refused; nothing in it was run" in said
    (tmp_path / "evil2.ckpt").write_bytes(pickle.dumps(Evil()))
    assert "a bare pickle, which could run code" in said_of(tmp_path / "evil2.ckpt")
    torch.save({"x": Evil()}, tmp_path / "evil3.ckpt", _use_new_zipfile_serialization=False)
    assert "torch before 1.6" in said_of(tmp_path / "evil3.ckpt")
    assert not (tmp_path / "evil_was_here").exists()


def test_of_a_damaged_or_renamed_file_the_line_says_which(tmp_path, run_folder):
    good = (run_folder / "last.ckpt").read_bytes()
    path = tmp_path / "x.ckpt"

    def said(content: bytes) -> str:
        path.write_bytes(content)
        return said_of(path)

    for share in (0.01, 0.1, 0.5, 0.99):
        assert "is damaged: it is cut short" in said(good[: int(len(good) * share)])
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    assert "is damaged: its bytes are not those that were written (Bad CRC-32" in said(flipped)
    assert "no checkpoint but an empty file" in said(b"")
    assert "no checkpoint but text" in said(b"hello, I am a text file")
    assert "no checkpoint but a PNG image" in said((run_folder / "pictures" / "samples_0001.png").read_bytes())
    assert "begins with zeros" in said(bytes(1000))
    with zipfile.ZipFile(tmp_path / "y.ckpt", "w") as archive:
        archive.writestr("a.txt", "a")
    assert "is a zip archive, and no checkpoint" in said_of(tmp_path / "y.ckpt")


def test_of_a_foreign_checkpoint_the_line_says_whose(tmp_path, run_folder):
    good, path = payload_of(run_folder), tmp_path / "x.ckpt"
    bare = {name: good[name] for name in ("state_dict", "pytorch-lightning_version", "epoch")}
    assert "another Lightning project's (state_dict, pytorch-lightning_version" in said_of(saved(bare, path))
    assert "the bare weights of some network (network.encoder" in said_of(saved(dict(good["state_dict"]), path))
    network = VAE.load(run_folder / "last.ckpt").network
    assert "the bare weights of some network (encoder" in said_of(saved(network.state_dict(), path))
    assert "another's (model)" in said_of(saved({"model": {}}, path))
    assert "a Tensor that torch saved" in said_of(saved(torch.zeros(3), path))
    assert "format version 99, newer than this program reads (1 to 2)" in said_of(
        saved(good | {"format_version": 99}, path)
    )
    assert "format version 0, older than this" in said_of(saved(good | {"format_version": 0}, path))
    assert "does not say its format version" in said_of(saved(good | {"format_version": "1"}, path))


def test_one_of_the_first_format_is_read_and_gone_on_with(tmp_path, run_folder, pictures):
    """Version 1 knew no interrupted epochs, and kept of callbacks only which epoch was best."""
    payload = payload_of(run_folder)
    del payload["interrupted"], payload["is_best"], payload["callbacks"]["MetricsTable"]
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copy(run_folder / "split.csv", folder)
    path = saved(payload | {"format_version": 1}, folder / "last.ckpt")
    assert main(["sample", "--ckpt", str(path), "-n", "1"]) == 0
    assert main(["train", "--resume", str(path), "--trainer.max_epochs", "3"]) == 0
    assert read(path).epochs == 3


def test_one_whose_weights_are_a_modules_own_state_dict_is_read(tmp_path, run_folder):
    """As the checkpoints of before training wrote copies are: torch gives a state_dict an attribute, _metadata."""
    state = torch.nn.ModuleDict({"network": VAE.load(run_folder / "last.ckpt").network}).state_dict()
    path = saved(payload_of(run_folder) | {"state_dict": state}, tmp_path / "x.ckpt")
    assert torch.equal(VAE.load(path).sample(3), VAE.load(run_folder / "last.ckpt").sample(3))


def test_what_does_not_fit_together_is_refused(tmp_path, run_folder):
    good, path = payload_of(run_folder), tmp_path / "x.ckpt"
    said = said_of(saved(good | {"config": "model: {latent_dim: 9}"}, path))
    assert "its weights do not fit its config (encoder.stages.0.0.weight is 8x3x3x3 float32, and should be 32x3" in said
    assert "no such setting" in said_of(saved(good | {"config": "modle: 3"}, path))
    assert "the config inside" in said_of(saved(good | {"config": "data: {image_size: 65}"}, path))
    assert "it has no config" in said_of(saved(good | {"config": 3}, path))
    assert "epochs_done is -1" in said_of(saved(good | {"epochs_done": -1}, path))
    assert "is missing, and should be" in said_of(saved(good | {"state_dict": {}}, path))
    halves = {name: w.half() for name, w in good["state_dict"].items()}
    assert "float16, and should be" in said_of(saved(good | {"state_dict": halves}, path))


def test_a_small_file_cannot_ask_for_much_memory(tmp_path, run_folder):
    good, path = payload_of(run_folder), tmp_path / "x.ckpt"
    monstrous = "data: {image_size: 4096}\nmodel: {widths: [65536, 65536], latent_dim: 1000000}"
    assert "2,147,483,648 are the most" in said_of(saved(good | {"config": monstrous, "state_dict": {}}, path))
    with pytest.raises(VAEError, match="are the most"):
        checkpoint.build_network(from_flat(parse_yaml(monstrous, "f")))
    large = parse_yaml("model: {widths: [2048, 2048]}", "f")  # 1.3 GB of weights, each a view of one number
    shapes = checkpoint.outline(from_flat(large)).state_dict()
    views = {f"network.{name}": torch.zeros((), dtype=w.dtype).expand(w.shape) for name, w in shapes.items()}
    content = good | {"config": to_yaml(from_flat(large)), "state_dict": views}
    assert ", and they take 1,260,995,628" in said_of(saved(content, path)) and path.stat().st_size < 200_000


def test_a_path_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(VAEError, match="--ckpt: no such file"):
        checkpoint.read(tmp_path / "nope.ckpt")
    with pytest.raises(VAEError, match="--ckpt: .* is a folder. Give the checkpoint in it"):
        checkpoint.read(tmp_path)
    with pytest.raises(VAEError, match="--ckpt: .* is no file"):
        checkpoint.read(Path(os.devnull))


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
