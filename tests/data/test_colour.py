"""Colour profiles are converted to sRGB, and broken metadata never costs a picture."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps

from vae_simpsons.data import colour
from vae_simpsons.data.decode import decode_block, decode_image, prepare_picture
from vae_simpsons.data.folder import find_files
from vae_simpsons.settings import Data

SIDE = 8
P3 = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]  # SMPTE EG 432-1, at D50
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1


def fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def icc(space: bytes, kind: bytes, **tags: bytes) -> bytes:
    """A profile by its definition (ICC.1:2010): a header of 128 bytes, a table of tags, their data."""
    tags |= {
        "desc": b"mluc" + bytes(4) + struct.pack(">II", 0, 12),
        "wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249),
    }
    table, data, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name.encode() + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    pcs = b"Lab " if "A2B0" in tags else b"XYZ "
    header = struct.pack(">I4xI4s4s4s12x4s", start + len(data), 0x04200000, kind, space, pcs, b"acsp")
    return header.ljust(68, b"\0") + fixed(0.9642, 1, 0.8249) + bytes(48) + table + data


def curve(*numbers: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", 3 if len(numbers) == 5 else 0, 0) + fixed(*numbers)


def rgb_profile(primaries=P3, numbers=SRGB_CURVE) -> bytes:
    xyz = {f"{c}XYZ": b"XYZ " + bytes(4) + fixed(*primary) for c, primary in zip("rgb", primaries, strict=True)}
    return icc(b"RGB ", b"mntr", **xyz, **{f"{c}TRC": curve(*numbers) for c in "rgb"})


def cmyk_profile(inks) -> bytes:
    """A profile of a press: the 8-bit Lab colour of each of the 16 overprints of full inks, in between linear."""
    ramp = bytes(range(256))
    head = struct.pack(">4s4xBBBx", b"mft1", 4, 3, 2) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return icc(b"CMYK", b"prtr", A2B0=head + 4 * ramp + bytes(np.asarray(inks, np.uint8).tobytes()) + 3 * ramp)


def lab_of(rgb) -> list[int]:
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    return [
        b ^ (128 if i else 0)
        for i, b in enumerate(ImageCms.applyTransform(Image.new("RGB", (1, 1), rgb), transform).tobytes())
    ]  # noqa: E501


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SAVED = [("jpg", {"quality": 100, "subsampling": 0}), ("png", {}), ("webp", {"lossless": True}), ("tif", {})]


def decoded(path: Path, image: Image.Image, channels=3, **options):
    image.save(path, **options)
    found = decode_image(path, Data(image_size=SIDE, channels=channels))
    assert found.pixels.shape == (channels, SIDE, SIDE)
    return found.pixels[:, SIDE // 2, SIDE // 2].tolist(), found.facts.profile


def near(found, wanted, by=2) -> bool:
    return np.abs(np.subtract(found, wanted)).max() <= by


@pytest.mark.parametrize(("ending", "options"), [*SAVED, ("avif", {"quality": 100, "subsampling": "4:4:4"})])
@pytest.mark.parametrize("side", [SIDE, 20 * SIDE])
def test_display_p3_becomes_srgb(tmp_path, ending, options, side):
    picture = Image.new("RGB", (side, side), (200, 80, 60))
    found, outcome = decoded(tmp_path / f"a.{ending}", picture, icc_profile=rgb_profile(), **options)
    assert near(found, (216, 69, 50), 3) and outcome == colour.CONVERTED
    grey, _ = decoded(tmp_path / f"b.{ending}", picture, 1, icc_profile=rgb_profile(), **options)
    assert near(grey, [round(0.299 * 216 + 0.587 * 69 + 0.114 * 50)], 3)


@pytest.mark.parametrize("mode", ["P", "RGBA", "RGB"])
def test_palettes_and_transparency_with_a_profile(tmp_path, mode):
    picture = Image.new("RGB", (SIDE, SIDE), (200, 80, 60)).convert(mode, palette=Image.Palette.ADAPTIVE)
    assert near(decoded(tmp_path / "a.png", picture, icc_profile=rgb_profile())[0], (216, 69, 50))


def test_a_picture_that_pillow_has_opened_is_converted_too(tmp_path):
    Image.new("RGB", (SIDE, SIDE), (200, 80, 60)).save(tmp_path / "a.png", icc_profile=rgb_profile())
    with Image.open(tmp_path / "a.png") as picture:
        assert near(prepare_picture(picture, Data(image_size=SIDE))[:, 0, 0].tolist(), (216, 69, 50))


@pytest.mark.parametrize(
    "profile", [SRGB, rgb_profile([(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)])]
)  # noqa: E501
def test_srgb_stays_as_it_is_whatever_it_is_called(tmp_path, profile):
    assert decoded(tmp_path / "a.png", Image.new("RGB", (SIDE, SIDE), (200, 80, 60)), icc_profile=profile) == (
        [200, 80, 60],
        "",
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_greys_with_a_profile(tmp_path, ending, channels, mode):
    if mode == "I;16" and ending == "jpg":
        return
    level = 128 * 257 if mode == "I;16" else 128
    profile = icc(b"GRAY", b"mntr", kTRC=curve(1.0))  # linear light
    linear = 128 / 255
    wanted = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    found, outcome = decoded(
        tmp_path / f"a.{ending}", Image.new(mode, (SIDE, SIDE), level), channels, icc_profile=profile
    )
    assert near(found, wanted) and outcome == colour.CONVERTED


def test_cmyk_with_a_profile(tmp_path):
    paper, cyan = (255, 255, 255), (10, 110, 190)
    inks = [lab_of(cyan if i >= 8 else (90, 90, 90) if i else paper) for i in range(16)]  # the first ink varies slowest
    profile = cmyk_profile(inks)
    for ending in ("jpg", "tif"):
        for ink, wanted in (((255, 0, 0, 0), cyan), ((0, 0, 0, 0), paper)):
            found, outcome = decoded(
                tmp_path / f"a.{ending}", Image.new("CMYK", (SIDE, SIDE), ink), icc_profile=profile
            )
            assert outcome == colour.CONVERTED and near(found, wanted, 8)


def test_lab_needs_no_profile(tmp_path):
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.new("RGB", (SIDE, SIDE), (200, 80, 60)), transform)
    assert near(decoded(tmp_path / "a.tif", lab)[0], (200, 80, 60), 4)


CUT = rgb_profile()[:200]
BAD = {
    "cut": CUT,
    "noise": bytes(range(256)) * 2,
    "empty tags": SRGB[:128] + bytes(4),
    "of greys": icc(b"GRAY", b"mntr", kTRC=curve(1.0)),
}  # noqa: E501


@pytest.mark.parametrize("profile", BAD.values(), ids=BAD)
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_a_broken_profile_is_ignored_and_counted(tmp_path, ending, profile):
    found, outcome = decoded(
        tmp_path / f"a.{ending}", Image.new("RGB", (SIDE, SIDE), (200, 80, 60)), icc_profile=profile
    )
    assert near(found, (200, 80, 60)) and outcome == colour.IGNORED


def turned() -> Image.Image:
    levels = np.zeros((40, 60, 3), np.uint8)
    levels[:20, :30] = 255
    return Image.fromarray(levels)


def exif(orientation: int = 6) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def test_fill_bytes_before_a_segment_leave_the_orientation(tmp_path):
    """ITU-T T.81, B.1.1.2: any marker may be preceded by bytes FF."""
    turned().save(tmp_path / "a.jpg", exif=exif(), quality=100)
    raw = (tmp_path / "a.jpg").read_bytes()
    expected = decode_image(tmp_path / "a.jpg", Data(image_size=SIDE)).pixels
    for marker in (b"\xff\xe1", b"\xff\xdb", b"\xff\xc0", b"\xff\xda"):
        (tmp_path / "b.jpg").write_bytes(raw.replace(marker, b"\xff\xff" + marker, 1))
        assert torch.equal(decode_image(tmp_path / "b.jpg", Data(image_size=SIDE)).pixels, expected), marker
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    assert upright.size == (40, 60) and expected[0, 0, -1] > 200 > expected[0, -1, 0]


BROKEN_EXIF = [
    b"",
    b"no TIFF file",
    b"II*\0\xff\xff\xff\xff",
    exif()[:12],
    exif()[:-3],
    exif().replace(b"\x01\x12", b"\x01\x12\xff"),
]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("broken", BROKEN_EXIF)
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_broken_metadata_costs_the_orientation_at_most(tmp_path, ending, broken):
    stream = io.BytesIO()
    turned().save(
        stream,
        {"jpg": "JPEG"}.get(ending, ending.upper()),
        exif=b"Exif\0\0" + broken,
        **({"lossless": True} if ending == "webp" else {}),
    )
    (tmp_path / f"a.{ending}").write_bytes(stream.getvalue())
    assert decode_image(tmp_path / f"a.{ending}", Data(image_size=SIDE)).pixels.float().std() > 50


def chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


BAD_CHUNKS = {
    "eXIf": chunk(b"eXIf", b"not a TIFF file"),
    "much text": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000))),
    "a large profile": chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(20_000_000))),
    "a bad checksum": chunk(b"tEXt", b"a\0b", checksum=1),
    "an empty time": chunk(b"tIME", b""),
    "an empty chroma": chunk(b"cHRM", b"\1"),
    "an empty gamma": chunk(b"gAMA", b""),
    "an empty size": chunk(b"pHYs", b""),
    "no rendering intent": chunk(b"sRGB", b""),
    "animation": chunk(b"acTL", b"\0"),
}


@pytest.mark.parametrize("bad", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_no_chunk_of_metadata_costs_a_png(tmp_path, bad):
    stream = io.BytesIO()
    turned().convert("P").save(stream, "PNG", transparency=0)
    raw = stream.getvalue()
    (tmp_path / "good.png").write_bytes(raw)
    (tmp_path / "a.png").write_bytes(raw[:33] + bad + raw[33:])
    good, same = decode_block(tmp_path, find_files(tmp_path), Data(image_size=SIDE)).pixels
    assert torch.equal(good, same)
