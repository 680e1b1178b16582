"""The factors of a toon: a function of a seed and its number alone.

They are drawn independently of each other, so that what a model has learnt of them can be measured.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

Colour = tuple[int, int, int]


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
    "ink": (50, 46, 66),
    "chestnut": (112, 66, 44),
    "copper": (214, 98, 44),
    "straw": (248, 206, 96),
    "silver": (214, 218, 230),
    "teal": (24, 142, 150),
    "plum": (126, 52, 122),
    "rose": (242, 112, 154),
}
IRISES = {"brown": (122, 72, 38), "blue": (44, 118, 214), "green": (46, 152, 88), "amber": (222, 146, 30)}
CLOTHES = {
    "navy": (52, 70, 128),
    "tomato": (218, 78, 66),
    "forest": (52, 126, 92),
    "mustard": (236, 176, 52),
    "cream": (250, 240, 220),
    "violet": (132, 96, 196),
}
BACKGROUNDS = {
    "butter": (255, 228, 160),
    "lagoon": (132, 208, 214),
    "salmon": (255, 182, 164),
    "pistachio": (198, 226, 152),
    "dusk": (98, 104, 170),
    "cloud": (226, 232, 244),
}
BACKDROPS = {"plain": 4, "disc": 4, "hill": 2}  # relative frequencies
NOSES = ("button", "hook", "wide", "ball")
GLASSES = {"none": 14, "round": 3, "square": 3, "sun": 1}
BEARDS = {"none": 12, "moustache": 2, "goatee": 2, "full": 2}
COLLARS = ("crew", "vee", "shirt", "roll", "jacket")
HAIRSTYLES = ("bald", "crop", "long", "bob", "curls", "spikes", "bun", "quiff", "pigtails", "beanie")


@dataclass(frozen=True)
class Toon:
    """The factors of one portrait. Colours and styles by name; lengths in pictures, angles in degrees."""

    skin: str
    face_width: float  # half the face's width, 0.28 to 0.33
    face_height: float  # half its height, 0.32 to 0.355
    jaw: float  # -0.1, broad, to 0.24, pointed: share of the width lost at the chin
    hair: str
    hair_colour: str
    eye_size: float  # half the width of the white, 0.086 to 0.108
    eye_gap: float  # between the whites of the two eyes, 0.03 to 0.06
    iris: str
    lid: float  # 0, wide awake, to 0.25, sleepy: share of the eye that the upper lid covers
    gaze_x: float  # -1, to the left of the picture, to 1
    gaze_y: float  # -0.6, up, to 0.6
    brow_tilt: float  # -1, worried, to 1, cross
    brow_thickness: float  # 0.016 to 0.034
    mouth_curve: float  # -1, a frown, to 1, a smile
    mouth_open: float  # 0, closed, to 1
    teeth: bool  # shown where the mouth is open
    nose: str
    ear_size: float  # half the width, 0.045 to 0.07
    glasses: str
    beard: str
    collar: str
    clothes: str  # the colour, also that of hats and ribbons
    background: str
    backdrop: str
    tilt: float  # of the head, -4 to 4, clockwise
    shift_x: float  # of the head, -0.015 to 0.015
    shift_y: float  # of the head, -0.01 to 0.01


def make_toon(seed: int, index: int) -> Toon:
    """Returns the factors of portrait `index` of `seed`."""
    rng = random.Random(f"toons {seed} {index}")
    return Toon(
        skin=_one_of(rng, SKINS),
        face_width=_between(rng, 0.28, 0.33),
        face_height=_between(rng, 0.32, 0.355),
        jaw=_between(rng, -0.1, 0.24),
        hair=_one_of(rng, HAIRSTYLES),
        hair_colour=_one_of(rng, HAIR_COLOURS),
        eye_size=_between(rng, 0.086, 0.108),
        eye_gap=_between(rng, 0.03, 0.06),
        iris=_one_of(rng, IRISES),
        lid=max(0.0, _between(rng, -0.25, 0.25)),
        gaze_x=_between(rng, -1, 1),
        gaze_y=_between(rng, -0.6, 0.6),
        brow_tilt=_between(rng, -1, 1),
        brow_thickness=_between(rng, 0.016, 0.034),
        mouth_curve=_between(rng, -0.7, 1),
        mouth_open=max(0.0, _between(rng, -0.6, 1)),
        teeth=rng.random() < 0.6,
        nose=_one_of(rng, NOSES),
        ear_size=_between(rng, 0.045, 0.07),
        glasses=_weighted(rng, GLASSES),
        beard=_weighted(rng, BEARDS),
        collar=_one_of(rng, COLLARS),
        clothes=_one_of(rng, CLOTHES),
        background=_one_of(rng, BACKGROUNDS),
        backdrop=_weighted(rng, BACKDROPS),
        tilt=_between(rng, -4, 4),
        shift_x=_between(rng, -0.015, 0.015),
        shift_y=_between(rng, -0.01, 0.01),
    )


def _between(rng: random.Random, low: float, high: float) -> float:
    return round(low + (high - low) * rng.random(), 4)


def _one_of(rng: random.Random, names: Iterable[str]) -> str:
    choices = list(names)
    return choices[int(rng.random() * len(choices))]


def _weighted(rng: random.Random, weights: dict[str, int]) -> str:
    return _one_of(rng, [name for name, weight in weights.items() for _ in range(weight)])
