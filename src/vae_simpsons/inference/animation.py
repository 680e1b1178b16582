"""GIF and WebP animations."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from vae_simpsons.errors import writing
from vae_simpsons.files import atomic_path

FRAME_MS = 80  # how long a frame is shown
FORMATS = {".gif": "GIF", ".webp": "WEBP"}


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
