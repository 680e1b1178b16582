"""One image file, whatever it is -> pixels at the size that is trained on.

What its header says is checked before memory is taken for its pixels.
"""

import ctypes
import hashlib
import io
import logging
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor
from torch.nn.functional import interpolate

from vae_simpsons.data.folder import File
from vae_simpsons.data.index import Facts
from vae_simpsons.errors import one_line
from vae_simpsons.settings import Data

ORIENTATION = 0x0112  # EXIF tag: how the camera was held; 1 is upright
FLIPS = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}  # by orientation: dimensions of (C, H, W)
TURNED = (5, 6, 7, 8)  # orientations whose rows are the columns of the upright picture; Exif 2.3
TILE_WIDTH, TILE_LENGTH = 322, 323  # TIFF tags
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # of Pillow's, by content; its others are never tried
BACKGROUND = (255, 255, 255)  # behind transparent parts
START_OF_SCAN = b"\xff\xda"  # a JPEG's marker
MAX_BYTES = 2**30  # of a file
MAX_PIXELS = 2**26  # that are decoded, 67 million; a JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough
MAX_SIDE = 2**16  # pixels
FREE_PIXELS = 2**24  # that an image may have however small its file is
MAX_PIXELS_PER_BYTE = 2000  # beyond those; a PNG of one colour has 344, the emptiest JPEG 85
MAX_SCANS = 100  # of a JPEG; encoders write about ten


class Decoded(NamedTuple):
    """An image at the size that is trained on."""

    pixels: Tensor  # uint8 (C, H, W)
    facts: Facts


class Block(NamedTuple):
    """Some files of a folder, decoded."""

    outcomes: list[Facts | str]  # of each file, or the reason why it is not an image
    pixels: Tensor  # uint8 (n, C, H, W), of the n images


def decode_block(folder: Path, files: Sequence[File], data: Data) -> Block:
    """Decodes `files` of `folder`; what a file contains never raises."""
    decoded = [_decoded_or_reason(partial(decode_image, folder / file.path, data)) for file in files]
    images = [d.pixels for d in decoded if isinstance(d, Decoded)]
    none = torch.empty(0, data.channels, *data.size, dtype=torch.uint8)
    outcomes = [d.facts if isinstance(d, Decoded) else d for d in decoded]
    return Block(outcomes, torch.stack(images) if images else none)


def decode_image(path: Path, data: Data) -> Decoded:
    """Returns the image at `path`, upright, without transparency, cropped and resized as `data` says.

    Raises:
        Exception: of many kinds: what Pillow and the system say of a file that is not an image.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a file")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"{status.st_size:,} bytes, more than {MAX_BYTES:,}")
    return _decode(path.read_bytes(), data)


def decode_bytes(raw: bytes, data: Data) -> Decoded | str:
    """Returns the image in the bytes of a file, or the reason why there is none; what they contain never raises."""
    return _decoded_or_reason(partial(_decode, raw, data))


def prepare_picture(picture: Image.Image, data: Data) -> Tensor:
    """Returns a picture that Pillow has opened or made as decode_image returns a file's, uint8 (C, H, W).

    Raises:
        Exception: of many kinds: what Pillow says of a file that it has opened and cannot read.
    """
    pixels, orientation = _opaque_pixels(picture, data.channels), picture.getexif().get(ORIENTATION, 1)
    return _prepare(pixels, picture.width, picture.height, orientation, data)


def crop_box(width: int, height: int, data: Data) -> tuple[int, int, int, int]:
    """Returns left, top, width and height, in pixels of the image, of what is kept: the middle part, or all of it.

    The middle part is the largest with the shape of data.size; with data.resize, that is first shrunk until its short
    side has so many pixels. All four are multiples of jpeg_reduction, so that the box is the same at whatever size a
    JPEG is decoded.
    """
    if data.crop == "none":
        return 0, 0, width, height
    rows, columns = data.size
    step = jpeg_reduction(width, height, data)
    short = min(rows, columns)
    scale = min(Fraction(width, columns), Fraction(height, rows)) * Fraction(short, data.resize or short)
    box_width, box_height = (max(1, round(scale * side)) // step * step for side in (columns, rows))
    return (width - box_width) // 2 // step * step, (height - box_height) // 2 // step * step, box_width, box_height


def crop_and_resize(image: Tensor, box: Sequence[int], size: tuple[int, int]) -> Tensor:
    """Returns the `box` of uint8 `image` (C, h, w) as (C, H, W), `size` (H, W), bicubic and antialiased."""
    left, top, width, height = box
    part = image[:, top : top + height, left : left + width]
    if part.shape[1:] == size:
        return part
    return interpolate(part[None], size, mode="bicubic", antialias=True)[0]


def jpeg_reduction(width: int, height: int, data: Data) -> int:
    """Returns 1, 2, 4 or 8: a JPEG is decoded at 1/this of its size, but at least three times the size wanted.

    That holds however the camera was held, which the file says only further in.
    """
    short, long = sorted(data.size)
    spare = min(width, height) * short / (3 * long * (data.resize or short))
    return max((factor for factor in (8, 4, 2) if factor <= spare), default=1)


def _decode(raw: bytes, data: Data) -> Decoded:
    """Returns the image in the bytes of a file, as decode_image does."""
    if not raw:
        raise ValueError("empty")
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        width, height = image.size
        facts = Facts(hashlib.sha256(raw).hexdigest(), width, height, str(image.format), image.mode)
        pixels = _decode_pixels(image, raw, data)  # (C, h, w)
        orientation = image.getexif().get(ORIENTATION, 1)
    return Decoded(_prepare(pixels, width, height, orientation, data), facts)


def _check_size(width: int, height: int, file_bytes: int) -> None:
    """Refuses an image that would take too much memory, or far too much for the size of its file."""
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width}x{height}, a side of more than {MAX_SIDE:,} pixels")
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width}x{height}, more than {MAX_PIXELS:,} pixels")
    if width * height > max(FREE_PIXELS, MAX_PIXELS_PER_BYTE * file_bytes):
        raise ValueError(f"{width}x{height} from {file_bytes:,} bytes, a decompression bomb")


def _decode_pixels(image: Image.Image, raw: bytes, data: Data) -> Tensor:
    """Returns the first frame as uint8 (C, h, w), over BACKGROUND; a large JPEG at 1/2, 1/4 or 1/8 of its size."""
    factor = jpeg_reduction(*image.size, data)
    width, height = image.width // factor, image.height // factor
    if isinstance(image, JpegImageFile):
        _check_jpeg_scans(image, raw)
        _check_size(width, height, len(raw))
        if image.mode in ("L", "RGB"):
            with suppress(ValueError):  # damaged, or of a kind that only Pillow decodes, in twice the time
                colours = "GRAY" if data.channels == 1 else "RGB"
                pixels = simplejpeg.decode_jpeg(raw, colours, min_height=-(-image.height // factor))  # (h, w, C)
                return torch.from_numpy(pixels).permute(2, 0, 1)
    image.draft(None, (width, height))  # affects JPEG only
    _check_size(image.width, image.height, len(raw))
    tags = getattr(image, "tag_v2", {})  # a TIFF's
    _check_size(tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1), len(raw))
    image.load()
    return _opaque_pixels(image, data.channels)


def _opaque_pixels(image: Image.Image, channels: int) -> Tensor:
    """Returns the pixels of `image` over BACKGROUND, uint8 (C, h, w)."""
    opaque = _without_transparency(image, "L" if channels == 1 else "RGB")
    pixels = np.array(opaque).reshape(opaque.height, opaque.width, channels)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _prepare(pixels: Tensor, width: int, height: int, orientation: int, data: Data) -> Tensor:
    """Returns pixels (C, h, w) of an image of `width` x `height`, which they may be a fraction of, as (C, H, W)."""
    turned = orientation in TURNED
    if turned:
        data = replace(data, image_size=data.size[::-1])  # as the file has it, before it is turned
    factor = round(height / pixels.shape[1])
    box = [edge // factor for edge in crop_box(width, height, data)]
    pixels = crop_and_resize(pixels, box, data.size)
    if turned:
        pixels = pixels.transpose(1, 2)
    return pixels.flip(FLIPS.get(orientation, []))


def _check_jpeg_scans(image: JpegImageFile, raw: bytes) -> None:
    """Refuses a JPEG that takes far more time or memory than its pixels do because it comes in several scans.

    Several scans are kept whole, six bytes a pixel, whatever the size to decode at, and each goes through all of them:
    a kilobyte can ask for 25 GB, or for hours. Pillow has read up to the end of the first scan's header; if that has
    all components, decoding ends with it.

    Source: ITU-T T.81, B.2.3: FF DA, the header's length in two bytes, the number of components, two bytes for each.
    """
    components = len(image.getbands())
    length = 6 + 2 * components
    single_scan = START_OF_SCAN + bytes([0, length, components])
    read = image.fp.tell() if image.fp else 0
    if not image.info.get("progressive") and raw.startswith(single_scan, read - 2 - length):
        return
    _check_size(image.width, image.height, len(raw))
    scans = raw.count(START_OF_SCAN)
    if scans > MAX_SCANS:
        raise ValueError(f"a JPEG in {scans:,} scans, more than {MAX_SCANS}")


def _without_transparency(image: Image.Image, mode: str) -> Image.Image:
    """Returns `image` in `mode`, its transparent parts over BACKGROUND, 16-bit greys scaled to 8 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        grey = grey / 257 if image.mode.startswith("I") else grey
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image)
    return image.convert(mode)


def _decoded_or_reason(decode: Callable[[], Decoded]) -> Decoded | str:
    """Returns decode(), or in words why the file is no image."""
    _silence_libraries()
    try:
        return decode()
    except MemoryError:
        return "too large for the memory"
    except UnidentifiedImageError:
        return f"not an image ({', '.join(FORMATS)})"
    except OSError as e:
        return one_line(e.strerror or e)
    except Exception as e:  # Pillow raises a dozen kinds for damaged bytes; all mean that the file is not an image
        return one_line(e) or type(e).__name__


@cache  # once a process
def _silence_libraries() -> None:
    """Keeps Pillow and libtiff from printing what is wrong with a file: the reason is returned and reported once."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(AttributeError, OSError):  # not every build of Pillow has this function
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)
