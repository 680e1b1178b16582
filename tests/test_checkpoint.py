import json
import os
import pickle
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from conftest import build_network
from vae_simpsons import VAE, checkpoint
from vae_simpsons.checkpoint import DIGEST, KEY, Checkpoint, digest, read_checkpoint, write_checkpoint
from vae_simpsons.configfile import from_flat, parse_yaml
from vae_simpsons.errors import VAEError
from vae_simpsons.loading import load_network
from vae_simpsons.models import build_autoencoder
from vae_simpsons.training.runfolder import find_last

TYPES = (torch.float64, torch.float16)


def last(run_folder: Path) -> Checkpoint:
    return read_checkpoint(run_folder / "last.ckpt")


def refusal(path: Path) -> str:
    """The one line that `path` is refused with."""
    with pytest.raises(VAEError) as caught:
        load_network(read_checkpoint(path))
    line = str(caught.value)
    assert "\n" not in line and line.startswith("path: ") and str(path) in line
    return line


def write_forged(source: Path, path: Path, tensors: dict | None = None, **changes) -> Path:
    """A checkpoint like `source` with other tensors or another description, and a digest that fits."""
    content = source.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    described = json.loads(header["__metadata__"][KEY]) | changes
    described = {key: value for key, value in described.items() if value is not ... and key != DIGEST}
    tensors = safetensors.torch.load(content) if tensors is None else tensors
    described[DIGEST] = digest(described, tensors)
    path.write_bytes(safetensors.torch.save(tensors, {KEY: json.dumps(described)}))
    return path


def test_it_is_all_that_is_needed(run_folder, tmp_path):
    shutil.copy(run_folder / "last.ckpt", tmp_path / "alone.ckpt")
    model = VAE.load(tmp_path / "alone.ckpt")
    assert model.sample(3).shape == (3, 3, 32, 32)
    assert model.settings.model.latent_dim == 8 and model.epochs == 2
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    assert model.reconstruct(x).shape == x.shape
    mu, log_var = model.encode(x)
    assert mu.shape == log_var.shape == (2, 8)
    assert torch.equal(model.decode(mu), model.reconstruct(x))
    with pytest.raises(VAEError, match="n: 0 is not accepted"):
        model.sample(0)


def test_anyone_can_load_the_weights_with_safetensors_alone(run_folder):
    tensors = safetensors.torch.load_file(run_folder / "last.ckpt")
    prefix = "network."
    weights = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    build_network(32, (8, 16, 16), 8).load_state_dict(weights)
    assert {name.split(".")[0] for name in tensors} == {"network", "optimizer", "epoch_sums"}


def test_what_is_written_is_what_is_read(run_folder, tmp_path):
    before = last(run_folder)
    write_checkpoint(replace(before, path=tmp_path / "again.ckpt"))
    after = read_checkpoint(tmp_path / "again.ckpt")
    assert (after.settings, after.epochs, after.figures) == (before.settings, before.epochs, before.figures)
    assert after.position == before.position and after.position.steps == 6
    assert after.tensors.keys() == before.tensors.keys()
    assert all(torch.equal(after.tensors[name], before.tensors[name]) for name in before.tensors)


def test_equal_runs_leave_equal_files(run_folder, tmp_path):
    write_checkpoint(replace(last(run_folder), path=tmp_path / "again.ckpt"))
    assert (tmp_path / "again.ckpt").read_bytes() == (run_folder / "last.ckpt").read_bytes()


def test_nothing_is_ever_unpickled(tmp_path, run_folder, monkeypatch):
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    last(run_folder)
    for name, content in (("a", pickle.dumps(1)), ("b", b"PK\3\4" + bytes(100))):
        (tmp_path / name).write_bytes(content)
        assert "could run code and is not read" in refusal(tmp_path / name)


def test_a_damaged_or_renamed_file_is_named_for_what_it_is(tmp_path, run_folder):
    good, path = (run_folder / "last.ckpt").read_bytes(), tmp_path / "x.ckpt"

    def refusal_of(content: bytes) -> str:
        path.write_bytes(content)
        return refusal(path)

    header = int.from_bytes(good[:8], "little")
    assert "is damaged: it is cut short" in refusal_of(good[: header // 2])
    for cut in (8 + header, len(good) // 2, len(good) - 1):
        assert "is damaged: " in refusal_of(good[:cut])
    for flipped_byte in (8 + header, (8 + header + len(good)) // 2, len(good) - 1):
        flipped = bytearray(good)
        flipped[flipped_byte] ^= 1
        assert "is damaged: its bytes are not those that were written" in refusal_of(bytes(flipped))
    for number in range(40):  # bytes all over the header; a figure's 17th digit may stand for the same number
        flipped = bytearray(good)
        flipped[8 + number * header // 40] ^= 1
        path.write_bytes(bytes(flipped))
        with suppress(VAEError):
            same, whole = read_checkpoint(path), last(run_folder)
            assert (same.settings, same.figures, same.position) == (whole.settings, whole.figures, whole.position)
    assert "is an empty file" in refusal_of(b"")
    assert "is a text file" in refusal_of(b"hello, I am a text file")
    assert "is a PNG image" in refusal_of((run_folder / "pictures" / "samples_0001.png").read_bytes())
    assert "begins with zeros" in refusal_of(bytes(1000))
    assert "of an unknown kind" in refusal_of(bytes(range(200, 250)))


def test_another_projects_file_is_named(tmp_path, run_folder):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"unet.weight": torch.zeros(2)}, path)
    assert "another's safetensors file (unet.weight ...)" in refusal(path)
    source = run_folder / "last.ckpt"
    assert "has format version 99, and this program reads 1" in refusal(write_forged(source, path, format_version=99))
    assert "has format version None" in refusal(write_forged(source, path, format_version=...))


def test_a_file_that_claims_more_than_it_holds_is_refused(tmp_path, run_folder):
    path = tmp_path / "x.ckpt"
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}, "__metadata__": {KEY: "{}"}}
    )
    for length in (len(header), 2**60):
        path.write_bytes(length.to_bytes(8, "little") + header.encode() + bytes(64))
        assert refusal(path)
    monstrous = {"data": {"image_size": 4096}, "model": {"widths": [65536, 65536], "latent_dim": 1000000}}
    path = write_forged(run_folder / "last.ckpt", path, {}, settings=monstrous)
    assert "2,147,483,648 are the most" in refusal(path)
    with pytest.raises(VAEError, match="are the most"):
        build_autoencoder(from_flat(parse_yaml(json.dumps(monstrous), "f")))
    large = {"model": {"widths": [2048, 2048]}}  # 1.3 GB of weights
    assert "is missing, and should be" in refusal(write_forged(run_folder / "last.ckpt", path, {}, settings=large))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"settings": {"model": {"latent_dim": 9}}},
            "its tensors do not fit its settings (encoder.stages.0.0",
        ),
        ({"settings": {"modle": 3}}, "modle: no such setting"),
        ({"settings": {"data": {"image_size": 65}}}, "data.image_size: 65"),
        ({"settings": 3}, "not a mapping"),
        ({"settings": ...}, "not a mapping"),
        ({"epochs": -1}, "epochs is -1"),
        ({"epochs": True}, "epochs is True"),
        ({"figures": {"val/mse": "small"}}, "its figures are not numbers"),
        ({"position": {"stage": "autoencoder"}}, "its position in the run is incomplete"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path, run_folder, changes, reason):
    assert reason in refusal(write_forged(run_folder / "last.ckpt", tmp_path / "x.ckpt", **changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("steps", 2**40),
        ("epochs", 1.5),
        ("epoch_steps", 7),
        ("best", "low"),
        ("epoch_s", None),
        ("stage", 3),
    ],
)
def test_a_position_that_cannot_be_is_refused(tmp_path, run_folder, name, value):
    position = vars(last(run_folder).position) | {name: value}
    line = refusal(write_forged(run_folder / "last.ckpt", tmp_path / "x.ckpt", position=position))
    assert f"{name} is" in line or "not possible" in line


def test_weights_of_another_type_are_refused(tmp_path, run_folder):
    """But for halves, which an export may have."""
    good, path = last(run_folder).tensors, tmp_path / "x.ckpt"
    doubles, halves = ({n: t.to(to) if t.is_floating_point() else t for n, t in good.items()} for to in TYPES)
    assert "float64, and should be" in refusal(write_forged(run_folder / "last.ckpt", path, doubles))
    network = load_network(read_checkpoint(write_forged(run_folder / "last.ckpt", path, halves)))
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_a_path_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(VAEError, match="path: no such file.*, or the name of a shipped model: toons"):
        read_checkpoint(tmp_path / "nope.ckpt")
    with pytest.raises(VAEError, match="path: .* is a folder. There is no last.ckpt in it. Give the last.ckpt or"):
        read_checkpoint(tmp_path)
    inside = tmp_path / "toons" / "now" / "last.ckpt"
    inside.parent.mkdir(parents=True)
    inside.touch()
    for folder in (tmp_path, *inside.parents[:2]):
        with pytest.raises(VAEError, match=f"path: .* is a folder. Give the checkpoint in it, say {inside}."):
            read_checkpoint(folder)
    assert find_last(str(inside.parent), None, "*") == inside and find_last(str(tmp_path), None, "*") == tmp_path
    with pytest.raises(VAEError, match="path: .* is not a file"):
        read_checkpoint(Path(os.devnull))


@pytest.fixture
def small(tmp_path) -> Checkpoint:
    return Checkpoint(tmp_path / "last.ckpt", from_flat({}), {"network.a": torch.zeros(3)}, epochs=1)


def test_a_save_that_fails_keeps_the_last_one_and_leaves_no_litter(small, monkeypatch):
    write_checkpoint(small)

    def full_disk(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "sync_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(replace(small, epochs=2))
    assert read_checkpoint(small.path).epochs == 1
    assert list(small.path.parent.iterdir()) == [small.path]


def test_a_save_is_on_the_disk_before_it_replaces_the_last(small, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args)))
    write_checkpoint(small)
    assert calls == ["fsync", "replace", "fsync"], "the file, then its name"
