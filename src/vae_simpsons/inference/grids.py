"""Pictures for people: Pillow's, grids that show themselves in a notebook, labels beside their rows, animations."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vae_simpsons.errors import writing
from vae_simpsons.files import atomic_path
from vae_simpsons.images import PADDING, denormalise, make_grid

COLUMNS = 8  # pictures in a row of a grid
LABELLED_PIXELS = 32  # the least height and width of a picture that is labelled: two lines of text
MARGIN = 4  # pixels around a label
INK = 40  # grey level of labels, on white
LETTER_PIXELS = 12  # size of the font; below it, spaces between words vanish
FRAME_MS = 80  # how long a frame is shown
FORMATS = {".gif": "GIF", ".webp": "WEBP"}


class Grid(list[Image.Image]):
    """A list of Pillow's pictures, all of one size, that a notebook shows as a grid.

    Attributes:
        columns: pictures in a row.
        row_labels, column_labels: text beside each row and above each column; none where they are empty.
    """

    def __init__(
        self,
        pictures: Iterable[Image.Image],
        columns: int = COLUMNS,
        row_labels: Sequence[str] = (),
        column_labels: Sequence[str] = (),
    ) -> None:
        super().__init__(pictures)
        self.columns = columns
        self.row_labels = row_labels
        self.column_labels = column_labels

    def picture(self) -> Image.Image:
        """Returns the grid as one picture."""
        pixels = torch.stack([from_pil(picture) for picture in self])
        return to_pil(draw_grid(pixels, self.columns, self.row_labels, self.column_labels))

    def _repr_png_(self) -> bytes | None:
        """Returns what a notebook shows: the bytes of a PNG; nothing for an empty list."""
        if not self:
            return None
        buffer = io.BytesIO()
        self.picture().save(buffer, "PNG")
        return buffer.getvalue()


def to_pil(pixels: Tensor) -> Image.Image:
    """Returns uint8 pixels (C, h, w), C 1 or 3, as Pillow's picture, L or RGB."""
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))


def from_pil(picture: Image.Image) -> Tensor:
    """Returns Pillow's picture, L or RGB, as uint8 pixels (C, h, w)."""
    array = np.array(picture).reshape(picture.height, picture.width, -1)
    return torch.from_numpy(array).permute(2, 0, 1)


def pictures_in(x: Tensor) -> list[Image.Image]:
    """Returns x (n, C, H, W) in [-1, 1] as Pillow's pictures."""
    return [to_pil(pixels) for pixels in denormalise(x)]


def draw_grid(pixels: Tensor, columns: int, row_labels: Sequence[str], column_labels: Sequence[str] = ()) -> Tensor:
    """Returns uint8 images (n, C, H, W) as one grid (C, h, w), with labels left of its rows and above its columns.

    Small images are enlarged by a whole factor where labels would not fit beside them.
    """
    if not row_labels and not column_labels:
        return make_grid(pixels, columns)
    factor = -(-LABELLED_PIXELS // min(pixels.shape[-2:]))
    pixels = pixels.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    picture = make_grid(pixels, columns)
    height, width = pixels.shape[-2:]
    left = max((_text_size(label)[0] + 2 * MARGIN for label in row_labels), default=0)
    top = max((_text_size(label)[1] + 2 * MARGIN for label in column_labels), default=0)
    canvas = picture.new_full((picture.shape[0], picture.shape[1] + top, picture.shape[2] + left), 255)
    canvas[:, top:, left:] = picture
    for row, label in enumerate(row_labels):
        middle = top + PADDING + row * (height + PADDING) + height // 2
        _stamp(canvas, label, left - MARGIN - _text_size(label)[0], middle - _text_size(label)[1] // 2)
    for column, label in enumerate(column_labels):
        middle = left + PADDING + column * (width + PADDING) + width // 2
        _stamp(canvas, label, middle - _text_size(label)[0] // 2, MARGIN)
    return canvas


def write_animation(name: str, path: Path, pictures: Sequence[Image.Image]) -> None:
    """Writes pictures of one size as frames of a .gif or .webp that repeats for ever; `path` is replaced atomically.

    Args:
        name: what the user calls `path`, for errors.

    Raises:
        VAEError: it cannot be written.
    """
    with writing(name, path), atomic_path(path) as temporary:
        save_animation(temporary, FORMATS[path.suffix.lower()], pictures)


def save_animation(file: Path | BinaryIO, kind: str, pictures: Sequence[Image.Image]) -> None:
    """Writes pictures of one size as frames of an animation, one of FORMATS, that repeats for ever."""
    quality = {"quality": 90, "method": 4} if kind == "WEBP" else {}
    first, *others = pictures
    first.save(file, kind, save_all=True, append_images=others, duration=FRAME_MS, loop=0, **quality)


def _text_size(text: str) -> tuple[int, int]:
    """Returns width and height of `text`, which may have several lines, in pixels."""
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, ImageFont.load_default(LETTER_PIXELS))
    return int(box[2]) + 1, int(box[3]) + 1


def _stamp(canvas: Tensor, text: str, left: int, top: int) -> None:
    """Draws `text` onto a uint8 picture (C, h, w) in place, with Pillow's own font; what does not fit is cut off."""
    width, height = _text_size(text)
    label = Image.new("L", (width, height), 255)
    ImageDraw.Draw(label).multiline_text((0, 0), text, INK, ImageFont.load_default(LETTER_PIXELS), align="right")
    skip_left, skip_top = max(0, -left), max(0, -top)
    part = from_pil(label)[:, skip_top:, skip_left:]
    place = canvas[:, max(0, top) : top + height, max(0, left) : left + width]
    torch.minimum(place, part[:, : place.shape[1], : place.shape[2]], out=place)
