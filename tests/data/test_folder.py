import os

import numpy as np
import pytest
from PIL import Image

from vae_simpsons.data.folder import find_images, read_image
from vae_simpsons.errors import VAEError


def save(path, colour=(255, 0, 0), size=(8, 8), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def test_images_are_found_at_any_depth_in_any_case_and_sorted(tmp_path):
    for name in ("b/z.JPG", "a.png", "b/c/y.webp", "B.gif"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    save(tmp_path / ".hidden.png")
    save(tmp_path / ".git" / "x.png")
    found = [p.relative_to(tmp_path).as_posix() for p in find_images(tmp_path)]
    assert found == ["B.gif", "a.png", "b/c/y.webp", "b/z.JPG"]


def test_a_link_that_loops_is_not_followed(tmp_path):
    save(tmp_path / "a.png")
    os.symlink(tmp_path, tmp_path / "loop")
    assert len(find_images(tmp_path)) == 1


def test_what_is_no_folder_of_images_is_refused_with_what_was_looked_for(tmp_path):
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    file = save(tmp_path / "a.png")
    with pytest.raises(VAEError, match=r"data.path: no such folder: .*nowhere. Give a folder"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(VAEError, match=r"data.path: no images under .*empty \(2 folders searched for \.jpg"):
        find_images(tmp_path / "empty")
    with pytest.raises(VAEError, match=r"data.path: .*a.png is a file"):
        find_images(file)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_becomes_pixels_of_the_size_asked_for(tmp_path, channels):
    pixels = read_image(save(tmp_path / "a.png", (10, 10, 10), (30, 50)), 16, channels)
    assert pixels.shape == (channels, 16, 16) and pixels.dtype == np.uint8
    assert (pixels == 10).all()


def test_the_centre_is_kept_and_nothing_is_squashed(tmp_path):
    wide = Image.new("RGB", (90, 30), "black")
    wide.paste("white", (30, 0, 60, 30))
    wide.save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "wide.png", 30, 3) == 255).all()


def test_shrinking_is_antialiased(tmp_path):
    fine = np.indices((128, 128)).sum(0) % 2 * 255
    Image.fromarray(fine.astype(np.uint8)).save(tmp_path / "board.png")
    assert abs(read_image(tmp_path / "board.png", 16, 1).astype(int) - 127).max() <= 4


def test_the_camera_may_be_held_sideways(tmp_path):
    picture = Image.new("RGB", (40, 40), "black")
    picture.paste("white", (0, 0, 40, 20))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    picture.save(tmp_path / "a.jpg", exif=exif, quality=100)
    pixels = read_image(tmp_path / "a.jpg", 20, 1)[0]
    assert pixels[:, 15:].min() > 200 and pixels[:, :5].max() < 50


def test_modes_other_than_rgb_are_converted(tmp_path):
    see_through = save(tmp_path / "rgba.png", (255, 0, 0, 0), mode="RGBA")
    assert (read_image(see_through, 8, 3) == 255).all(), "transparent is white"
    assert read_image(save(tmp_path / "cmyk.jpg", (0, 0, 0, 0), mode="CMYK"), 8, 3).min() > 250
    assert (read_image(save(tmp_path / "p.gif", 0, mode="P"), 8, 3)).shape == (3, 8, 8)
    deep = np.full((8, 8), 128 * 257, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png", 8, 1) == 128).all()
