"""GIF and WebP animations."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from vae_simpsons.errors import VAEError, cannot_write
from vae_simpsons.files import atomic_path
from vae_simpsons.images import check_png_target

FRAME_MS = 80  # how long a frame is shown
FORMATS = {".gif": "GIF", ".webp": "WEBP"}


def check_walk_target(name: str, path: Path) -> bool:
    """Returns whether `path` names an animation, .gif or .webp, rather than a .png.

    Raises:
        VAEError: another ending, a folder, or a file of another kind, which is not overwritten.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        if path.suffix.lower() != ".png":
            raise VAEError(f"{name}: {path} ends in none of .png .gif .webp, the formats written. Give such a name.")
        check_png_target(name, path)
        return False
    if path.is_dir():
        raise VAEError(f"{name}: {path} is a folder. Give the name of a file, say {path / 'walk.gif'}.")
    if path.exists() and path.stat().st_size and not _is(path, kind):
        raise VAEError(f"{name}: {path} exists and is no {kind}; it is not overwritten. Give another name.")
    return True


def write_animation(name: str, path: Path, pictures: Sequence[Image.Image]) -> None:
    """Writes pictures of one size as frames of a .gif or .webp that repeats for ever; `path` is replaced atomically.

    Args:
        name: what the user calls `path`, for errors.

    Raises:
        VAEError: it cannot be written.
    """
    try:
        with atomic_path(path) as temporary:
            save_animation(temporary, FORMATS[path.suffix.lower()], pictures)
    except OSError as e:
        raise cannot_write(name, path, e, "path") from None


def save_animation(file: Path | BinaryIO, kind: str, pictures: Sequence[Image.Image]) -> None:
    """Writes pictures of one size as frames of an animation, one of FORMATS, that repeats for ever."""
    quality = {"quality": 90, "method": 4} if kind == "WEBP" else {}
    first, *others = pictures
    first.save(file, kind, save_all=True, append_images=others, duration=FRAME_MS, loop=0, **quality)


def _is(path: Path, kind: str) -> bool:
    try:
        with Image.open(path, formats=[kind]):
            return True
    except OSError:
        return False
