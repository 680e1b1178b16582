"""Samples of more than 8 bits -> 8 bits: which value is black, and which is white.

A file may say so: by the number of its bits, or by its tags. Where it does not, all files of a folder whose samples
have a type share one range: the smallest usual one that holds their values, or else from their lowest to their highest.
Ranges are written as the setting data.levels has them: 'uint16 0 4095, float32 0 1'.
"""

import io
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from vae_simpsons.data.formats import BITS_PER_SAMPLE, correct_tiff

PHOTOMETRIC, SAMPLE_FORMAT = 262, 339  # TIFF tags; TIFF 6.0
LEAST_VALUE, MOST_VALUE = 280, 281  # TIFF: of the samples, for statistics
BLACK_VALUE, WHITE_VALUE = 340, 341  # TIFF: SMinSampleValue and SMaxSampleValue
DEPTHS = (8, 10, 12, 14, 16)  # bits of a camera's samples, in files of 16 or 32
FLOAT_RANGES = ((0, 1), (0, 255), (0, 65535))
OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}  # of bytes, in Pillow's raw modes

Ranges = Mapping[str, tuple[float, float]]  # black and white, by the type of the samples


class Extremes(NamedTuple):
    """The range of the samples of a file, or of several, that do not say what is black and what is white."""

    kind: str  # numpy's name of the type
    lowest: float
    highest: float


class Samples(NamedTuple):
    """The samples of a picture."""

    values: np.ndarray  # (h, w) or (h, w, 3)
    stated: tuple[float, float] | None  # black and white, if the file says so
    extremes: Extremes
    inverted: bool  # the lowest value is white


def read_samples(image: Image.Image, raw: bytes | None) -> Samples | None:
    """Returns the samples of an opened picture, which it loads; None if none has more than 8 bits or a sign.

    Args:
        raw: the picture's file, from which the 16 bits of colours are read; Pillow itself keeps 8.
    """
    correct_tiff(image)
    tags, low = getattr(image, "tag_v2", {}), _low_bytes(image, raw)
    image.load()
    if low is not None:
        high = np.asarray(image)[..., :3]
        values = high.astype(np.uint16) << 8 | low
    elif image.mode == "F" or image.mode.startswith("I"):
        values = _typed(np.asarray(image), tags)
    elif image.mode == "L" and 2 in tags.get(SAMPLE_FORMAT, ()):
        values = np.asarray(image).view(np.int8)  # signed, which Pillow reads as unsigned
    else:
        return None
    inverted = bool(tags) and values.ndim == 2 and tags.get(PHOTOMETRIC, 0) == 0  # as Pillow reads a missing tag
    return Samples(values, _stated(values, tags), _extremes(values, tags), inverted)


def to_8_bits(samples: Samples, ranges: Ranges) -> np.ndarray:
    """Returns samples as uint8: black and white are what the file says, or else what `ranges` or its own values say."""
    kind = samples.extremes.kind
    black, white = samples.stated or ranges.get(kind) or usual_range(samples.extremes)
    if samples.inverted:
        black, white = white, black
    precision = np.float32 if samples.values.dtype.itemsize <= 2 else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.subtract(samples.values, black, dtype=precision)
        scaled *= 255 / (white - black) if white != black else 0
        return np.nan_to_num(np.rint(scaled, out=scaled), copy=False, nan=0).clip(0, 255, out=scaled).astype(np.uint8)


def find_ranges(extremes: Iterable[Extremes]) -> dict[str, tuple[float, float]]:
    """Returns black and white for each type of samples, of all files that have it."""
    found: dict[str, Extremes] = {}
    for one in extremes:
        all_of_kind = found.get(one.kind, one)
        lowest, highest = min(all_of_kind.lowest, one.lowest), max(all_of_kind.highest, one.highest)
        found[one.kind] = Extremes(one.kind, lowest, highest)
    return {kind: usual_range(found[kind]) for kind in sorted(found)}


def usual_range(extremes: Extremes) -> tuple[float, float]:
    """Returns the smallest usual range of a type that holds all values, if they come near its ends; or else theirs."""
    kind, lowest, highest = extremes
    ranges = list(FLOAT_RANGES)
    if not kind.startswith("float"):
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
        ranges = [(0, 2**bits - 1) for bits in DEPTHS if 2**bits - 1 < most] + [(0, int(most)), (int(least), int(most))]
    for black, white in ranges:
        if black <= lowest and highest <= white:
            if lowest == highest or (highest >= white / 4 and (black == 0 or lowest <= black / 4)):
                return black, white
            break
    return lowest, highest


def parse_levels(text: str | None) -> dict[str, tuple[float, float]]:
    """Returns the ranges that data.levels gives."""
    words = [entry.split() for entry in (text or "").split(",") if entry]
    return {kind: (float(black), float(white)) for kind, black, white in words}


def format_levels(ranges: Ranges) -> str | None:
    """Returns ranges as data.levels has them; None if there are none."""
    numbers = {kind: [int(n) if n == int(n) else float(n) for n in ends] for kind, ends in ranges.items()}
    return ", ".join(f"{kind} {black!r} {white!r}" for kind, (black, white) in numbers.items()) or None


def _low_bytes(image: Image.Image, raw: bytes | None) -> np.ndarray | None:
    """Returns the lower bytes of colours of 16 bits, (h, w, 3), or of a grey with alpha, (h, w, 1); None of others.

    Pillow keeps the upper byte of each sample. In the other order of bytes that is the lower one.
    """
    if not raw or image.format not in ("PNG", "TIFF") or not isinstance(image, ImageFile) or not image.tile:
        return None
    arguments = image.tile[0].args  # how Pillow's decoder is told to read samples
    mode = str(arguments[0]) if isinstance(arguments, tuple) else arguments or ""
    if not mode.startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16")):
        return None
    other = "RGBA" if mode.startswith("LA") else mode[:-1] + OTHER_ORDER[mode[-1]]  # LA;16 has as many bytes as RGBA
    with Image.open(io.BytesIO(raw), formats=[image.format]) as again:
        assert isinstance(again, ImageFile), "as what is in a file is"
        correct_tiff(again)
        again.tile = [
            tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
            for tile in again.tile
        ]
        again.load()
        low = np.asarray(again)
    return low[..., 1:2] if mode.startswith("LA") else low[..., :3]


def _typed(values: np.ndarray, tags: Mapping) -> np.ndarray:
    """Returns values in the type that a TIFF's tags say; Pillow keeps signed 16 and unsigned 32 bits as signed 32."""
    bits, signed = max(tags.get(BITS_PER_SAMPLE, (32,))), 2 in tags.get(SAMPLE_FORMAT, ())
    if values.dtype == np.int32 and tags and bits == 32 and not signed:
        return values.view(np.uint32)
    if values.dtype == np.int32 and bits == 16:
        return values.astype(np.int16)
    return values.astype(values.dtype.newbyteorder("="))


def _extremes(values: np.ndarray, tags: Mapping) -> Extremes:
    """Returns the range of the values, and of those that a TIFF says it has."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    ends = [finite.min(), finite.max()] if finite.size else [0]
    stated = _values_of(tags, LEAST_VALUE, MOST_VALUE, values.dtype)
    ends += [end for end in stated if end is not None]
    return Extremes(values.dtype.name, float(min(ends)), float(max(ends)))


def _stated(values: np.ndarray, tags: Mapping) -> tuple[float, float] | None:
    """Returns black and white as a TIFF says them."""
    if values.dtype == np.int8:
        return -128, 127
    bits = max(tags.get(BITS_PER_SAMPLE, (8,)))
    if bits % 8:
        return 0, 2**bits - 1
    black, white = _values_of(tags, BLACK_VALUE, WHITE_VALUE, values.dtype)
    return (black or 0, white) if white is not None and (black or 0) < white else None


def _values_of(tags: Mapping, least: int, most: int, dtype: np.dtype) -> tuple[float | None, float | None]:
    """Returns the lowest and the highest value of two tags; None for the end of the type, which says nothing."""
    low, high = (float(f(tags[tag])) if tag in tags else None for tag, f in ((least, np.min), (most, np.max)))
    ends = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (None, None)
    return None if low == ends[0] else low, None if high == ends[1] else high
