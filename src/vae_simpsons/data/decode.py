"""One image file, whatever it is -> pixels at the size that is trained on."""

import ctypes
import hashlib
import io
import logging
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from vae_simpsons.data.folder import File
from vae_simpsons.data.headers import check_jpeg_scans, check_size, is_jpeg, is_upright_jpeg
from vae_simpsons.data.index import Facts
from vae_simpsons.errors import one_line
from vae_simpsons.settings import Data

ORIENTATION = 0x0112  # EXIF tag: how the camera was held; 1 is upright
TILE_WIDTH, TILE_LENGTH = 322, 323  # TIFF tags
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # of Pillow's, by content; its others are never tried
BACKGROUND = (255, 255, 255)  # behind transparent parts
MAX_BYTES = 2**30  # of a file


class Decoded(NamedTuple):
    """An image at the size that is trained on."""

    pixels: Tensor  # uint8 (C, S, S)
    facts: Facts


class Block(NamedTuple):
    """Some files of a folder, decoded."""

    outcomes: list[Facts | str]  # of each file, or the reason why it is not an image
    pixels: Tensor  # uint8 (n, C, S, S), of the n images


class Stored(NamedTuple):
    """An image as it is stored in its file."""

    pixels: Tensor  # uint8 (C, h, w); of a large JPEG a half, a quarter or an eighth of height and width
    width: int
    height: int
    format: str
    mode: str
    orientation: int  # EXIF's, 1 to 8; 1 is upright


def decode_block(folder: Path, files: Sequence[File], data: Data) -> Block:
    """Decodes `files` of `folder`; what a file contains never raises."""
    _silence_libraries()
    outcomes: list[Facts | str] = []
    pixels = torch.empty(len(files), data.channels, data.image_size, data.image_size, dtype=torch.uint8)
    images = 0
    for file in files:
        outcome = _decoded_or_reason(folder / file.path, data)
        if isinstance(outcome, str):
            outcomes.append(outcome)
        else:
            outcomes.append(outcome.facts)
            pixels[images] = outcome.pixels
            images += 1
    return Block(outcomes, pixels[:images])


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
    raw = np.fromfile(path, dtype=np.uint8)
    stored = _decode_plain_jpeg(raw, data) or _decode_any(raw, data)
    facts = Facts(hashlib.sha256(raw).hexdigest(), stored.width, stored.height, stored.format, stored.mode)
    return Decoded(_prepare(stored, data), facts)


def prepare_picture(picture: Image.Image, data: Data) -> Tensor:
    """Returns a picture that Pillow has opened or made, uint8 (C, S, S), prepared as a file's is.

    Raises:
        Exception: of many kinds: what Pillow says of a file that it opened and cannot read.
    """
    width, height, kind, mode = picture.width, picture.height, str(picture.format), picture.mode
    orientation = picture.getexif().get(ORIENTATION, 1)
    return _prepare(Stored(_opaque_pixels(picture, data.channels), width, height, kind, mode, orientation), data)


def crop_box(width: int, height: int, data: Data) -> tuple[int, int, int, int]:
    """Returns left, top, width and height, in pixels of the image, of what is kept: the middle square, or all of it.

    All four are multiples of jpeg_reduction, so that the box is the same at whatever size a JPEG is decoded.
    """
    if data.crop == "none":
        return 0, 0, width, height
    step = jpeg_reduction(width, height, data)
    side = max(1, round(min(width, height) * data.image_size / (data.resize or data.image_size)))
    side = side // step * step
    return (width - side) // 2 // step * step, (height - side) // 2 // step * step, side, side


def crop_and_resize(image: Tensor, box: Sequence[int], size: int) -> Tensor:
    """Returns the `box` of uint8 `image` (C, h, w) as (C, size, size), bicubic and antialiased."""
    left, top, width, height = box
    part = image[:, top : top + height, left : left + width]
    if part.shape[1:] == (size, size):
        return part
    return interpolate(part[None], (size, size), mode="bicubic", antialias=True)[0]


def turn_upright(pixels: Tensor, orientation: int) -> Tensor:
    """Returns square `pixels` (C, S, S) as the camera saw them.

    Source: Exif 2.3, tag 0x0112: which side of the scene the first row and the first column are.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 2)
    flips = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}.get(orientation, [])
    return pixels.flip(flips) if flips else pixels


def jpeg_reduction(width: int, height: int, data: Data) -> int:
    """Returns 1, 2, 4 or 8: a JPEG is decoded at 1/this of its size, but at least three times the size wanted."""
    spare = min(width, height) / (3 * (data.resize or data.image_size))
    return max((factor for factor in (8, 4, 2) if factor <= spare), default=1)


def _decode_plain_jpeg(raw: np.ndarray, data: Data) -> Stored | None:
    """Decodes a JPEG without peculiarities in half of Pillow's time; returns None for anything else."""
    if not is_upright_jpeg(raw):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(raw)
        mode = {"YCbCr": "RGB", "RGB": "RGB", "Gray": "L"}.get(colours)
        factor = jpeg_reduction(width, height, data)
        if mode is None:
            return None
        check_jpeg_scans(raw, width, height)
        check_size(width // factor, height // factor, len(raw))
        colours = "GRAY" if data.channels == 1 else "RGB"
        pixels = simplejpeg.decode_jpeg(raw, colours, min_height=-(-height // factor))  # (h, w, C)
    except ValueError:  # damaged, or of a kind that libjpeg-turbo's own interface does not support
        return None
    return Stored(torch.from_numpy(pixels).permute(2, 0, 1), width, height, "JPEG", mode, 1)


def _decode_any(raw: np.ndarray, data: Data) -> Stored:
    """Decodes the first frame of any image with Pillow, over BACKGROUND."""
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        width, height, kind, mode = image.width, image.height, str(image.format), image.mode
        factor = jpeg_reduction(width, height, data)
        if is_jpeg(raw):
            check_jpeg_scans(raw, width, height)
        image.draft(None, (width // factor, height // factor))  # affects JPEG only
        check_size(image.width, image.height, len(raw))
        tags = getattr(image, "tag_v2", {})  # a TIFF's
        check_size(tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1), len(raw))
        image.load()
        pixels = _opaque_pixels(image, data.channels)
        orientation = image.getexif().get(ORIENTATION, 1)
    return Stored(pixels, width, height, kind, mode, orientation)


def _prepare(stored: Stored, data: Data) -> Tensor:
    """Returns an image as it is trained on, uint8 (C, S, S)."""
    factor = round(stored.height / stored.pixels.shape[1])
    box = [edge // factor for edge in crop_box(stored.width, stored.height, data)]
    return turn_upright(crop_and_resize(stored.pixels, box, data.image_size), stored.orientation)


def _opaque_pixels(image: Image.Image, channels: int) -> Tensor:
    """Returns the pixels of `image` over BACKGROUND, uint8 (C, h, w)."""
    opaque = _without_transparency(image, "L" if channels == 1 else "RGB")
    pixels = np.array(opaque).reshape(opaque.height, opaque.width, channels)
    return torch.from_numpy(pixels).permute(2, 0, 1)


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


def _decoded_or_reason(path: Path, data: Data) -> Decoded | str:
    try:
        return decode_image(path, data)
    except MemoryError:
        return "too large for the memory"
    except UnidentifiedImageError:
        return f"not an image ({', '.join(FORMATS)})" if path.stat().st_size else "empty"
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
