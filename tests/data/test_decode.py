"""Every odd file comes out right, or with the reason why not."""

import io
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from vae_simpsons.data.decode import crop_and_resize, crop_box, decode_block, decode_image, jpeg_reduction
from vae_simpsons.data.folder import File, find_files
from vae_simpsons.settings import Data


def view(size=16, channels=3, **settings):
    return Data(image_size=size, channels=channels, **settings)


def scene(width=64, height=48, mode="RGB"):
    """Something smooth with edges: JPEG keeps it, and turning or cropping it shows."""
    down, across = np.mgrid[0:height, 0:width] / max(width, height)
    rgb = np.stack([255 * across, 255 * down, 127 + 120 * np.sin(12 * (across + down))], axis=2)
    rgb[height // 3 : height // 2, width // 4 : width // 2] = (250, 220, 30)
    return Image.fromarray(rgb.astype(np.uint8)).convert(mode)


def reference(image, size):
    """As Pillow crops and resizes, in full."""
    side, (width, height) = min(image.size), image.size
    left, top = (width - side) // 2, (height - side) // 2
    square = image.convert("RGB").crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def rmse(a, b):
    return float(np.sqrt(np.mean((np.asarray(a, dtype=float) - np.asarray(b, dtype=float)) ** 2)))


def reason(path, data=None):
    """Why the file at `path` is not used; None if it is."""
    (outcome,), pixels, _ = decode_block(path.parent, [File(path.name, 0, 0)], data or view())
    assert len(pixels) == (0 if isinstance(outcome, str) else 1)
    return outcome if isinstance(outcome, str) else None


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_becomes_pixels_of_the_size_asked_for(tmp_path, channels):
    Image.new("RGB", (30, 50), (10, 10, 10)).save(tmp_path / "a.png")
    pixels, facts, _ = decode_image(tmp_path / "a.png", view(16, channels))
    assert pixels.shape == (channels, 16, 16) and (pixels == 10).all()
    assert (facts.width, facts.height, facts.format, facts.mode) == (30, 50, "PNG", "RGB")


FORMATS = [("jpg", {"quality": 95}), ("png", {}), ("webp", {"lossless": True}), ("bmp", {}), ("tiff", {})]


@pytest.mark.parametrize(("ending", "options"), [*FORMATS, ("jpg", {"quality": 95, "progressive": True})])
@pytest.mark.parametrize("size", [8, 32, 64])
def test_every_format_gives_what_pillow_gives(tmp_path, ending, options, size):
    scene(96, 80).save(tmp_path / f"a.{ending}", **options)
    expected = reference(Image.open(tmp_path / f"a.{ending}"), size)
    assert rmse(decode_image(tmp_path / f"a.{ending}", view(size)).pixels, expected) < 1.5


def test_the_centre_is_kept_and_nothing_is_squashed(tmp_path):
    wide = Image.new("RGB", (90, 30), "black")
    wide.paste("white", (30, 0, 60, 30))
    wide.save(tmp_path / "wide.png")
    assert (decode_image(tmp_path / "wide.png", view(30)).pixels == 255).all()


def test_without_a_crop_all_of_it_is_squeezed(tmp_path):
    wide = Image.new("L", (90, 30), "black")
    wide.paste("white", (45, 0, 90, 30))
    wide.save(tmp_path / "wide.png")
    pixels = decode_image(tmp_path / "wide.png", view(30, 1, crop="none")).pixels[0]
    assert (pixels[:, :13] == 0).all() and (pixels[:, 17:] == 255).all()


def test_resize_sets_the_short_side_that_the_crop_is_cut_from(tmp_path):
    framed = Image.new("L", (80, 40), "black")
    framed.paste("white", (30, 10, 50, 30))  # the middle half
    framed.save(tmp_path / "a.png")
    assert (decode_image(tmp_path / "a.png", view(16, 1, resize=32)).pixels == 255).all()
    assert (decode_image(tmp_path / "a.png", view(16, 1)).pixels == 0).any()


def test_shrinking_is_antialiased(tmp_path):
    fine = np.indices((128, 128)).sum(0) % 2 * 255
    Image.fromarray(fine.astype(np.uint8)).save(tmp_path / "board.png")
    assert abs(decode_image(tmp_path / "board.png", view(16, 1)).pixels.int() - 127).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
def test_the_camera_may_be_held_in_any_way(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if ending == "tiff" else {"quality": 100}
    scene(64, 48).save(tmp_path / f"a.{ending}", exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / f"a.{ending}"))
    assert rmse(decode_image(tmp_path / f"a.{ending}", view(16)).pixels, reference(upright, 16)) < 2


def save(path, image, **options):
    image.save(path, **options)
    return path


def test_transparency_is_over_white(tmp_path):
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 20, 10))
    for path in (save(tmp_path / "a.png", clear), save(tmp_path / "a.webp", clear, lossless=True)):
        pixels = decode_image(path, view(20)).pixels
        assert (pixels[:, 12:] == 255).all() and pixels[:, 2, 2].tolist() == [0, 0, 255]
    faint = save(tmp_path / "la.png", Image.new("LA", (8, 8), (0, 128)))
    assert abs(int(decode_image(faint, view(8, 1)).pixels[0, 0, 0]) - 127) <= 1
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert (decode_image(save(tmp_path / "p.png", palette, transparency=0), view(8)).pixels == 255).all()


def test_palettes_greys_cmyk_bits_and_floats(tmp_path):
    grey = Image.new("L", (8, 8), 100)
    assert (decode_image(save(tmp_path / "l.jpg", grey, quality=100), view(8, 3)).pixels == 100).all()
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 0, 200, 0])
    assert decode_image(save(tmp_path / "p.gif", palette), view(8)).pixels[:, 0, 0].tolist() == [0, 200, 0]
    assert decode_image(save(tmp_path / "c.jpg", Image.new("CMYK", (8, 8), (0, 0, 0, 0))), view(8)).pixels.min() > 250
    assert (
        decode_image(save(tmp_path / "c.tif", Image.new("CMYK", (8, 8), (0, 255, 255, 0))), view(8)).pixels[0].min()
        > 200
    )
    assert (decode_image(save(tmp_path / "one.png", Image.new("1", (8, 8), 1)), view(8)).pixels == 255).all()
    deep = Image.fromarray(np.full((8, 8), 200 * 257, dtype=np.uint16))
    assert (decode_image(save(tmp_path / "deep.png", deep), view(8, 1)).pixels == 200).all()
    real = Image.fromarray(np.full((8, 8), 77.4, dtype=np.float32))
    assert (decode_image(save(tmp_path / "real.tif", real), view(8, 1)).pixels == 77).all()


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tiff"])
def test_of_an_animation_the_first_frame(tmp_path, ending):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    path = save(tmp_path / f"a.{ending}", frames[0], save_all=True, append_images=frames[1:])
    red, green, blue = decode_image(path, view(8)).pixels[:, 4, 4].tolist()
    assert red > 240 and green < 15 and blue < 15


def test_what_a_file_is_its_content_says(tmp_path):
    scene().save(tmp_path / "png.jpg", format="PNG")
    scene().save(tmp_path / "jpeg.png", format="JPEG")
    scene().save(tmp_path / "gif.jpg", format="GIF")
    files = find_files(tmp_path)
    outcomes = decode_block(tmp_path, files, view()).outcomes
    found = {file.path: facts.format for file, facts in zip(files, outcomes, strict=True)}
    assert found == {"png.jpg": "PNG", "jpeg.png": "JPEG", "gif.jpg": "GIF"}


def png_that_says(width, height):
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def half(image_format):
    stream = io.BytesIO()
    scene().save(stream, image_format)
    return stream.getvalue()[: len(stream.getvalue()) // 2]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"Dear diary, this is no picture.", "not an image"),
        (b"P6\n1 1\n255\n\0\0\0", "not an image"),  # a PPM, which Pillow knows and we do not try
        (half("JPEG"), "truncated"),
        (half("PNG"), "truncated"),
        (half("WEBP"), ""),
        (png_that_says(100_000, 100_000), "decompression bomb"),
        (png_that_says(10_000, 10_000), "10000x10000, more than 67,108,864 pixels"),
    ],
    ids=["empty", "text", "ppm", "half a jpeg", "half a png", "half a webp", "bomb", "large"],
)
def test_what_is_no_image_is_named_with_its_reason(tmp_path, content, said):
    (tmp_path / "a.jpg").write_bytes(content)
    found = reason(tmp_path / "a.jpg")
    assert found is not None and said in found.lower() and "\n" not in found and "object at" not in found


def jpeg_that_says(width, height, scans=1, **options):
    """A JPEG whose header claims any size, and which repeats its last scan."""
    stream = io.BytesIO()
    scene().save(stream, "JPEG", **options)
    raw = bytearray(stream.getvalue())
    frame, scan = max(raw.find(b"\xff\xc0"), raw.find(b"\xff\xc2")), raw.rindex(b"\xff\xda")
    raw[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(raw[:scan] + raw[scan:-2] * scans + raw[-2:])


def filled_in(jpeg):
    """`jpeg` with a fill byte, which is allowed, before its frame's marker: what walks the segments loses its way."""
    frame = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    return jpeg[:frame] + b"\xff" + jpeg[frame:]


def tiff_that_says(width, height, **tags):
    names = {"tile_width": 322, "tile_length": 323, "offset": 324, "length": 325}
    entries = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, **{names[k]: v for k, v in tags.items()}}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(100)


def bmp_that_says(width, height):
    header = struct.pack("<IHHIIiiHHIIiiII", 1200, 0, 0, 1078, 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + header + bytes(1024) + b"\0\2\xff\xff" * 10  # run-length: 255 rows down, 255 pixels on


def png_with_text(kind):
    """A PNG of 8x8 with 20 MB of text, or of a profile, in 20 kB."""
    body = b"a\0\0" + zlib.compress(bytes(20_000_000), 9)
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png_that_says(8, 8)[:33] + chunk + png_that_says(8, 8)[33:]


def gif_that_says(width, height):
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + b"\0\0\0,\0\0\0\0" + size + b"\0\2\0;"


def webp_that_says(width, height):
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF" + struct.pack("<I", 62) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + size + bytes(40)


BOMBS = {
    "png": (png_that_says(8000, 8000), "8000x8000 from 65 bytes, a decompression bomb"),
    "gif": (gif_that_says(8000, 8000), "8000x8000 from"),
    "tiff": (tiff_that_says(8000, 8000, tile_width=16, tile_length=16, offset=150, length=60), "8000x8000 from"),
    "tiff tile": (tiff_that_says(64, 64, tile_width=60000, tile_length=60000, offset=150, length=60), "60000x60000"),
    "webp": (webp_that_says(2**24, 255), "bomb"),
    "bmp": (bmp_that_says(2**26, 1), "67108864x1, a side of more than 65,536 pixels"),
    "jpeg in scans": (jpeg_that_says(12_000, 12_000, progressive=True), "12000x12000, more than 67,108,864 pixels"),
    "jpeg in hidden scans": (filled_in(jpeg_that_says(12_000, 12_000, progressive=True)), "12000x12000, more than"),
    "jpeg in many scans": (jpeg_that_says(64, 48, scans=200, progressive=True), "scans, more than 100"),
    "png text": (png_with_text(b"zTXt"), "truncated"),  # the text is passed over
    "png profile": (png_with_text(b"iCCP"), "truncated"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.skipif(os.name == "nt", reason="resource is of POSIX")
@pytest.mark.parametrize(("content", "said"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_before_it_takes_memory_or_time(tmp_path, content, said):
    import resource

    (tmp_path / "a.jpg").write_bytes(content)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    assert said in reason(tmp_path / "a.jpg")
    assert time.monotonic() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0" + 100 * b"\xff\xda"], ids=["plain", "with the scans of a thumbnail"])
def test_a_large_jpeg_in_one_scan_is_measured_at_the_size_that_it_is_decoded_at(tmp_path, exif):
    (tmp_path / "a.jpg").write_bytes(jpeg_that_says(12_000, 12_000, exif=exif))
    assert reason(tmp_path / "a.jpg") is None


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_jpeg_whose_first_scan_has_one_component_of_three_is_measured_in_full(tmp_path):
    raw = jpeg_that_says(12_000, 12_000)
    scan = raw.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(raw[: scan + 2] + b"\0\x08\x01\x01\0\0\x3f\0" + raw[scan + 14 :])
    assert "12000x12000, more than 67,108,864 pixels" in reason(tmp_path / "a.jpg")


def test_what_libraries_say_of_a_file_is_not_printed(tmp_path, capfd):
    scene().save(tmp_path / "a.tiff", compression="jpeg")
    raw = (tmp_path / "a.tiff").read_bytes()
    (tmp_path / "a.tiff").write_bytes(raw.replace(b"\xff\xdb", b"\xff\xfe"))  # without quantization tables
    assert reason(tmp_path / "a.tiff") is not None
    many = tiff_that_says(8, 8).replace(struct.pack("<HHII", 277, 4, 1, 1), struct.pack("<HHII", 277, 4, 1, 999))
    (tmp_path / "b.tiff").write_bytes(many)  # numbers for each pixel
    assert reason(tmp_path / "b.tiff") is not None
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_what_is_no_file_is_named_and_never_waited_for(tmp_path):
    os.symlink("circle.png", tmp_path / "circle.png")
    os.symlink("nowhere.png", tmp_path / "dangling.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "symbolic links" in reason(tmp_path / "circle.png")
    assert reason(tmp_path / "dangling.png") == "No such file or directory"
    assert reason(tmp_path / "pipe.png") == "not a file"


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    scene().save(tmp_path / "a.png")

    def closed(*args, **kwargs):  # root, who runs the tests on CI, may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", closed)
    assert reason(tmp_path / "a.png") == "Permission denied"


def test_a_damaged_jpeg_goes_to_pillow_for_the_last_word(tmp_path):
    stream = io.BytesIO()
    scene(200, 200).save(stream, "JPEG")
    (tmp_path / "a.jpg").write_bytes(stream.getvalue()[:-300])
    assert "truncated" in reason(tmp_path / "a.jpg").lower()


@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize("times", [6, 7.3, 9.3, 13.1, 16, 25, 40])
@pytest.mark.parametrize("turned", [False, True])
def test_a_scaled_decode_is_within_two_grey_levels_of_the_full_one(tmp_path, size, times, turned):
    noisy = np.asarray(scene(int(size * times) + 7, int(size * times))).astype(int)
    noisy = noisy + np.random.default_rng(0).normal(0, 10, noisy.shape)
    exif = Image.Exif()
    exif[0x0112] = 3
    options = {"exif": exif} if turned else {}
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=90, **options)
    image = Image.open(tmp_path / "a.jpg")
    assert jpeg_reduction(*image.size, view(size)) > 1
    full = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    full = crop_and_resize(full, crop_box(*image.size, view(size)), (size, size))
    scaled = decode_image(tmp_path / "a.jpg", view(size)).pixels
    assert 0 < rmse(scaled.flip(1, 2) if turned else scaled, full) < 2


def test_what_is_not_large_is_decoded_in_full():
    sizes = [(383, 500), (384, 500), (768, 768), (1535, 9999), (1536, 1536), (9999, 9999)]
    assert [jpeg_reduction(*size, view(64)) for size in sizes] == [1, 2, 4, 4, 8, 8]
    assert jpeg_reduction(600, 600, view(64, resize=128)) == 1
