"""One image file, whatever it is -> pixels at the size that is trained on."""

import hashlib
import io
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from vae_simpsons.config import Data
from vae_simpsons.data.folder import File
from vae_simpsons.data.index import Facts
from vae_simpsons.errors import one_line

ORIENTATION = 0x0112  # EXIF: how the camera was held; 1 is upright
JPEG_START = b"\xff\xd8\xff"
TURNED = (b"Exif\0\0", b"tiff:Orientation")  # one of these is in a file that may have to be turned
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # of Pillow's, by content; its others are never tried
BACKGROUND = (255, 255, 255)  # what shows through where an image is transparent
MAX_BYTES = 2**30  # of a file
MAX_PIXELS = 2**26  # that are decoded, 67 million; a JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough


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
    scale = round(stored.height / stored.pixels.shape[1])  # 2, 4 or 8 where a JPEG was decoded at a part of its size
    box = [edge // scale for edge in crop_box(stored.width, stored.height, data)]
    return Decoded(upright(resize(stored.pixels, box, data.image_size), stored.orientation), facts)


def crop_box(width: int, height: int, data: Data) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is kept of an image, in its own pixels: the middle square, or all of it.

    In a large image the box keeps to multiples of 8 pixels, so that it is the same at 1/2, 1/4 and 1/8 of its size.
    """
    if data.crop == "none":
        return 0, 0, width, height
    step = 8 if _reducible(width, height, data) else 1
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
    content = raw.tobytes()
    if not content.startswith(JPEG_START) or any(mark in content for mark in TURNED):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(raw)
        mode = {"YCbCr": "RGB", "RGB": "RGB", "Gray": "L"}.get(colours)
        if mode is None or _reducible(width, height, data) or width * height > MAX_PIXELS:
            return None
        pixels = simplejpeg.decode_jpeg(raw, "GRAY" if data.channels == 1 else "RGB")  # (h, w, C)
    except ValueError:  # damaged, or of a kind that libjpeg-turbo's own interface does not take
        return None
    return Stored(torch.from_numpy(pixels).permute(2, 0, 1), width, height, "JPEG", mode, 1)


def _any_image(raw: np.ndarray, data: Data) -> Stored:
    """Any image, through Pillow: its first frame, over BACKGROUND."""
    with Image.open(io.BytesIO(raw), formats=FORMATS) as image:
        width, height, kind, mode = image.width, image.height, str(image.format), image.mode
        if _reducible(width, height, data):
            target = 4 * (data.resize or data.image_size)
            image.draft(None, (target, target))  # a JPEG's own 1/2, 1/4 or 1/8, never below the size asked for
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height}, more than {MAX_PIXELS:,} pixels")
        image.load()
        flat = flatten(image, "L" if data.channels == 1 else "RGB")
        orientation = image.getexif().get(ORIENTATION, 1)
    pixels = np.array(flat).reshape(flat.height, flat.width, data.channels)
    return Stored(torch.from_numpy(pixels).permute(2, 0, 1), width, height, kind, mode, orientation)


def _reducible(width: int, height: int, data: Data) -> bool:
    """Whether an image is so large that at half its size it is still four times as large as needed."""
    return min(width, height) >= 8 * (data.resize or data.image_size)


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
