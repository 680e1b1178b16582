"""Pictures with a colour profile -> sRGB."""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import Tensor

GREYS = ("1", "L", "I", "F")  # how the modes begin that a profile of greys describes
SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}  # of a profile, by the mode that it describes
SRGB = ImageCms.createProfile("sRGB")
SAME = 2  # levels that colours may move by where a profile is taken for sRGB
MAX_PROFILE_BYTES = 2**22  # a printer's have three million
CONVERTED, IGNORED = "converted", "ignored"


class Profile(NamedTuple):
    """What a picture's colour profile asks for."""

    mode: str  # L, RGB, CMYK or LAB: the mode of the pixels that are converted
    transform: ImageCms.ImageCmsTransform | None = None  # to RGB; None: the colours stay as they are
    outcome: str = ""  # CONVERTED; IGNORED, a broken one or of other colours; nothing: sRGB, or there is none


def profile_of(image: Image.Image) -> Profile:
    """Returns what the profile of an opened picture asks for."""
    mode = image.mode if image.mode in SPACES else "L" if image.mode.startswith(GREYS) else "RGB"
    content = image.info.get("icc_profile")
    if not content and mode != "LAB":
        return Profile(mode)
    try:
        transform = _transform(content, mode)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return Profile(mode, outcome=IGNORED)
    return Profile(mode, transform, CONVERTED if transform else "")


def to_srgb(pixels: Tensor, transform: ImageCms.ImageCmsTransform, channels: int) -> Tensor:
    """Returns the pixels of a picture, uint8 (1 or 3, H, W), in sRGB as (channels, H, W)."""
    array = pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
    converted = convert(picture, transform).convert("L" if channels == 1 else "RGB")
    return torch.from_numpy(np.array(converted).reshape(*pixels.shape[1:], channels)).permute(2, 0, 1)


def convert(picture: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    """Returns a picture in sRGB."""
    converted = ImageCms.applyTransform(picture, transform)
    assert converted, "it is not converted in place"
    return converted


@lru_cache(16)  # a folder's pictures come from few cameras
def _transform(content: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns what converts pixels of `mode` to sRGB; None for a profile that is sRGB, whatever its name.

    Raises:
        PyCMSError, OSError, TypeError, ValueError: broken, or not of these colours.
    """
    if content and len(content) > MAX_PROFILE_BYTES:
        raise ValueError("too large")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(content) if content else ImageCms.createProfile("LAB"))
    if content and profile.profile.xcolor_space.strip() != SPACES[mode]:
        raise ValueError(f"a profile of {profile.profile.xcolor_space}")
    transform = ImageCms.buildTransform(profile, SRGB, mode, "RGB")
    if mode in ("L", "RGB"):
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        greys = steps[None] if mode == "L" else np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
        before = Image.fromarray(greys)
        after = np.asarray(convert(before, transform), dtype=int)
        if abs(after - np.asarray(before.convert("RGB"))).max() <= SAME:
            return None
    return transform
