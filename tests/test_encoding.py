from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vae_simpsons import encoding, sampling
from vae_simpsons.data.index import Facts, Index
from vae_simpsons.data.pack import Pack
from vae_simpsons.images import normalise
from vae_simpsons.models import ConvVAE
from vae_simpsons.progress import no_progress

HEADER_BYTES = 128


def network(variational: bool = True) -> ConvVAE:
    torch.manual_seed(0)
    return ConvVAE(3, 32, (8, 16), 8, variational).eval()


def pack_of(count: int, tmp_path) -> Pack:
    """Random pixels under names in two folders."""
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
    paths = [f"class_{i % 2}/{i}.png" for i in range(count)]
    return Pack(tmp_path, pixels, Index(paths, [Facts("", 32, 32, "PNG", "RGB")] * count, list(range(count))))


def test_the_files_hold_what_the_network_says_in_the_order_of_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "block_size", lambda image_size: 4)
    model, pack = network(), pack_of(21, tmp_path)
    made = encoding.write(model, pack, tmp_path, no_progress)
    assert [path.name for path in made] == ["mu.npy", "log_var.npy", "images.csv"]
    with torch.no_grad():
        expected = model.encode(normalise(pack.pixels))
    for path, figures in zip(made, expected, strict=False):
        found = np.load(path)
        assert found.dtype == np.float32 and found.shape == (21, 8)
        np.testing.assert_allclose(found, figures, rtol=1e-4, atol=1e-5)
    rows = made[2].read_text().splitlines()
    assert rows[:3] == ["path,class", "class_0/0.png,class_0", "class_1/1.png,class_1"] and len(rows) == 22


def test_blocks_are_on_the_disk_before_the_last_one_is_encoded(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "block_size", lambda image_size: 64)
    model, blocks = network(), 40
    encode, sizes = model.encode, []

    def watched(x):
        sizes.append((tmp_path / "mu.npy").stat().st_size)
        return encode(x)

    monkeypatch.setattr(model, "encode", watched)
    encoding.write(model, pack_of(64 * blocks, tmp_path), tmp_path, no_progress)
    under_way = 2 * torch.get_num_threads() + 4  # blocks that wait, and what a file holds back
    assert sorted(sizes) == sizes and sizes[-1] >= HEADER_BYTES + (blocks - under_way) * 64 * 8 * 4


def test_an_autoencoder_has_mu_alone(tmp_path):
    model, pack = network(variational=False), pack_of(3, tmp_path)
    assert [path.name for path in encoding.write(model, pack, tmp_path, no_progress)] == ["mu.npy", "images.csv"]
    assert sampling.encode_images(model, normalise(pack.pixels))[1] is None


def test_a_disk_without_room_is_said_before_anything_is_encoded(tmp_path, monkeypatch):
    usage = lambda path: SimpleNamespace(free=2 * 3 * 8 * 4 - 1)  # noqa: E731
    monkeypatch.setattr("vae_simpsons.files.shutil.disk_usage", usage)
    with pytest.raises(OSError, match="it takes 192 bytes, and 191 bytes are free"):
        encoding.write(network(), pack_of(3, tmp_path), tmp_path, no_progress)
    assert not list(tmp_path.iterdir())
