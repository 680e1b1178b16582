"""Pixels as the files that a browser shows: PNG and GIF."""

import io
import math
from base64 import b64encode

from torch import Tensor

from vae_simpsons.images import denormalise, make_sheet
from vae_simpsons.inference.grids import pictures_in, save_animation, to_pil

THUMB = 64  # the larger side of a thumbnail, pixels
FAST = 1  # zlib's level


def png(pixels: Tensor) -> bytes:
    """Returns uint8 pixels (C, h, w) as a PNG."""
    buffer = io.BytesIO()
    to_pil(pixels).save(buffer, "PNG", compress_level=FAST)
    return buffer.getvalue()


def gif(x: Tensor) -> bytes:
    """Returns images (n, C, H, W) in [-1, 1] as a GIF that repeats for ever."""
    buffer = io.BytesIO()
    save_animation(buffer, "GIF", pictures_in(x))
    return buffer.getvalue()


def data_uri(pixels: Tensor) -> str:
    """Returns uint8 pixels (C, h, w) as a PNG in a data URI."""
    return f"data:image/png;base64,{b64encode(png(pixels)).decode()}"


def columns_of(count: int) -> int:
    """Returns how many pictures a sheet of `count` has in a row."""
    return math.ceil(math.sqrt(count))


def sheet(pixels: Tensor) -> Tensor:
    """Returns uint8 pictures (n, C, H, W) as one, (C, h, w), row by row without gaps; the last row may end in black."""
    columns = columns_of(len(pixels))
    return make_sheet(pixels, -(-len(pixels) // columns), columns)


def sheet_of(x: Tensor) -> dict[str, object]:
    """Returns images (n, C, H, W) in [-1, 1] as a sheet for the page: its address and pictures in a row."""
    return {"src": data_uri(sheet(denormalise(x))), "columns": columns_of(len(x)), "count": len(x)}
