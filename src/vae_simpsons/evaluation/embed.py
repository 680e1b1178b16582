"""Pictures inside of an HTML page: grids with transparent gaps, as WebP in data URIs that keep to a budget."""

import io
from base64 import b64encode
from html import escape

from PIL import Image
from torch import Tensor

from vae_simpsons.inference.grids import to_pil

GAP = 2  # transparent pixels between the images of a grid, so that it stands on a light and on a dark page
LARGEST = 128  # pixels of one image of a grid; a page shows it no larger
BUDGET = 320_000  # bytes of a picture's file, unless told otherwise
QUALITIES = (92, 80, 65)  # of lossy WebP, tried in turn where the lossless file is larger than the budget
SMALLER = 0.75  # by which a picture that is still too large is shrunk, again and again
LEAST = 16  # pixels; no side is shrunk below


def draw_grid(images: Tensor, columns: int, gap: int = GAP) -> Image.Image:
    """Returns uint8 images (n, C, H, W) as one picture, `columns` in a row, with transparent gaps."""
    cells = [_to_pillow(image) for image in images]
    width, height = cells[0].size
    rows = -(-len(cells) // columns)
    size = (columns * (width + gap) - gap, rows * (height + gap) - gap)
    grid = Image.new("RGBA", size)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        grid.paste(cell, (column * (width + gap), row * (height + gap)))
    return grid


def data_uri(picture: Image.Image, budget: int = BUDGET, lossy: bool = False) -> str:
    """Returns `picture` as a data URI of a WebP of at most `budget` bytes: lossless, else lossy, else smaller too.

    Args:
        lossy: do not try without loss.
    """
    data = b"" if lossy else webp(picture, lossless=True)
    while not data or len(data) > budget:
        for quality in QUALITIES:
            data = webp(picture, quality=quality)
            if len(data) <= budget:
                break
        else:
            width, height = (max(LEAST, round(SMALLER * side)) for side in picture.size)
            smaller = (width, height)
            if smaller == picture.size:
                break
            picture = picture.resize(smaller, Image.Resampling.LANCZOS)
    return webp_uri(data)


def image_tag(picture: Image.Image, alt: str, budget: int = BUDGET) -> str:
    """Returns an <img> of `picture`, described by `alt`."""
    width, height = picture.size
    return f'<img src="{data_uri(picture, budget)}" width="{width}" height="{height}" alt="{escape(alt)}">'


def _to_pillow(image: Tensor) -> Image.Image:
    """Returns a uint8 image (C, H, W), C 1 or 3, no larger than LARGEST."""
    picture = to_pil(image).convert("RGB")
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return picture


def webp_uri(data: bytes) -> str:
    """Returns the bytes of a WebP as a data URI."""
    return f"data:image/webp;base64,{b64encode(data).decode()}"


def webp(picture: Image.Image, **options: int) -> bytes:
    """Returns `picture` as the bytes of a WebP."""
    file = io.BytesIO()
    picture.save(file, "WEBP", method=4, **options)
    return file.getvalue()
