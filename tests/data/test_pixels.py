import numpy as np
import pytest
from PIL import Image

from conftest import draw_pictures
from vae_simpsons.data.folder import find_images
from vae_simpsons.data.pixels import load_pixels
from vae_simpsons.errors import VAEError


def broken(folder, names):
    for name in names:
        (folder / name).write_bytes(b"this is no picture")


def test_pixels_come_in_the_order_of_their_paths(tmp_path):
    for level in (30, 10, 20):
        Image.new("L", (8, 8), level).save(tmp_path / f"{level}.png")
    pixels = load_pixels(find_images(tmp_path), 8, 1)
    assert pixels.data[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_unreadable_images_are_named_and_left_out(tmp_path):
    folder = draw_pictures(tmp_path, 30)
    broken(folder / "class_0", ["bad.jpg"])
    (folder / "class_1" / "empty.png").write_bytes(b"")
    (folder / "class_1" / "cut.png").write_bytes((folder / "class_1" / "pic_0001.png").read_bytes()[:60])
    seen = []
    pixels = load_pixels(find_images(folder), 16, 3, seen.append)
    assert {u.path.name for u in pixels.unreadable} == {"bad.jpg", "empty.png", "cut.png"}
    assert all(u.reason for u in pixels.unreadable)
    assert pixels.data.shape == (30, 3, 16, 16) and len(pixels.paths) == 30
    assert pixels.data.flatten(1).float().std(1).min() > 0, "no row was left empty"
    assert seen == list(range(1, 34))


def test_more_than_a_tenth_unreadable_stops(tmp_path):
    folder = draw_pictures(tmp_path, 18)
    broken(folder, ["a.jpg", "b.jpg"])
    assert len(load_pixels(find_images(folder), 16, 3).unreadable) == 2
    broken(folder, ["c.jpg"])
    with pytest.raises(VAEError, match=r"data.path: 3 of 21 images are unreadable, the first .*a.jpg \(.*10%"):
        load_pixels(find_images(folder), 16, 3)


def test_many_more_images_than_wait_at_a_time(tmp_path):
    for i in range(600):
        Image.new("L", (4, 4), i % 256).save(tmp_path / f"{i:04d}.png")
    data = load_pixels(find_images(tmp_path), 4, 1).data
    assert np.array_equal(data[:, 0, 0, 0].numpy(), np.arange(600) % 256)
