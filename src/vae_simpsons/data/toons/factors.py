"""The factors of a toon: a function of a seed and its number alone.

They are drawn independently of each other, so that what a model has learnt of them can be measured.
"""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from vae_simpsons.data.toons.colours import Colour


class Skin(NamedTuple):
    """The colours of a face."""

    fill: Colour
    blush: Colour
    lip: Colour  # of a closed mouth and around an open one; must stand out from fill


SKINS = {
    "porcelain": Skin((255, 226, 208), (255, 176, 168), (176, 48, 66)),
    "peach": Skin((250, 203, 164), (246, 152, 128), (168, 44, 58)),
    "honey": Skin((228, 168, 112), (224, 122, 88), (142, 36, 46)),
    "almond": Skin((190, 126, 84), (196, 92, 74), (110, 24, 38)),
    "cocoa": Skin((132, 84, 60), (158, 72, 66), (238, 140, 132)),
    "mint": Skin((156, 222, 188), (112, 190, 160), (24, 104, 92)),
    "lilac": Skin((206, 184, 242), (222, 144, 208), (112, 44, 138)),
    "sky": Skin((152, 206, 246), (116, 168, 232), (34, 72, 152)),
}
HAIR_COLOURS = {
    "ink": (50, 46, 66), "chestnut": (112, 66, 44), "copper": (214, 98, 44), "straw": (248, 206, 96),
    "silver": (214, 218, 230), "teal": (24, 142, 150), "plum": (126, 52, 122), "rose": (242, 112, 154),
}  # fmt: skip
IRISES = {"brown": (122, 72, 38), "blue": (44, 118, 214), "green": (46, 152, 88), "amber": (222, 146, 30)}
CLOTHES = {
    "navy": (52, 70, 128), "tomato": (218, 78, 66), "forest": (52, 126, 92),
    "mustard": (236, 176, 52), "cream": (250, 240, 220), "violet": (132, 96, 196),
}  # fmt: skip
BACKGROUNDS = {
    "butter": (255, 228, 160), "lagoon": (132, 208, 214), "salmon": (255, 182, 164),
    "pistachio": (198, 226, 152), "dusk": (98, 104, 170), "cloud": (226, 232, 244),
}  # fmt: skip
BACKDROPS = {"plain": 4, "disc": 4, "hill": 2}  # relative frequencies
NOSES = ("button", "hook", "wide", "ball")
GLASSES = {"none": 14, "round": 3, "square": 3, "sun": 1}
BEARDS = {"none": 12, "moustache": 2, "goatee": 2, "full": 2}
COLLARS = ("crew", "vee", "shirt", "roll", "jacket")
HAIRSTYLES = ("bald", "crop", "long", "bob", "curls", "spikes", "bun", "quiff", "pigtails", "beanie")


def _factor(draw: Callable[[float], Any]) -> Any:
    """A field whose value `draw` makes of a random number in [0, 1)."""
    return field(metadata={"draw": draw})


def _between(low: float, high: float, at_least: float = -math.inf) -> Any:
    return _factor(lambda r: max(at_least, round(low + (high - low) * r, 4)))


def _one_of(names: Iterable[str]) -> Any:
    choices = list(names)
    return _factor(lambda r: choices[int(r * len(choices))])


def _weighted(weights: dict[str, int]) -> Any:
    return _one_of(name for name, weight in weights.items() for _ in range(weight))


@dataclass(frozen=True)
class Toon:
    """The factors of one portrait, in the order in which they are drawn. Lengths in pictures, angles in degrees."""

    skin: str = _one_of(SKINS)
    face_width: float = _between(0.28, 0.33)  # half the face's width
    face_height: float = _between(0.32, 0.355)  # half its height
    jaw: float = _between(-0.1, 0.24)  # share of the width lost at the chin: broad to pointed
    hair: str = _one_of(HAIRSTYLES)
    hair_colour: str = _one_of(HAIR_COLOURS)
    eye_size: float = _between(0.086, 0.108)  # half the width of the white
    eye_gap: float = _between(0.03, 0.06)  # between the whites of the two eyes
    iris: str = _one_of(IRISES)
    lid: float = _between(-0.25, 0.25, at_least=0.0)  # share of the eye that the upper lid covers: awake to sleepy
    gaze_x: float = _between(-1, 1)  # to the left of the picture, to the right
    gaze_y: float = _between(-0.6, 0.6)  # up, down
    brow_tilt: float = _between(-1, 1)  # worried to cross
    brow_thickness: float = _between(0.016, 0.034)
    mouth_curve: float = _between(-0.7, 1)  # a frown to a smile
    mouth_open: float = _between(-0.6, 1, at_least=0.0)
    teeth: bool = _factor(lambda r: r < 0.6)  # shown where the mouth is open
    nose: str = _one_of(NOSES)
    ear_size: float = _between(0.045, 0.07)  # half the width
    glasses: str = _weighted(GLASSES)
    beard: str = _weighted(BEARDS)
    collar: str = _one_of(COLLARS)
    clothes: str = _one_of(CLOTHES)  # the colour, also that of hats and ribbons
    background: str = _one_of(BACKGROUNDS)
    backdrop: str = _weighted(BACKDROPS)
    tilt: float = _between(-4, 4)  # of the head, clockwise
    shift_x: float = _between(-0.015, 0.015)  # of the head
    shift_y: float = _between(-0.01, 0.01)  # of the head


def make_toon(seed: int, index: int) -> Toon:
    """Returns the factors of portrait `index` of `seed`."""
    rng = random.Random(f"toons {seed} {index}")
    return Toon(**{factor.name: factor.metadata["draw"](rng.random()) for factor in fields(Toon)})
