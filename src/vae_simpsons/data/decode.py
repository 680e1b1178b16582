"""One image file, whatever it is -> pixels at the size that is trained on."""

import ctypes
import hashlib
import io
import logging
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from vae_simpsons.data.folder import File
from vae_simpsons.data.index import Facts
from vae_simpsons.errors import one_line
from vae_simpsons.settings import Data

ORIENTATION = 0x0112  # EXIF: how the camera was held; 1 is upright
JPEG_START, APP1, START_OF_SCAN = b"\xff\xd8", 0xE1, 0xDA
WITH_LENGTH = (*range(0xC0, 0xD0), *range(0xDA, 0xFF))  # the markers that a length follows
SEQUENTIAL = (0xC0, 0xC1)  # how the frame of a JPEG begins that is not progressive
TILE_WIDTH, TILE_LENGTH = 322, 323  # TIFF
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # of Pillow's, by content; its others are never tried
BACKGROUND = (255, 255, 255)  # what shows through where an image is transparent
MAX_BYTES = 2**30  # of a file
MAX_PIXELS = 2**26  # that are decoded, 67 million; a JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough
MAX_SIDE = 2**16  # pixels
FREE_PIXELS = 2**24  # that an image may have however small its file is
MAX_PIXELS_A_BYTE = 2000  # beyond those; a PNG of one colour has 344, the emptiest JPEG 85
MAX_SCANS = 100  # of a JPEG; encoders write about ten


logging.getLogger("PIL").addHandler(logging.NullHandler())  # what is wrong with a file is said here, once
with suppress(AttributeError, OSError):  # libtiff would write it to stderr by itself; not every Pillow lets it be told
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)


class Decoded(NamedTuple):
    """An image at the size that is trained on."""

    pixels: Tensor  # uint8 (C, S, S)
    facts: Facts


class Block(NamedTuple):
    """Some files of a folder, decoded."""

    outcomes: list[Facts | str]  # of each file, or the reason why it is no image
    pixels: Tensor  # uint8 (n, C, S, S), of those that are


def decode_block(folder: Path, files: Sequence[File], data: Data) -> Block:
    """What is in `files` of `folder`; never raises for what a file contains."""
    outcomes: list[Facts | str] = []
    pixels = torch.empty(len(files), data.channels, data.image_size, data.image_size, dtype=torch.uint8)
    kept = 0
    for file in files:
        outcome = _decoded_or_reason(folder / file.path, data)
        if isinstance(outcome, Decoded):
            pixels[kept] = outcome.pixels
            kept += 1
        outcomes.append(outcome.facts if isinstance(outcome, Decoded) else outcome)
    return Block(outcomes, pixels[:kept])


def decode(path: Path, data: Data) -> Decoded:
    """The image at `path`, upright, flat, cropped and resized as `data` says.

    Raises:
        Exception: of many kinds: what Pillow and the system say of a file that is no image.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"{status.st_size:,} bytes, more than {MAX_BYTES:,}")
    raw = np.fromfile(path, dtype=np.uint8)
    stored = _plain_jpeg(raw, data) or _any_image(raw, data)
    facts = Facts(hashlib.sha256(raw).hexdigest(), stored.width, stored.height, stored.format, stored.mode)
    factor = round(stored.height / stored.pixels.shape[1])
    box = [edge // factor for edge in crop_box(stored.width, stored.height, data)]
    return Decoded(upright(resize(stored.pixels, box, data.image_size), stored.orientation), facts)


def crop_box(width: int, height: int, data: Data) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is kept of an image, in its own pixels: the middle square, or all of it.

    In a large image the box keeps to multiples of the part that a JPEG is reduced by, so that it is the same there.
    """
    if data.crop == "none":
        return 0, 0, width, height
    step = reduction(width, height, data)
    side = max(1, round(min(width, height) * data.image_size / (data.resize or data.image_size)))
    side = side // step * step
    return (width - side) // 2 // step * step, (height - side) // 2 // step * step, side, side


def resize(image: Tensor, box: Sequence[int], size: int) -> Tensor:
    """The `box` of uint8 `image` (C, h, w) at (C, size, size).

    Bicubically, and antialiased: each new pixel is a weighted mean of all those that it covers.
    """
    left, top, width, height = box
    part = image[:, top : top + height, left : left + width]
    if part.shape[1:] == (size, size):
        return part
    return interpolate(part[None], (size, size), mode="bicubic", antialias=True)[0]


def upright(pixels: Tensor, orientation: int) -> Tensor:
    """Square `pixels` (C, S, S) as the camera saw them.

    Source: Exif 2.3, tag 0x0112: which side of the scene the first row and the first column are.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 2)
    flips = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation, [])
    return pixels.flip(flips) if flips else pixels


class Stored(NamedTuple):
    """An image as it lies in its file."""

    pixels: Tensor  # uint8 (C, h, w); of a large JPEG a half, a quarter or an eighth of height and width
    width: int
    height: int
    format: str
    mode: str
    orientation: int  # EXIF's, 1 to 8; 1 is upright


def _plain_jpeg(raw: np.ndarray, data: Data) -> Stored | None:
    """A JPEG that needs nothing special, in half of Pillow's time; None: leave it to Pillow."""
    if not _is_upright_jpeg(raw):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(raw)
        mode = {"YCbCr": "RGB", "RGB": "RGB", "Gray": "L"}.get(colours)
        factor = reduction(width, height, data)
        if mode is None:
            return None
        _check_jpeg(raw, width, height)
        _check_size(width // factor, height // factor, len(raw))
        colours = "GRAY" if data.channels == 1 else "RGB"
        pixels = simplejpeg.decode_jpeg(raw, colours, min_height=-(-height // factor))  # (h, w, C)
    except ValueError:  # damaged, or of a kind that libjpeg-turbo's own interface does not take
        return None
    return Stored(torch.from_numpy(pixels).permute(2, 0, 1), width, height, "JPEG", mode, 1)


def _is_upright_jpeg(raw: np.ndarray) -> bool:
    """Whether a file is a JPEG without an APP1 segment, where EXIF and XMP say how the camera was held."""
    return raw[:2].tobytes() == JPEG_START and APP1 not in _segments(raw)


def _segments(raw: np.ndarray) -> dict[int, int]:
    """Where the segments of a JPEG's header begin, by marker, up to the first scan, as far as they follow each other.

    Source: ITU-T T.81, Annex B: FF, a marker, the segment's length in two bytes; SOS ends the header.
    """
    at, found = 2, {}
    while at + 4 <= len(raw) and raw[at] == 0xFF and raw[at + 1] in WITH_LENGTH and START_OF_SCAN not in found:
        found[int(raw[at + 1])] = at
        at += 2 + 256 * int(raw[at + 2]) + int(raw[at + 3])
    return found


def _check_jpeg(raw: np.ndarray, width: int, height: int) -> None:
    """Refuse a JPEG in so many scans, or in several and so large, that it takes far more than its pixels do.

    What comes in several scans is kept whole, six bytes a pixel, at whatever part of its size it is decoded, and gone
    through once for each: a kilobyte can ask for 25 GB, or for hours.

    Raises:
        ValueError: saying which.
    """
    segments = _segments(raw)
    frame = next((segments[marker] for marker in SEQUENTIAL if marker in segments), None)
    scan = segments.get(START_OF_SCAN)
    if frame and scan and bytes(raw[frame + 9 : frame + 10]) == bytes(raw[scan + 4 : scan + 5]):
        return  # all components are in the first scan, and decoding ends with it
    _check_size(width, height, len(raw))
    scans = raw.tobytes().count(bytes([0xFF, START_OF_SCAN]))
    if scans > MAX_SCANS:
        raise ValueError(f"a JPEG in {scans:,} scans, more than {MAX_SCANS}")


def _check_size(width: int, height: int, file_bytes: int) -> None:
    """Refuse an image before memory is taken for it that would take too much, or far too much for its file.

    Raises:
        ValueError: with its size.
    """
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width}x{height}, a side of more than {MAX_SIDE:,} pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}x{height}, more than {MAX_PIXELS:,} pixels")
    if width * height > max(FREE_PIXELS, MAX_PIXELS_A_BYTE * file_bytes):
        raise ValueError(f"{width}x{height} from {file_bytes:,} bytes, a decompression bomb")


def _any_image(raw: np.ndarray, data: Data) -> Stored:
    """Any image, through Pillow: its first frame, over BACKGROUND."""
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        width, height, kind, mode = image.width, image.height, str(image.format), image.mode
        factor = reduction(width, height, data)
        if raw[:2].tobytes() == JPEG_START:
            _check_jpeg(raw, width, height)
        image.draft(None, (width // factor, height // factor))  # which JPEG alone knows
        _check_size(image.width, image.height, len(raw))
        tags = getattr(image, "tag_v2", {})
        _check_size(tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1), len(raw))  # a TIFF's, which may be any
        image.load()
        flat = flatten(image, "L" if data.channels == 1 else "RGB")
        orientation = image.getexif().get(ORIENTATION, 1)
    pixels = np.array(flat).reshape(flat.height, flat.width, data.channels)
    return Stored(torch.from_numpy(pixels).permute(2, 0, 1), width, height, kind, mode, orientation)


def reduction(width: int, height: int, data: Data) -> int:
    """At what part of its size a JPEG is decoded, 1, 2, 4 or 8: never below three times the size it is wanted at."""
    spare = min(width, height) / (3 * (data.resize or data.image_size))
    return max((factor for factor in (8, 4, 2) if factor <= spare), default=1)


def flatten(image: Image.Image, mode: str) -> Image.Image:
    """`image` in `mode`, its transparent parts over BACKGROUND, 16-bit greys scaled to 8 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        grey = grey / 257 if image.mode.startswith("I") else grey
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image)
    return image.convert(mode)


def _decoded_or_reason(path: Path, data: Data) -> Decoded | str:
    try:
        return decode(path, data)
    except MemoryError:
        return "too large for the memory"
    except UnidentifiedImageError:
        return f"not an image ({', '.join(FORMATS)})" if path.stat().st_size else "empty"
    except OSError as e:
        return one_line(e.strerror or e)
    except Exception as e:  # Pillow raises a dozen kinds on damaged bytes; all mean that the file is no image
        return one_line(e) or type(e).__name__
