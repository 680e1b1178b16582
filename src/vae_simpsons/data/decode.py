"""One image file, whatever it is -> pixels at the size that is trained on."""

import hashlib
import io
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor
from torch.nn.functional import interpolate

from vae_simpsons.data.colour import convert, profile_of, to_srgb
from vae_simpsons.data.folder import File
from vae_simpsons.data.formats import FORMATS, as_pillow_reads_it, prepare_pillow
from vae_simpsons.data.index import Facts
from vae_simpsons.data.levels import Extremes
from vae_simpsons.data.limits import MAX_BYTES, check_jpeg_scans, check_memory, check_size
from vae_simpsons.data.opaque import make_opaque
from vae_simpsons.errors import one_line
from vae_simpsons.settings import Data

ORIENTATION = 0x0112  # EXIF tag: how the camera was held; 1 is upright
FLIPS = {2: [2], 3: [1, 2], 4: [1], 6: [2], 7: [1, 2], 8: [1]}  # by orientation: dimensions of (C, H, W)
TURNED = (5, 6, 7, 8)  # orientations whose rows are the columns of the upright picture; Exif 2.3
PNG_SIGNATURE, PNG_PIXELS = b"\x89PNG\r\n\x1a\n", (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


class Decoded(NamedTuple):
    """An image at the size that is trained on."""

    pixels: Tensor  # uint8 (C, H, W)
    facts: Facts
    extremes: Extremes | None  # of samples of more than 8 bits that nothing gives a range


class Block(NamedTuple):
    """Some files of a folder, decoded."""

    outcomes: list[Facts | str]  # of each file, or the reason why it is not an image
    pixels: Tensor  # uint8 (n, C, H, W), of the n images
    extremes: list[Extremes]  # of samples of more than 8 bits that nothing gives a range, in any order


def decode_block(folder: Path, files: Sequence[File], data: Data) -> Block:
    """Decodes `files` of `folder`; what a file contains never raises."""
    decoded = [_decoded_or_reason(partial(decode_image, folder / file.path, data)) for file in files]
    images = [d.pixels for d in decoded if isinstance(d, Decoded)]
    extremes = [d.extremes for d in decoded if isinstance(d, Decoded) and d.extremes]
    none = torch.empty(0, data.channels, *data.size, dtype=torch.uint8)
    outcomes = [d.facts if isinstance(d, Decoded) else d for d in decoded]
    return Block(outcomes, torch.stack(images) if images else none, extremes)


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
    return _decode_opened(picture, None, data)[0]


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
    """Returns the image in the bytes of a file, as decode_image does; a PNG's metadata may be broken."""
    if not raw:
        raise ValueError("empty")
    try:
        return _decode_readable(raw, raw, data)
    except (OSError, SyntaxError, ValueError):
        if not raw.startswith(PNG_SIGNATURE):
            raise
        return _decode_readable(_without_metadata(raw), raw, data)


def _decode_readable(readable: bytes, raw: bytes, data: Data) -> Decoded:
    """Returns the image in the file `raw`, of which `readable` is what is read."""
    prepare_pillow()
    readable = as_pillow_reads_it(readable)
    with Image.open(io.BytesIO(readable), formats=FORMATS) as image:
        width, height, mode = *image.size, image.mode
        pixels, extremes, profile = _decode_opened(image, readable, data)
        facts = Facts(hashlib.sha256(raw).hexdigest(), width, height, str(image.format), mode, profile)
    return Decoded(pixels, facts, extremes)


def _decode_opened(image: Image.Image, raw: bytes | None, data: Data) -> tuple[Tensor, Extremes | None, str]:
    """Returns an opened picture as (C, H, W), the range of its samples if they need one, and its profile's outcome."""
    width, height = image.size
    profile = profile_of(image)
    grey = profile.mode == "L" if profile.transform else data.channels == 1
    pixels = _decode_jpeg(image, raw, grey, data) if raw and isinstance(image, JpegImageFile) else None
    extremes, transform = None, profile.transform
    if pixels is None:
        if raw:
            check_memory(image, len(raw))
        opaque, extremes = make_opaque(image, raw, data.levels)
        if transform and opaque.mode == profile.mode and profile.mode in ("CMYK", "LAB"):
            opaque, transform = convert(opaque, transform), None
        opaque = opaque.convert("L" if grey else "RGB")
        array = np.array(opaque).reshape(opaque.height, opaque.width, 1 if grey else 3)
        pixels = torch.from_numpy(array).permute(2, 0, 1)
    prepared = _prepare(pixels, width, height, _orientation(image), data)
    return to_srgb(prepared, transform, data.channels) if transform else prepared, extremes, profile.outcome


def _decode_jpeg(image: JpegImageFile, raw: bytes, grey: bool, data: Data) -> Tensor | None:
    """Returns the pixels of a JPEG, uint8 (1 or 3, h, w), a large one at 1/2, 1/4 or 1/8 of its size.

    None for one that only Pillow decodes, in twice the time; it is told the size.
    """
    factor = jpeg_reduction(*image.size, data)
    width, height = image.width // factor, image.height // factor
    check_jpeg_scans(image, raw)
    check_size(width, height, len(raw))
    if image.mode in ("L", "RGB"):
        with suppress(ValueError):  # damaged, or of another kind
            colours = "GRAY" if grey else "RGB"
            pixels = simplejpeg.decode_jpeg(raw, colours, min_height=-(-image.height // factor))  # (h, w, C)
            return torch.from_numpy(pixels).permute(2, 0, 1)
    image.draft(None, (width, height))
    return None


def _orientation(image: Image.Image) -> int:
    """Returns how the camera was held; upright where the metadata cannot be read."""
    with suppress(Exception):  # Pillow raises a dozen kinds for broken metadata; the picture is not in it
        return image.getexif().get(ORIENTATION, 1)
    return 1


def _without_metadata(png: bytes) -> bytes:
    """Returns a PNG with those of its chunks alone that decide its pixels.

    Source: PNG, third edition, 5.3: a chunk is its length in four bytes, its type, its data and a checksum.
    """
    kept, start = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while start < len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4])
        if png[start + 4 : start + 8] in PNG_PIXELS:
            kept.append(png[start:end])
        start = end
    return b"".join(kept)


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


def _decoded_or_reason(decode: Callable[[], Decoded]) -> Decoded | str:
    """Returns decode(), or in words why the file is no image."""
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
