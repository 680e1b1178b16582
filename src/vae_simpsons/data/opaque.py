"""A picture that Pillow has opened -> 8 bits a sample, without transparency, in the colours of the file."""

import numpy as np
from PIL import Image

from vae_simpsons.data.levels import Extremes, parse_levels, read_samples, to_8_bits

BACKGROUND = (255, 255, 255)  # behind transparent parts
GREY_BITS = {"L;2": 2, "L;4": 4}  # of a PNG's samples, by Pillow's raw modes


def make_opaque(image: Image.Image, raw: bytes | None, levels: str | None) -> tuple[Image.Image, Extremes | None]:
    """Returns an opened picture, which is loaded, over BACKGROUND and with 8 bits a sample.

    With it comes the range of its samples, if they have more bits and neither the file nor `levels` says which value
    is black and which is white.

    Args:
        raw: the picture's file, if there is one.
        levels: as data.levels has them.
    """
    clear, given = _transparent_value(image), parse_levels(levels)
    samples = read_samples(image, raw)
    if samples is None:
        if clear is not None:
            image.info["transparency"] = clear
        return _over_background(image), None
    pixels = to_8_bits(samples, given)
    if clear is not None:
        pixels[np.atleast_3d(samples.values == clear).all(axis=2)] = BACKGROUND[0]
    picture = Image.fromarray(pixels)
    if image.mode == "RGBA":
        picture.putalpha(image.getchannel("A"))
    says = samples.stated is not None or samples.extremes.kind in given
    return _over_background(picture), None if says else samples.extremes


def _over_background(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # with its greys multiplied by alpha
        image = image.convert("LA")
    if image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # bytes that were left zero, as most programs take them
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image)
    return image


def _transparent_value(image: Image.Image) -> int | tuple[int, ...] | None:
    """Returns the grey or colour of an unloaded PNG that is transparent, scaled as Pillow scales its pixels, if any.

    Source: PNG, third edition, 11.3.1.1 tRNS: two bytes a sample, of which only the lower bits count.
    """
    clear, mode = image.info.get("transparency"), image.mode
    if image.format != "PNG" or isinstance(clear, bytes | None) or mode not in ("L", "RGB", "I;16"):
        return None
    tiles = getattr(image, "tile", None)
    raw_mode = tiles[0].args if tiles else mode
    if ";16" in raw_mode:
        return clear
    most = 2 ** GREY_BITS.get(raw_mode, 8) - 1
    return (clear & most) * 255 // most if mode == "L" else tuple(sample & most for sample in clear)
