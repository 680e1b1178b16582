"""The kinds of files that are read as pictures. A new one raises pack.PACK_VERSION."""

import ctypes
import logging
import re
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from PIL import BmpImagePlugin, Image, TiffImagePlugin

HEIC_EXTENSIONS, HEIC_PLUGIN = (".heic", ".heif"), "pillow-heif"  # what reads them, if it is installed
HAS_HEIC = find_spec("pillow_heif") is not None

EXTENSIONS: tuple[str, ...] = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".avif",
)
# Of Pillow's, by content; its others are never tried.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
if HAS_HEIC:
    EXTENSIONS, FORMATS = EXTENSIONS + HEIC_EXTENSIONS, (*FORMATS, "HEIF")
SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM|GIF8[79]a|II[*+]\0|MM\0[*+]|....ftyp", re.DOTALL
)
SIGNATURE_BYTES = 12

# What Pillow's decoders read and its table lacks, by four of its keys: byte order, photometric interpretation, sample
# format (1 unsigned, 2 signed, 3 float) and bits of the one sample. TIFF 6.0
TIFFS = {
    (b"MM", 0, 1, 16): ("I;16B", "I;16B"),
    (b"II", 0, 1, 32): ("I", "I;32"),
    (b"MM", 0, 1, 32): ("I", "I;32B"),
    (b"MM", 1, 1, 32): ("I", "I;32B"),
    (b"II", 0, 2, 16): ("I", "I;16S"),
    (b"MM", 0, 2, 16): ("I", "I;16BS"),
    (b"II", 0, 2, 32): ("I", "I;32S"),
    (b"MM", 0, 2, 32): ("I", "I;32BS"),
    (b"II", 0, 3, 64): ("F", "F;64F"),
    (b"MM", 0, 3, 64): ("F", "F;64BF"),
    (b"II", 1, 3, 64): ("F", "F;64F"),
    (b"MM", 1, 3, 64): ("F", "F;64BF"),
}

NATIVE = {"F;32BF": "F;32NF", "F;64BF": "F;64NF", "I;16BS": "I;16NS", "I;32B": "I;32N", "I;32BS": "I;32NS"}
WIDTH, LENGTH, BITS_PER_SAMPLE, PLANES = 256, 257, 258, 284  # TIFF tags


@cache  # once a process
def prepare_pillow() -> None:
    """Tells Pillow what it can read besides, and keeps it and libtiff from printing what is wrong with a file.

    The reason is returned and reported once.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(AttributeError, OSError):  # not every build of Pillow has this function
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)
    for (order, photometric, sample_format, bits), modes in TIFFS.items():
        TiffImagePlugin.OPEN_INFO.setdefault((order, photometric, (sample_format,), 1, (bits,), ()), modes)
    BmpImagePlugin.BIT2MODE.setdefault(2, ("P", "P;2"))
    if HAS_HEIC:
        import_module("pillow_heif").register_heif_opener()


def correct_tiff(image: Image.Image) -> None:
    """Makes an opened TIFF, not loaded yet, be read as libtiff gives its samples: in the machine's order of bytes.

    Pillow reads floats and signed numbers of a compressed big-endian file in the wrong order, and colours of 16 bits
    in planes, where they are not compressed, as if they had 8.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or not image.tile:
        return
    first, tags = image.tile[0], image.tag_v2
    if first.codec_name == "libtiff" and isinstance(first.args, tuple):
        image.tile = [first._replace(args=(NATIVE.get(first.args[0], first.args[0]), *first.args[1:]))]
    elif tags.get(PLANES) == 2 and max(tags.get(BITS_PER_SAMPLE, (1,))) == 16 and image.mode in ("RGB", "RGBA"):
        whole, arguments = (0, 0, tags[WIDTH], tags[LENGTH]), (f"{image.mode};16N", False, tags.offset)
        image.tile, image.use_load_libtiff = [type(first)("libtiff", whole, 0, arguments)], True


def as_pillow_reads_it(raw: bytes) -> bytes:
    """Returns a file, changed where Pillow would read it wrongly.

    It takes a BMP of 4 or 8 bits a pixel (at byte 28) whose palette has two colours (byte 46), black and white, for
    one of 1 bit; without the number of colours it does not.
    """
    has_fields = raw.startswith(b"BM") and raw[14:15] >= b"\x28"  # a header of 40 bytes or more
    if has_fields and raw[28:30] in (b"\4\0", b"\x08\0") and raw[46:50] == b"\2\0\0\0":
        return raw[:46] + bytes(4) + raw[50:]
    return raw
