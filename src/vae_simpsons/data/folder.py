"""A folder -> the sorted paths of its images, and one image -> pixels."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vae_simpsons.errors import VAEError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
BACKGROUND = (255, 255, 255)  # what shows through where an image is transparent


def find_images(folder: Path) -> list[Path]:
    """The images below `folder`, at any depth, sorted by their path in it; hidden files and linked folders are not.

    Raises:
        VAEError: no such folder, not a folder, or no image in it.
    """
    if not folder.exists():
        raise VAEError(f"data.path: no such folder: {folder}. Give a folder of images with --data.path DIR.")
    if not folder.is_dir():
        raise VAEError(f"data.path: {folder} is a file. Give the folder that the images are in.")
    found, folders = [], 0
    for parent, subfolders, names in os.walk(folder):
        folders += 1
        subfolders[:] = [s for s in subfolders if not s.startswith(".")]
        found += [Path(parent, n) for n in names if n.lower().endswith(EXTENSIONS) and not n.startswith(".")]
    if not found:
        raise VAEError(
            f"data.path: no images under {folder} ({folders} {'folder' if folders == 1 else 'folders'} searched for "
            f"{' '.join(EXTENSIONS)}). Point data.path at a folder of images."
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def read_image(path: Path, size: int, channels: int) -> np.ndarray:
    """The image at `path` as uint8 (channels, size, size): upright, its short side resized to `size`, centre-cropped.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: Pillow cannot read it.
    """
    with Image.open(path) as opened:
        # JPEG decodes at 1/2, 1/4, 1/8 for a fraction of the cost; twice the size keeps the resize antialiased.
        opened.draft(None, (2 * size, 2 * size))
        image = _flat(ImageOps.exif_transpose(opened), "L" if channels == 1 else "RGB")
    image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.uint8).reshape(size, size, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))  # (channels, size, size)


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """`image` in `mode`, its transparent parts over BACKGROUND, 16-bit greys scaled to 8 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        grey = grey / 257 if image.mode.startswith("I") else grey
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image)
    return image.convert(mode)
