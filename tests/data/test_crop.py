"""What is kept of a picture, held against Pillow's own crop and resize of the upright picture."""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from vae_simpsons.data.dataset import source_of
from vae_simpsons.data.decode import crop_box, decode_image, jpeg_reduction, prepare_picture
from vae_simpsons.data.folder import find_files
from vae_simpsons.data.pack import open_pack, pack_name
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import Data

SIZES = [(24, 40), (40, 24), (32, 32), (16, 64)]  # height, width
PICTURES = [(120, 80), (80, 120), (100, 100), (41, 97), (300, 30)]  # width, height; the first two leave even margins


def noise(width: int, height: int) -> Image.Image:
    """No two places of it are alike; smooth enough that one resampling is like another."""
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def in_pillow(picture: Image.Image, height: int, width: int, share: float = 1) -> np.ndarray:
    """The middle of `picture`: the largest part that is `height` to `width`, or that share of it, (3, H, W)."""
    scale = min(picture.width / width, picture.height / height) * share
    size = (round(scale * width), round(scale * height))
    left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
    part = picture.crop((left, top, left + size[0], top + size[1]))
    return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """`picture` as a camera stores it that says that `orientation`."""
    back = {6: 8, 8: 6}.get(orientation, orientation)
    for_camera = Image.Exif()
    for_camera[0x0112] = back
    picture.getexif()[0x0112] = back
    stored = ImageOps.exif_transpose(picture)
    stored.getexif()[0x0112] = orientation
    return stored


def difference(found, expected: np.ndarray) -> int:
    """The largest difference of any two pixels, grey levels."""
    assert found.shape == expected.shape
    return int(np.abs(np.asarray(found, dtype=int) - expected).max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("picture", PICTURES)
def test_the_largest_part_of_the_shape_is_kept(tmp_path, size, picture):
    noise(*picture).save(tmp_path / "a.png")
    expected = in_pillow(Image.open(tmp_path / "a.png"), *size)
    assert difference(decode_image(tmp_path / "a.png", Data(image_size=size)).pixels, expected) <= 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("picture", PICTURES[:2])
def test_of_a_turned_photo_the_upright_picture_is_cropped(tmp_path, size, orientation, picture):
    stored = turned(noise(*picture), orientation)
    stored.save(tmp_path / "a.png", exif=stored.getexif())
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "a.png"))
    assert upright.size == picture and difference(np.asarray(upright), np.asarray(noise(*picture))) == 0
    data = Data(image_size=size)
    found = decode_image(tmp_path / "a.png", data).pixels
    assert difference(found, in_pillow(upright, *size)) <= 2
    assert difference(prepare_picture(stored, data), found.numpy()) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_needs_no_resizing_is_kept_to_the_bit(tmp_path, orientation):
    stored = turned(noise(60, 24), orientation)  # 40 of 60 columns
    stored.save(tmp_path / "a.png", exif=stored.getexif())
    found = decode_image(tmp_path / "a.png", Data(image_size=(24, 40))).pixels
    assert difference(found, np.asarray(noise(60, 24).crop((10, 0, 50, 24))).transpose(2, 0, 1)) == 0


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_smaller_and_gives_the_same(tmp_path, orientation):
    stored = turned(noise(960, 640), orientation)
    stored.save(tmp_path / "a.jpg", quality=95, exif=stored.getexif())
    data = Data(image_size=(24, 40))
    assert jpeg_reduction(*stored.size, data) == 4
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    assert difference(decode_image(tmp_path / "a.jpg", data).pixels, in_pillow(upright, 24, 40)) <= 4


@pytest.mark.parametrize("size", SIZES)
def test_resize_keeps_a_smaller_middle_of_the_same_shape(tmp_path, size):
    noise(200, 160).save(tmp_path / "a.png")
    data = Data(image_size=size, resize=2 * min(size))
    expected = in_pillow(Image.open(tmp_path / "a.png"), *size, share=0.5)
    assert difference(decode_image(tmp_path / "a.png", data).pixels, expected) <= 1


@pytest.mark.parametrize("orientation", [1, 6])
def test_without_a_crop_all_of_it_is_squeezed(tmp_path, orientation):
    stored = turned(noise(120, 80), orientation)
    stored.save(tmp_path / "a.png", exif=stored.getexif())
    expected = np.asarray(noise(120, 80).resize((24, 40), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    data = Data(image_size=(40, 24), crop="none")
    assert difference(decode_image(tmp_path / "a.png", data).pixels, expected) <= 2


def square_box(width: int, height: int, side: int, resize: int | None) -> tuple[int, int, int, int]:
    """The box as it was when all images were square."""
    spare = min(width, height) / (3 * (resize or side))
    step = max((factor for factor in (8, 4, 2) if factor <= spare), default=1)
    kept = max(1, round(min(width, height) * side / (resize or side))) // step * step
    return (width - kept) // 2 // step * step, (height - kept) // 2 // step * step, kept, kept


def test_a_square_is_cropped_as_ever():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        width, height = rng.integers(1, rng.choice([70, 1000, 65536]), 2).tolist()
        side = int(rng.integers(1, 300))
        resize = None if rng.random() < 0.3 else int(rng.integers(side, 3 * side + 1))
        for given in (side, (side, side)):
            data = Data(image_size=given, resize=resize)
            assert crop_box(width, height, data) == square_box(width, height, side, resize)


def test_any_box_lies_in_the_picture_and_is_not_empty():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        width, height = rng.integers(1, rng.choice([4, 70, 3000]), 2).tolist()
        size = tuple(rng.integers(1, 200, 2).tolist())
        data = Data(image_size=size, resize=None if rng.random() < 0.5 else int(min(size) * rng.integers(1, 4)))
        left, top, box_width, box_height = crop_box(width, height, data)
        assert left >= 0 <= top and 0 < box_width <= width - left and 0 < box_height <= height - top


def test_a_pack_is_named_after_its_size_and_a_square_one_as_ever(tmp_path):
    noise(60, 60).save(tmp_path / "a.png")
    files = find_files(tmp_path)
    names = {size: pack_name(tmp_path, files, Data(image_size=size)) for size in (64, (64, 64), (64, 96), (96, 64))}
    assert names[64] == names[64, 64] and "-64px-" in names[64]
    assert "-64x96px-" in names[64, 96] and "-96x64px-" in names[96, 64] and len(set(names.values())) == 3


def test_a_pack_of_any_shape_is_made_and_found_again(tmp_path):
    (tmp_path / "pics").mkdir()
    noise(60, 60).save(tmp_path / "pics" / "a.png")
    data = Data(image_size=(16, 24), cache_dir=str(tmp_path / "kept"))
    first, again = (open_pack(tmp_path / "pics", data, no_progress) for _ in range(2))
    assert first.folder == again.folder and first.pixels.shape == again.pixels.shape == (1, 3, 16, 24)
    assert json.loads((first.folder / "index.json").read_text())["paths"] == ["a.png"]


def test_toons_are_drawn_as_high_and_wide_as_the_larger_side_and_cropped(tmp_path):
    data = Data(toons=3, image_size=(16, 32), cache_dir=str(tmp_path / "kept"))
    source = source_of(data, no_progress)
    assert source.name.endswith("-32px")
    assert source == source_of(Data(toons=3, image_size=32, cache_dir=data.cache_dir), no_progress)
    pack = open_pack(source, data, no_progress)
    drawn = np.asarray(Image.open(source / pack.index.paths[0])).transpose(2, 0, 1)
    assert difference(pack.pixels[0], drawn[:, 8:24]) == 0
