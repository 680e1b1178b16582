"""Samples of every kind come out as their format defines them; where a file says nothing, as their folder has them."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from vae_simpsons.data.decode import decode_image
from vae_simpsons.data.levels import Extremes, find_ranges, format_levels, parse_levels, usual_range
from vae_simpsons.data.pack import open_pack
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import Data

SIDE = 4
LONG, FLOAT = 4, 3  # TIFF: the type of a directory's entries; sample format of floats


def rows_of(values: np.ndarray, bits: int, order: str) -> bytes:
    """Rows of samples (h, w[, c]) of so many bits, each row filled up to a byte."""
    if bits >= 8 and bits % 8 == 0:
        return values.astype(values.dtype.newbyteorder(order)).tobytes()
    flat = values.reshape(len(values), -1).astype(np.uint64)
    planes = (flat[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint64) & 1).astype(np.uint8)
    return np.packbits(planes.reshape(len(values), -1), axis=1).tobytes()


def tiff(values, bits, sample_format=1, photometric=1, order="<", tags=(), deflated=False, planes=False) -> bytes:
    """A TIFF by its definition (TIFF 6.0): header, directory of 12-byte entries, a strip, or one for each plane."""
    values = np.asarray(values)
    channels = values.shape[2] if values.ndim == 3 else 1
    strips = [rows_of(part, bits, order) for part in (np.moveaxis(values, 2, 0) if planes else [values])]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    numbers = {256: [values.shape[1]], 257: [values.shape[0]], 258: [bits] * channels, 259: [8 if deflated else 1]}
    numbers |= {262: [photometric], 277: [channels], 278: [len(values)], 279: list(map(len, strips))}
    numbers |= {273: [0] * len(strips), 284: [2 if planes else 1], 339: [sample_format] * channels}
    numbers |= {tag: [value] for tag, value in dict(tags).items()}
    outside = 8 + 2 + 12 * len(numbers) + 4  # where what does not fit into an entry begins
    start = outside + sum(4 * len(n) for n in numbers.values() if len(n) > 1)
    numbers[273] = [start + sum(map(len, strips[:i])) for i in range(len(strips))]
    directory, extra = struct.pack(f"{order}H", len(numbers)), b""
    for tag, entry in sorted(numbers.items()):
        packed = struct.pack(f"{order}{len(entry)}I", *entry)
        where = packed if len(entry) == 1 else struct.pack(f"{order}I", outside + len(extra))
        extra += packed if len(entry) > 1 else b""
        directory += struct.pack(f"{order}HHI", tag, LONG, len(entry)) + where
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return head + directory + bytes(4) + extra + b"".join(strips)


def png(values, bits, colour, clear=()) -> bytes:
    """A PNG by its definition: greys (colour 0), colours (2), greys with alpha (4) or colours with alpha (6)."""
    values = np.asarray(values)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + rows_of(row[None], bits, ">") for row in values)
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, colour, 0, 0, 0))
    body += chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)) if clear else b""
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def bmp(rows: bytes, bits, palette=(), masks=(), header_bytes=40) -> bytes:
    """A BMP of 4x4, its rows from the top: the height is negative."""
    header = struct.pack(
        "<IiiHHIIiiII", header_bytes, SIDE, -SIDE, 1, bits, 3 if masks else 0, 0, 0, 0, len(palette), 0
    )
    header += struct.pack(f"<{len(masks)}I", *masks)
    header = header.ljust(header_bytes, b"\0") if header_bytes > 40 else header
    header += b"".join(bytes([*colour[::-1], 0]) for colour in palette)
    return struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(rows), 0, 0, 14 + len(header)) + header + rows


def levels(content: bytes, tmp_path: Path, **settings) -> np.ndarray:
    """The pixels of a file in this folder alone, (4, 4) or (4, 4, 3)."""
    (tmp_path / "a.png").write_bytes(content)
    pixels = decode_image(tmp_path / "a.png", Data(**{"image_size": SIDE, "channels": 1} | settings)).pixels
    return pixels.permute(1, 2, 0).squeeze(-1).numpy()


def ramp(dtype, low, high) -> np.ndarray:
    """4x4 values from the lowest to the highest, whose bytes differ from each other."""
    return (low + (high - low) * np.linspace(0, 1, SIDE * SIDE) ** 2).astype(dtype).reshape(SIDE, SIDE)


def expected(values, low, high, photometric=1) -> np.ndarray:
    grey = np.rint((np.asarray(values, dtype=float) - low) * 255 / (high - low))
    return 255 - grey if photometric == 0 else grey


both_orders = pytest.mark.parametrize("order", ["<", ">"])
compressed_or_not = pytest.mark.parametrize("deflated", [False, True])
UNSIGNED = {1: np.uint8, 2: np.uint8, 4: np.uint8, 8: np.uint8, 12: np.uint16, 16: np.uint16, 32: np.uint32}


@both_orders
@compressed_or_not
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32])
def test_a_tiff_of_unsigned_bits(tmp_path, bits, photometric, order, deflated):
    values = ramp(UNSIGNED[bits], 0, 2**bits - 1)
    found = levels(tiff(values, bits, 1, photometric, order, deflated=deflated), tmp_path)
    assert np.abs(found - expected(values, 0, 2**bits - 1, photometric)).max() <= 1


@both_orders
@compressed_or_not
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize(("bits", "dtype"), [(16, np.int16), (32, np.int32)])
def test_a_tiff_of_signed_bits(tmp_path, bits, dtype, photometric, order, deflated):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    values = ramp(dtype, low, high - 2**8 if bits == 32 else high)
    found = levels(tiff(values, bits, 2, photometric, order, deflated=deflated), tmp_path)
    assert np.abs(found - expected(values, low, high, photometric)).max() <= 1


def test_a_tiff_of_signed_bytes(tmp_path):
    values = ramp(np.int8, -128, 127)
    assert (levels(tiff(values, 8, 2), tmp_path) == values.astype(int) + 128).all()


@both_orders
@compressed_or_not
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (0, 65535), (-3, 8), (270, 310)])
def test_a_tiff_of_floats(tmp_path, dtype, low, high, photometric, order, deflated):
    values = ramp(dtype, low, high)
    found = levels(tiff(values, 8 * values.itemsize, FLOAT, photometric, order, deflated=deflated), tmp_path)
    assert np.abs(found - expected(values, low, high, photometric)).max() <= 1


def test_twelve_bits_are_said_by_the_file_whatever_it_holds(tmp_path):
    values = np.full((SIDE, SIDE), 1000, np.uint16)
    assert (levels(tiff(values, 12), tmp_path) == round(1000 * 255 / 4095)).all()


def test_the_range_that_a_tiff_states_counts_and_what_it_only_counts_is_part_of_the_folder(tmp_path):
    values = ramp(np.uint16, 500, 1500)
    stated = tiff(values, 16, tags={340: 500, 341: 2500})
    assert (levels(stated, tmp_path) == expected(values, 500, 2500)).all()
    statistics = tiff(values, 16, tags={281: 4095})
    assert (levels(statistics, tmp_path) == expected(values, 0, 4095)).all()
    whole_type = tiff(values, 16, tags={281: 65535, 341: 65535})  # what a file says by default says nothing
    assert (levels(whole_type, tmp_path) == expected(values, 0, 4095)).all()


def test_what_is_no_number_is_black_and_leaves_the_rest(tmp_path):
    values = ramp(np.float32, 0, 1)
    values[0, :3] = np.nan, np.inf, -np.inf
    found = levels(tiff(values, 32, FLOAT), tmp_path)
    assert found[0, :3].tolist() == [0, 255, 0] and (found[1:] == expected(values[1:], 0, 1)).all()


@both_orders
@compressed_or_not
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_of_planes(tmp_path, bits, order, deflated):
    most = 2**bits - 1
    values = np.stack([ramp(UNSIGNED[bits], 0, most), ramp(UNSIGNED[bits], most, 0), ramp(UNSIGNED[bits], 9, most)], 2)
    content = tiff(values, bits, 1, 2, order, deflated=deflated, planes=True)
    assert np.abs(levels(content, tmp_path, channels=3) - expected(values, 0, most)).max() <= 1


@pytest.mark.parametrize(
    ("dtype", "bits", "sample_format", "high"), [(np.uint16, 16, 1, 65535), (np.float32, 32, 3, 1)]
)
def test_a_tiff_of_a_camera_on_its_side(tmp_path, dtype, bits, sample_format, high):
    values = ramp(dtype, 0, high)
    found = levels(tiff(values, bits, sample_format, tags={274: 6}), tmp_path)
    assert np.abs(found - np.rot90(expected(values, 0, high), -1)).max() <= 1


@pytest.mark.parametrize("high", [4095, 65535])
@pytest.mark.parametrize("make", [
    lambda v: png(v, 16, 2), lambda v: tiff(v, 16, 1, 2), lambda v: tiff(v, 16, 1, 2, ">"),
    lambda v: tiff(v, 16, 1, 2, ">", deflated=True), lambda v: tiff(v, 16, 1, 2, deflated=True),
    lambda v: png(np.dstack([v, np.full((SIDE, SIDE), 65535, np.uint16)]), 16, 6),
])  # fmt: skip
def test_colours_of_16_bits_may_have_12(tmp_path, make, high):
    values = np.stack([ramp(np.uint16, 0, high), ramp(np.uint16, high, 0), ramp(np.uint16, high // 2, high)], axis=2)
    found = levels(make(values), tmp_path, channels=3)
    assert np.abs(found - expected(values, 0, high)).max() <= 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("has_clear", [False, True])
def test_a_png_of_greys_and_its_transparent_one(tmp_path, bits, has_clear):
    values = ramp(UNSIGNED[bits], 0, 2**bits - 1)
    clear = int(values[1, 1])
    wanted = expected(values, 0, 2**bits - 1)
    if has_clear:
        wanted[values == clear] = 255
    found = levels(png(values, bits, 0, [clear] if has_clear else []), tmp_path)
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_of_colours_and_its_transparent_one(tmp_path, bits):
    most = 2**bits - 1
    values = np.stack([ramp(UNSIGNED[bits], 0, most), ramp(UNSIGNED[bits], most, 0), ramp(UNSIGNED[bits], 0, most)], 2)
    clear = values[2, 1]
    wanted = expected(values, 0, most)
    wanted[2, 1] = 255
    found = levels(png(values, bits, 2, clear.tolist()), tmp_path, channels=3)
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_of_greys_with_alpha(tmp_path, bits):
    most = 2**bits - 1
    values, alpha = ramp(UNSIGNED[bits], 0, most), ramp(UNSIGNED[bits], most, 0)
    wanted = expected(values, 0, most) * (alpha / most) + 255 * (1 - alpha / most)
    assert np.abs(levels(png(np.dstack([values, alpha]), bits, 4), tmp_path) - wanted).max() <= 2


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_bmp_of_a_palette(tmp_path, bits):
    index = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 2**bits
    palette = [((37 * i) % 256, (91 * i + 40) % 256, 255 - i) for i in range(2**bits)]
    rows = b"".join(rows_of(row[None].astype(np.uint8), bits, "<").ljust(4, b"\0") for row in index)
    found = levels(bmp(rows, bits, palette), tmp_path, channels=3)
    assert (found == np.array(palette)[index]).all()


@pytest.mark.parametrize("colours", [[(0, 0, 0), (255, 255, 255)], [(255, 255, 255), (0, 0, 0)]])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_bmp_of_black_and_white(tmp_path, bits, colours):
    index = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 2
    rows = b"".join(rows_of(row[None].astype(np.uint8), bits, "<").ljust(4, b"\0") for row in index)
    assert (levels(bmp(rows, bits, colours), tmp_path) == np.array(colours)[index][..., 0]).all()


MASKS = {565: (0xF800, 0x7E0, 0x1F), 555: (0x7C00, 0x3E0, 0x1F)}


@pytest.mark.parametrize("layout", [555, 565])
def test_a_bmp_of_16_bits(tmp_path, layout):
    red, green, blue = (ramp(np.uint16, 0, 31), ramp(np.uint16, 63 if layout == 565 else 31, 0), ramp(np.uint16, 5, 31))
    most = 63 if layout == 565 else 31
    packed = red << (11 if layout == 565 else 10) | green << 5 | blue
    found = levels(bmp(packed.astype("<u2").tobytes(), 16, masks=MASKS[layout]), tmp_path, channels=3)
    wanted = np.stack([red * 255 / 31, green * 255 / most, blue * 255 / 31], axis=2)
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize(("alpha", "wanted"), [(0, 100), (255, 100), (51, 224)])
def test_the_alpha_of_a_bmp_counts_unless_all_of_it_is_zero(tmp_path, alpha, wanted):
    pixels = bytes([100, 100, 100, alpha]) * SIDE * SIDE
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    assert (levels(bmp(pixels, 32, masks=masks, header_bytes=124), tmp_path) == wanted).all()
    assert (levels(bmp(pixels, 32), tmp_path) == 100).all()  # without a mask, it is no alpha


def write(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / f"{name}.tif").write_bytes(content)
    return folder


def test_a_folder_has_one_scale_for_all_its_files(tmp_path):
    dark, bright = ramp(np.uint16, 0, 900), ramp(np.uint16, 0, 4000)
    small, large = ramp(np.float32, 0, 0.5), ramp(np.float32, 0, 40)
    signed = ramp(np.int16, -1000, 3000)
    folder = write(
        tmp_path / "pics",
        a=tiff(dark, 16), b=tiff(bright, 16), c=tiff(small, 32, FLOAT), d=tiff(large, 32, FLOAT), e=tiff(signed, 16, 2),
    )  # fmt: skip
    data = Data(image_size=SIDE, channels=1, cache_dir=str(tmp_path / "cache"))
    pack = open_pack(folder, data, no_progress)
    wanted = [expected(dark, 0, 4095), expected(bright, 0, 4095), expected(small, 0, 40), expected(large, 0, 40)]
    assert np.abs(pack.pixels[:, 0].numpy() - np.stack([*wanted, expected(signed, -1000, 3000)])).max() <= 1
    assert pack.index.levels == "float32 0 40, int16 -1000 3000, uint16 0 4095"
    again = open_pack(folder, Data(**vars(data) | {"levels": pack.index.levels}), no_progress)
    assert again.folder == pack.folder, "what the run keeps is what the folder has: nothing is packed again"
    given = open_pack(folder, Data(**vars(data) | {"levels": "uint16 0 65535"}), no_progress)
    assert given.folder != pack.folder and given.pixels[1].max() == round(4000 * 255 / 65535)


@pytest.mark.parametrize(
    ("kind", "lowest", "highest", "wanted"),
    [
        ("uint16", 0, 200, (0, 255)),
        ("uint16", 3, 20, (3, 20)),  # labels, say
        ("uint16", 7, 7, (0, 255)),
        ("uint16", 0, 1023, (0, 1023)),
        ("uint16", 100, 16384, (0, 65535)),
        ("int16", 0, 32000, (0, 32767)),
        ("int16", -1024, 3071, (-1024, 3071)),
        ("uint32", 0, 100_000, (0, 100_000)),
        ("int32", 0, 4095, (0, 4095)),
        ("float32", 0.2, 0.2, (0, 1)),
        ("float32", 0, 0.01, (0, 0.01)),
        ("float32", -0.5, 1.5, (-0.5, 1.5)),
    ],
)
def test_the_usual_range(kind, lowest, highest, wanted):
    assert usual_range(Extremes(kind, lowest, highest)) == wanted


def test_ranges_are_written_and_read_back():
    ranges = find_ranges([Extremes("float32", 0.1, 7.3), Extremes("float32", -2, 0), Extremes("uint16", 0, 1)])
    text = format_levels(ranges)
    assert text == "float32 -2 7.3, uint16 0 1" and parse_levels(text) == ranges and format_levels({}) is None
