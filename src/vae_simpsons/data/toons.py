"""Toons, the data set that this program draws itself: cartoon portraits, each from a handful of known factors.

A toon is a function of a seed and its number alone. Its factors are drawn independently of each other, so that what
a model has learnt of them can be measured; they are written beside the pictures.
"""

import csv
import errno
import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from vae_simpsons.data.cache import alone, cannot_keep, publishing
from vae_simpsons.progress import Progress

TOONS_VERSION = 2  # part of the cache's key; raise it when the drawing changes
SUPERSAMPLING = 4  # drawn this many times larger, then averaged: Pillow's shapes have hard edges

Point = tuple[float, float]  # in the unit frame: (0, 0) is the upper left corner of the picture, (1, 1) the lower right
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
WHITE, INK = (255, 255, 255), (46, 34, 60)
THROAT, TONGUE, BEARD_LIP = (104, 26, 48), (236, 110, 116), (240, 160, 150)
FACE: Point = (0.5, 0.525)  # its middle
LIGHT: Point = (0.3, 0.35)  # where the face is brightest
EYES_Y, EARS_Y, NOSE_Y, CHEEKS_Y, MOUTH_Y = 0.52, 0.555, 0.635, 0.665, 0.735
EYE_HEIGHT = 1.12  # of an eye's width
MOUTH_X = 0.13  # half the mouth's width
CLOSED = 0.15  # mouth_open below which a mouth is drawn as a line


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


def toon(seed: int, index: int) -> Toon:
    """The factors of portrait `index` of `seed`, whatever others are drawn."""
    rng = random.Random(f"toons {seed} {index}")
    return Toon(
        skin=_one_of(rng, SKINS),
        face_width=_between(rng, 0.28, 0.33),
        face_height=_between(rng, 0.32, 0.355),
        jaw=_between(rng, -0.1, 0.24),
        hair=_one_of(rng, HAIR),
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


class Pen:
    """Draws shapes given in the unit frame; those of the head turn and move with it.

    Args:
        size: of the finished picture, pixels.
        tilt: of the head, degrees clockwise, about its neck.
        shift: of the head.
    """

    NECK: Point = (0.5, 0.85)
    EDGE = 0.012  # width of an outline

    def __init__(self, size: int, tilt: float, shift: Point) -> None:
        self.pixels = size * SUPERSAMPLING
        self.image = Image.new("RGB", (self.pixels, self.pixels))
        self.canvas = ImageDraw.Draw(self.image)
        cos, sin = self.pixels * math.cos(math.radians(tilt)), self.pixels * math.sin(math.radians(tilt))
        x, y = self.NECK
        right, down = self.pixels * (x + shift[0]) - cos * x + sin * y, self.pixels * (y + shift[1]) - sin * x - cos * y
        self.head = (cos, -sin, right), (sin, cos, down)  # rows of the matrix that takes (x, y, 1) to pixels
        self.still = (self.pixels, 0, 0), (0, self.pixels, 0)

    def shape(self, points: Sequence[Point], fill: Colour, edge: Colour | None = None, head: bool = True) -> None:
        """A filled polygon, outlined in `edge`."""
        placed = self._placed(points, head)
        self.canvas.polygon(placed, fill=fill)
        if edge:
            self._stroke([*placed, placed[0]], self.EDGE, edge)

    def ellipse(
        self, centre: Point, rx: float, ry: float, fill: Colour, edge: Colour | None = None, head: bool = True
    ) -> None:
        """A filled ellipse, outlined in `edge`."""
        self.shape(ring(centre, rx, ry), fill, edge, head)

    def line(self, points: Sequence[Point], width: float, fill: Colour, head: bool = True) -> None:
        """A line with round ends."""
        placed = self._placed(points, head)
        self._stroke(placed, width, fill)
        r = width * self.pixels / 2
        for x, y in (placed[0], placed[-1]):
            self.canvas.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def finished(self) -> Image.Image:
        """The picture, edges smoothed."""
        return self.image.reduce(SUPERSAMPLING)

    def _stroke(self, placed: list[Point], width: float, fill: Colour) -> None:
        # Rounding every joint is slow and where points are close together it cannot be seen.
        joint = "curve" if len(placed) < 16 else None
        self.canvas.line(placed, fill=fill, width=max(1, round(width * self.pixels)), joint=joint)

    def _placed(self, points: Sequence[Point], head: bool) -> list[Point]:
        (xx, xy, right), (yx, yy, down) = self.head if head else self.still
        return [(xx * x + xy * y + right, yx * x + yy * y + down) for x, y in points]


def draw(toon: Toon, size: int) -> Image.Image:
    """The portrait, RGB, size x size, antialiased."""
    pen = Pen(size, toon.tilt, (toon.shift_x, toon.shift_y))
    hair = HAIR[toon.hair]
    draw_backdrop(pen, toon)
    hair.back(pen, toon)
    draw_body(pen, toon)
    if hair.ears:
        draw_ears(pen, toon)
    draw_face(pen, toon)
    draw_hair_shadow(pen, toon)
    draw_beard(pen, toon)
    NOSE_SHAPES[toon.nose](pen, toon)
    draw_mouth(pen, toon)
    draw_eyes(pen, toon)
    draw_glasses(pen, toon)
    hair.front(pen, toon)
    draw_brows(pen, toon)
    return pen.finished()


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with that share of `other` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def edge_of(colour: Colour) -> Colour:
    """The colour that outlines a shape of `colour`."""
    return mix(colour, INK, 0.62)


def shaded(colour: Colour) -> Colour:
    """`colour` out of the light, and a little warmer."""
    red, green, blue = colour
    return round(red * 0.87), round(green * 0.79), round(blue * 0.83)


def lit(colour: Colour) -> Colour:
    """`colour` where it shines."""
    return mix(colour, WHITE, 0.4)


def ring(centre: Point, rx: float, ry: float, start: float = 0, end: float = 360, points: int = 32) -> list[Point]:
    """Points of an ellipse's arc, from `start` to `end` degrees; 0 is to the right, 90 below."""
    angles = [math.radians(start + (end - start) * i / points) for i in range(points + 1)]
    return [(centre[0] + rx * math.cos(a), centre[1] + ry * math.sin(a)) for a in angles]


def curve(a: Point, b: Point, bend: float, points: int = 16) -> list[Point]:
    """Points of a parabola from `a` to `b` whose middle lies `bend` below the straight line."""
    ts = [i / points for i in range(points + 1)]
    return [(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t + bend * 4 * t * (1 - t)) for t in ts]


def soft(points: Sequence[Point], closed: bool = True) -> list[Point]:
    """`points` with their corners rounded, by cutting them off again and again; an open line keeps its ends."""
    for _ in range(3):
        following = [*points[1:], points[0]] if closed else points[1:]
        cut = [p for a, b in zip(points, following, strict=False) for p in (toward(a, b, 0.25), toward(a, b, 0.75))]
        points = cut if closed else [points[0], *cut, points[-1]]
    return list(points)


def toward(a: Point, b: Point, share: float) -> Point:
    """The point that lies that share of the way from `a` to `b`."""
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def mirrored(points: Sequence[Point]) -> list[Point]:
    """`points`, then their reflections in the middle of the face, backwards."""
    return [*points, *((2 * FACE[0] - x, y) for x, y in reversed(points))]


def on_face(toon: Toon, *places: Point) -> list[Point]:
    """Where `places` are, given in half widths and half heights of the face from its middle."""
    return [(FACE[0] + u * toon.face_width, FACE[1] + v * toon.face_height) for u, v in places]


def outline(toon: Toon, grow: float = 0.0, start: float = 0, end: float = 360) -> list[Point]:
    """Points of the head's outline, `grow` outside of it: an ellipse, narrowed towards the chin by the jaw."""
    unit = ring((0, 0), 1, 1, start, end, 40)
    narrowed = ((x * (1 - toon.jaw * max(0.0, y) ** 2), y) for x, y in unit)
    return [(FACE[0] + x * (toon.face_width + grow), FACE[1] + y * (toon.face_height + grow)) for x, y in narrowed]


def eyes(toon: Toon) -> Iterator[tuple[int, Point]]:
    """-1 with the centre of the left eye, 1 with that of the right."""
    for side in (-1, 1):
        yield side, (FACE[0] + side * (toon.eye_size + toon.eye_gap / 2), EYES_Y)


def draw_backdrop(pen: Pen, toon: Toon) -> None:
    """What is behind the toon."""
    colour = BACKGROUNDS[toon.background]
    pen.shape([(0, 0), (1, 0), (1, 1), (0, 1)], colour, head=False)
    if toon.backdrop == "disc":
        pen.shape(ring((0.5, 0.52), 0.46, 0.46, points=90), mix(colour, WHITE, 0.42), head=False)
    elif toon.backdrop == "hill":
        pen.shape(ring((0.5, 1.1), 0.95, 0.5, points=90), mix(colour, INK, 0.16), head=False)


def draw_body(pen: Pen, toon: Toon) -> None:
    """Neck, shoulders and collar."""
    skin, cloth = SKINS[toon.skin].fill, CLOTHES[toon.clothes]
    half = [(0.42, 0.885), (0.34, 0.892), (0.14, 0.925), (0.08, 1.03), (0.08, 1.1)]
    pen.shape(soft(mirrored(half)), cloth, edge_of(cloth), head=False)
    neck = soft(mirrored([(0.415, 0.74), (0.41, 0.86), (0.4, 0.925), (0.46, 0.95)]))
    pen.shape(neck, shaded(skin), edge_of(skin), head=False)
    COLLAR_SHAPES[toon.collar](pen, skin, cloth)


def crew(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """A round neckline with a rib."""
    rib = [*curve((0.375, 0.895), (0.625, 0.895), 0.075), *curve((0.655, 0.895), (0.345, 0.895), 0.115)]
    pen.shape(rib, shaded(cloth), edge_of(cloth), head=False)


def vee(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """A deep neckline."""
    pen.shape([(0.39, 0.9), (0.61, 0.9), (0.5, 1.02)], shaded(skin), head=False)
    pen.line([(0.385, 0.895), (0.5, 1.02), (0.615, 0.895)], 0.026, shaded(cloth), head=False)


def shirt(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """A white collar, its points to the sides."""
    for side in (-1, 1):
        points = [(0.5, 0.965), (0.5 + side * 0.105, 0.875), (0.5 + side * 0.165, 0.905), (0.5 + side * 0.1, 1.01)]
        pen.shape(points, WHITE, edge_of(cloth), head=False)


def roll(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """A collar up to the chin."""
    band = soft(mirrored([(0.46, 0.875), (0.39, 0.86), (0.365, 0.9), (0.375, 0.955), (0.45, 0.972)]))
    pen.shape(band, mix(cloth, WHITE, 0.2), edge_of(cloth), head=False)


def jacket(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """Lapels over a white shirt."""
    pen.shape([(0.4, 0.905), (0.6, 0.905), (0.52, 1.1), (0.48, 1.1)], WHITE, head=False)
    pen.shape(soft([(0.4, 0.88), (0.6, 0.88), (0.56, 0.925), (0.5, 0.945), (0.44, 0.925)]), shaded(skin), head=False)
    for side in (-1, 1):
        lapel = [(0.5 + side * x, y) for x, y in ((0.1, 0.875), (0.19, 0.905), (0.21, 0.975), (0.15, 1.0), (0.04, 1.1))]
        pen.shape(lapel, shaded(cloth), edge_of(cloth), head=False)


COLLAR_SHAPES = {"crew": crew, "vee": vee, "shirt": shirt, "roll": roll, "jacket": jacket}


def draw_ears(pen: Pen, toon: Toon) -> None:
    """One on each side, on the line of eyes and nose."""
    skin = SKINS[toon.skin].fill
    for side in (-1, 1):
        x, y = FACE[0] + side * (toon.face_width + 0.012), EARS_Y
        pen.ellipse((x, y), toon.ear_size, toon.ear_size * 1.25, skin, edge_of(skin))
        pen.ellipse((x, y), toon.ear_size * 0.52, toon.ear_size * 0.75, shaded(skin))


def draw_face(pen: Pen, toon: Toon) -> None:
    """The head, darker along its lower right side, with a blush on the cheeks."""
    fill, blush, _ = SKINS[toon.skin]
    around = outline(toon)
    pen.shape(around, shaded(fill))
    pen.shape([toward(p, LIGHT, 0.045) for p in around], fill)
    pen.line([*around, around[0]], Pen.EDGE, edge_of(fill))
    for side in (-1, 1):
        pen.ellipse((FACE[0] + side * toon.face_width * 0.68, CHEEKS_Y), 0.052, 0.036, blush)


def draw_mouth(pen: Pen, toon: Toon) -> None:
    """A line that is bent, or an open mouth with its tongue, and with teeth or without."""
    lip = SKINS[toon.skin].lip
    upper = lip_line(toon)
    if toon.beard == "full":
        pen.line(upper, 0.056, BEARD_LIP)
        lip = INK
    if toon.mouth_open < CLOSED:
        pen.line(upper, 0.03, lip)
    else:
        draw_open_mouth(pen, toon, upper, lip)


def lip_line(toon: Toon) -> list[Point]:
    """The closed mouth, from left to right, or the upper lip of an open one."""
    lift = 0.06 * toon.mouth_curve
    rise = 0.02 if toon.mouth_open >= CLOSED else 0
    left, right = (FACE[0] - MOUTH_X, MOUTH_Y - lift / 2 - rise), (FACE[0] + MOUTH_X, MOUTH_Y - lift / 2 - rise)
    return curve(left, right, lift)


def draw_open_mouth(pen: Pen, toon: Toon, upper: list[Point], lip: Colour) -> None:
    """What is seen of an open mouth below the upper lip."""
    gap = 0.055 + 0.055 * toon.mouth_open
    lower = lowered(upper, gap)
    pen.shape([*upper, *reversed(lower)], THROAT)
    pen.shape([*lowered(upper, gap * 0.72)[3:-3], *reversed(lower[3:-3])], TONGUE)
    if toon.teeth:
        pen.shape([*upper, *reversed(lowered(upper, gap * 0.42))], WHITE)
    pen.line([*upper, *reversed(lower), upper[0]], 0.016, lip)


def lowered(line: Sequence[Point], by: float, power: float = 2) -> list[Point]:
    """`line` sunk by as much in the middle, and not at all at its ends; a higher power makes the sides steeper."""
    last = len(line) - 1
    return [(x, y + by * (1 - abs(2 * i / last - 1) ** power)) for i, (x, y) in enumerate(line)]


def button_nose(pen: Pen, toon: Toon) -> None:
    """Small and round."""
    fill = SKINS[toon.skin].fill
    pen.ellipse((FACE[0], NOSE_Y), 0.034, 0.027, mix(shaded(fill), INK, 0.22))


def hook_nose(pen: Pen, toon: Toon) -> None:
    """A bent line."""
    x, y = FACE[0], NOSE_Y
    bent = soft([(x - 0.005, y - 0.085), (x + 0.02, y - 0.03), (x + 0.055, y + 0.02), (x - 0.025, y + 0.025)], False)
    pen.line(bent, 0.019, edge_of(SKINS[toon.skin].fill))


def wide_nose(pen: Pen, toon: Toon) -> None:
    """An arc, its ends turned up."""
    x, y = FACE[0], NOSE_Y
    pen.line(curve((x - 0.055, y - 0.008), (x + 0.055, y - 0.008), 0.036), 0.02, edge_of(SKINS[toon.skin].fill))


def ball_nose(pen: Pen, toon: Toon) -> None:
    """Big and round, and shining."""
    _, blush, _ = SKINS[toon.skin]
    pen.ellipse((FACE[0], NOSE_Y - 0.005), 0.05, 0.043, blush, edge_of(SKINS[toon.skin].fill))
    pen.ellipse((FACE[0] - 0.014, NOSE_Y - 0.02), 0.014, 0.01, lit(blush))


NOSE_SHAPES = {"button": button_nose, "hook": hook_nose, "wide": wide_nose, "ball": ball_nose}


def draw_eyes(pen: Pen, toon: Toon) -> None:
    """White, iris, pupil and a glint, looking where the gaze goes, below a lid."""
    r = toon.eye_size
    for _, (x, y) in eyes(toon):
        pen.ellipse((x, y), r, r * EYE_HEIGHT, WHITE, edge_of(SKINS[toon.skin].fill))
        look = (x + toon.gaze_x * r * 0.34, y + toon.gaze_y * r * 0.4 + toon.lid * r * 0.3)
        pen.ellipse(look, r * 0.6, r * 0.62, IRISES[toon.iris], mix(IRISES[toon.iris], INK, 0.5))
        pen.ellipse(look, r * 0.33, r * 0.35, INK)
        pen.ellipse((look[0] - r * 0.22, look[1] - r * 0.24), r * 0.17, r * 0.17, WHITE)
        draw_lid(pen, toon, (x, y))


def draw_lid(pen: Pen, toon: Toon, centre: Point) -> None:
    """The upper lid, as far down as it hangs, and its lashes."""
    low = math.degrees(math.asin(1 - 2 * toon.lid))
    arc = ring(centre, toon.eye_size, toon.eye_size * EYE_HEIGHT, 180 + low, 360 - low)
    if toon.lid > 0:
        pen.shape(arc, shaded(SKINS[toon.skin].fill))
        pen.line(arc, Pen.EDGE, edge_of(SKINS[toon.skin].fill))
        pen.line([arc[0], arc[-1]], 0.02, INK)
    else:
        pen.line(ring(centre, toon.eye_size, toon.eye_size * EYE_HEIGHT, 200, 340), 0.02, INK)


def draw_brows(pen: Pen, toon: Toon) -> None:
    """Of the hair's colour, darkened so that light hair shows on light skin."""
    colour = mix(HAIR_COLOURS[toon.hair_colour], INK, 0.45)
    y = EYES_Y - toon.eye_size * EYE_HEIGHT - 0.034
    for side, (x, _) in eyes(toon):
        inner, outer = (x - side * 0.06, y + 0.02 * toon.brow_tilt), (x + side * 0.07, y - 0.014 * toon.brow_tilt)
        pen.line(curve(inner, outer, -0.02), toon.brow_thickness, colour)


def draw_glasses(pen: Pen, toon: Toon) -> None:
    """None, round, square, or dark ones."""
    if toon.glasses == "none":
        return
    r = toon.eye_size + toon.eye_gap / 2 - 0.01
    for side, (x, y) in eyes(toon):
        pen.line([(x + side * r, y - 0.02), (FACE[0] + side * toon.face_width, y - 0.03)], 0.022, INK)
        lens = ring((x, y), r, r * 1.02) if toon.glasses == "round" else pane((x, y), r, r * 0.96)
        if toon.glasses == "sun":
            pen.shape(lens, INK)
            pen.line([(x - 0.055, y + 0.02), (x - 0.005, y - 0.05)], 0.022, mix(INK, WHITE, 0.4))
        pen.line([*lens, lens[0]], 0.021, INK)
    pen.line(curve((FACE[0] - 0.014, EYES_Y - 0.02), (FACE[0] + 0.014, EYES_Y - 0.02), -0.008, 4), 0.021, INK)


def pane(centre: Point, rx: float, ry: float) -> list[Point]:
    """A rectangle, its corners rounded, with a straight top."""
    x, y = centre
    return soft([(x - rx, y - ry), (x, y - ry), (x + rx, y - ry), (x + rx, y), (x + rx * 0.9, y + ry), (x, y + ry),
                 (x - rx * 0.9, y + ry), (x - rx, y)])  # fmt: skip


def draw_beard(pen: Pen, toon: Toon) -> None:
    """None, a moustache, a goatee or a full beard."""
    colour = mix(HAIR_COLOURS[toon.hair_colour], INK, 0.12)
    if toon.beard in ("full", "goatee"):
        points = full_beard(toon) if toon.beard == "full" else goatee(toon)
        pen.shape(points, colour, edge_of(colour))
    if toon.beard in ("full", "moustache"):
        half = [(0.49, 0.664), (0.43, 0.656), (0.335, 0.706), (0.45, 0.704)]
        pen.shape(soft(mirrored(half)), colour, edge_of(colour))


def full_beard(toon: Toon) -> list[Point]:
    """From ear to ear below the cheeks, and a little beyond the chin."""
    low = outline(toon, 0.015, 2, 178)
    cheeks = on_face(toon, (-0.88, 0.05), (-0.84, 0.36), (-0.5, 0.48), (0.5, 0.48), (0.84, 0.36), (0.88, 0.05))
    return [*low, *soft([low[-1], *cheeks, low[0]], closed=False)]


def goatee(toon: Toon) -> list[Point]:
    """Around the chin, below the mouth."""
    low = outline(toon, 0.03, 63, 117)
    return [*low, *curve(low[-1], low[0], -0.095)]


class Style(NamedTuple):
    """How hair is drawn.

    Args:
        back: draws what is behind the head.
        front: draws what is before it.
        line: where hair begins on the forehead, the right half from the ear upwards, as on_face takes it; () for none.
        ears: whether they are seen.
    """

    back: Callable[[Pen, Toon], None]
    front: Callable[[Pen, Toon], None]
    line: tuple[Point, ...] = ()
    ears: bool = True


def hair_of(toon: Toon) -> Colour:
    """The colour of the hair."""
    return HAIR_COLOURS[toon.hair_colour]


def hairline(toon: Toon) -> list[Point]:
    """Points of the lower edge of the hair on the forehead, from right to left."""
    line = HAIR[toon.hair].line
    return soft(on_face(toon, *line, *((-u, v) for u, v in reversed(line))), closed=False)


def draw_hair_shadow(pen: Pen, toon: Toon) -> None:
    """The shadow of the hair on the forehead."""
    if HAIR[toon.hair].line:
        line = hairline(toon)
        pen.shape([*line, *reversed(lowered(line, 0.028, power=6))], shaded(SKINS[toon.skin].fill))


def scalp(pen: Pen, toon: Toon, volume: float, sides: float = 0.012) -> None:
    """Hair over the top of the head down to the hairline; `volume` is how far it stands off the top."""
    colour, line = hair_of(toon), hairline(toon)
    low = math.degrees(math.asin(min(1.0, max(-1.0, HAIR[toon.hair].line[0][1]))))
    dome = ring(FACE, toon.face_width + sides, toon.face_height + volume, 180 - low, 360 + low, 40)
    pen.shape([*dome, *line], colour, edge_of(colour))
    draw_shine(pen, toon, volume)


def draw_shine(pen: Pen, toon: Toon, volume: float) -> None:
    """The light on the upper left of the hair."""
    rx, ry = toon.face_width * 0.78, toon.face_height * 0.9 + volume * 0.5
    pen.line(ring(FACE, rx, ry, 222, 250, 10), 0.024, lit(hair_of(toon)))
    pen.line(ring(FACE, rx, ry, 258, 261, 2), 0.024, lit(hair_of(toon)))


def nothing(pen: Pen, toon: Toon) -> None:
    """No hair there."""


def bald_front(pen: Pen, toon: Toon) -> None:
    """The light on a bald head."""
    colour = mix(SKINS[toon.skin].fill, WHITE, 0.55)
    pen.line(ring(FACE, toon.face_width * 0.72, toon.face_height * 0.84, 225, 254, 10), 0.026, colour)


def crop_front(pen: Pen, toon: Toon) -> None:
    """Short all over."""
    scalp(pen, toon, 0.05)


def long_back(pen: Pen, toon: Toon) -> None:
    """Down to the shoulders."""
    colour = shaded(hair_of(toon))
    half = [(-0.3, -1.2), (-0.95, -1.1), (-1.3, -0.4), (-1.24, 0.3), (-1.4, 1.0), (-1.3, 1.36), (-0.4, 1.4)]
    pen.shape(soft(mirrored(on_face(toon, *half))), colour, edge_of(colour))


def long_front(pen: Pen, toon: Toon) -> None:
    """Parted in the middle."""
    scalp(pen, toon, 0.06, 0.04)


def bob_back(pen: Pen, toon: Toon) -> None:
    """Down to the chin, round."""
    colour = shaded(hair_of(toon))
    half = [(-0.3, -1.2), (-0.95, -1.12), (-1.32, -0.4), (-1.34, 0.5), (-1.4, 0.98), (-0.8, 0.84), (-0.3, 0.86)]
    pen.shape(soft(mirrored(on_face(toon, *half))), colour, edge_of(colour))


def bob_front(pen: Pen, toon: Toon) -> None:
    """A straight fringe."""
    scalp(pen, toon, 0.06, 0.04)


def curls_back(pen: Pen, toon: Toon) -> None:
    """Curls all around the head."""
    around = ring((0.5, 0.47), toon.face_width + 0.012, toon.face_height - 0.02, 150, 390, 10)
    puffs(pen, around, 0.1, shaded(hair_of(toon)))


def curls_front(pen: Pen, toon: Toon) -> None:
    """Curls along the forehead."""
    puffs(pen, ring((0.5, 0.47), toon.face_width - 0.01, toon.face_height - 0.085, 198, 342, 6), 0.085, hair_of(toon))
    for x, y in ring((0.48, 0.44), toon.face_width, toon.face_height - 0.085, 225, 275, 2):
        pen.line(ring((x, y), 0.035, 0.035, 190, 280, 6), 0.02, lit(hair_of(toon)))


def puffs(pen: Pen, centres: Sequence[Point], r: float, colour: Colour) -> None:
    """Balls that have grown together."""
    for centre in centres:
        pen.ellipse(centre, r + Pen.EDGE, r + Pen.EDGE, edge_of(colour))
    for centre in centres:
        pen.ellipse(centre, r, r, colour)


def spikes_front(pen: Pen, toon: Toon) -> None:
    """Spikes that stand up, and a jagged fringe."""
    colour = hair_of(toon)
    up = [(-1.02, -0.2), (-1.24, -0.72), (-0.86, -0.78), (-0.94, -1.22), (-0.5, -1.02), (-0.36, -1.38), (0.02, -1.08),
          (0.34, -1.38), (0.5, -1.02), (0.94, -1.22), (0.86, -0.78), (1.24, -0.72), (1.02, -0.2)]  # fmt: skip
    down = [(0.86, -0.5), (0.62, -0.74), (0.4, -0.5), (0.16, -0.74), (-0.08, -0.52), (-0.32, -0.74), (-0.58, -0.5),
            (-0.86, -0.6)]  # fmt: skip
    pen.shape(on_face(toon, *up, *down), colour)
    pen.line(on_face(toon, *up, *down, up[0]), Pen.EDGE, edge_of(colour))
    draw_shine(pen, toon, 0.0)


def bun_back(pen: Pen, toon: Toon) -> None:
    """A bun on the top."""
    colour, y = hair_of(toon), FACE[1] - toon.face_height - 0.045
    pen.ellipse((0.5, y), 0.125, 0.1, shaded(colour), edge_of(colour))
    pen.line(curve((0.44, y - 0.03), (0.56, y - 0.03), -0.03), 0.02, colour)


def bun_front(pen: Pen, toon: Toon) -> None:
    """Combed back tightly."""
    scalp(pen, toon, 0.03)


def quiff_front(pen: Pen, toon: Toon) -> None:
    """A wave over short sides."""
    scalp(pen, toon, 0.01)
    colour = hair_of(toon)
    wave = [(-0.92, -0.5), (-1.06, -0.86), (-0.8, -1.14), (-0.1, -1.22), (0.4, -1.39), (1.2, -1.34), (1.28, -0.92),
            (0.92, -0.7), (0.5, -0.84), (-0.3, -0.66)]  # fmt: skip
    pen.shape(soft(on_face(toon, *wave)), colour, edge_of(colour))
    shine = [(-0.76, -0.78), (-0.6, -1.0), (0.2, -0.98), (0.5, -1.18), (0.88, -1.17)]
    pen.line(soft(on_face(toon, *shine), closed=False), 0.024, lit(colour))


def pigtails_back(pen: Pen, toon: Toon) -> None:
    """A tail on each side."""
    colour = shaded(hair_of(toon))
    for side in (-1, 1):
        x = FACE[0] + side * toon.face_width
        tail = [(0.02, 0.42), (0.1, 0.4), (0.128, 0.56), (0.115, 0.76), (0.09, 0.86), (0.03, 0.74), (0.01, 0.58)]
        pen.shape(soft([(x + side * out, y) for out, y in tail]), colour, edge_of(colour))


def pigtails_front(pen: Pen, toon: Toon) -> None:
    """A round fringe, and a ribbon for each tail."""
    scalp(pen, toon, 0.045, 0.025)
    colour = CLOTHES[toon.clothes]
    for side in (-1, 1):
        pen.ellipse((FACE[0] + side * (toon.face_width + 0.05), 0.44), 0.042, 0.042, colour, edge_of(colour))


def beanie_front(pen: Pen, toon: Toon) -> None:
    """A knitted hat of the clothes' colour, hair below it."""
    colour = CLOTHES[toon.clothes]
    scalp(pen, toon, 0.0, 0.025)
    pen.ellipse((0.5, FACE[1] - toon.face_height - 0.065), 0.075, 0.07, mix(colour, WHITE, 0.45), edge_of(colour))
    dome = ring((0.5, FACE[1] - 0.1), toon.face_width + 0.02, toon.face_height - 0.045, 212, 328)
    pen.shape(dome, colour, edge_of(colour))
    brim = [(-0.3, -1.0), (-0.85, -0.92), (-1.1, -0.8), (-1.14, -0.46), (-0.98, -0.48), (-0.4, -0.7)]
    pen.shape(soft(mirrored(on_face(toon, *brim))), mix(colour, WHITE, 0.25), edge_of(colour))


CROP = ((1.0, -0.12), (0.88, -0.25), (0.88, -0.6), (0.55, -0.74), (0.2, -0.6))
PARTED = ((1.0, 0.3), (0.86, -0.1), (0.66, -0.5), (0.2, -0.7), (0.03, -0.92))
FRINGE = ((1.0, 0.4), (0.88, 0.1), (0.86, -0.54), (0.5, -0.54), (0.1, -0.56))
COMBED = ((1.0, -0.05), (0.9, -0.4), (0.6, -0.66), (0.2, -0.74))
SQUARE = ((1.0, -0.1), (0.88, -0.3), (0.84, -0.62), (0.5, -0.7), (0.1, -0.7))
ROUND = ((1.0, 0.0), (0.9, -0.34), (0.6, -0.54), (0.15, -0.6))
BELOW_HAT = ((1.0, 0.1), (0.92, -0.2), (0.84, -0.48), (0.3, -0.62))
HAIR: dict[str, Style] = {
    "bald": Style(nothing, bald_front),
    "crop": Style(nothing, crop_front, CROP),
    "long": Style(long_back, long_front, PARTED, ears=False),
    "bob": Style(bob_back, bob_front, FRINGE, ears=False),
    "curls": Style(curls_back, curls_front),
    "spikes": Style(nothing, spikes_front),
    "bun": Style(bun_back, bun_front, COMBED),
    "quiff": Style(nothing, quiff_front, SQUARE),
    "pigtails": Style(pigtails_back, pigtails_front, ROUND),
    "beanie": Style(nothing, beanie_front, BELOW_HAT),
}


def write(folder: Path, count: int, seed: int, size: int, on_progress: Callable[[int], None] | None = None) -> None:
    """Draw toons 0 to count - 1 of `seed` into `folder`, which is made: toon_00000.png ... and factors.csv.

    Args:
        folder: must be empty if it exists.
        size: height and width, pixels.
        on_progress: called with the number drawn.

    Raises:
        OSError: the folder is not empty or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
    with open(folder / "factors.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["file", *(f.name for f in fields(Toon))])
        table.writeheader()
        for index in range(count):
            drawn = toon(seed, index)
            draw(drawn, size).save(folder / file_name(index), compress_level=1)
            table.writerow({"file": file_name(index)} | asdict(drawn))
            if on_progress:
                on_progress(index + 1)


def file_name(index: int) -> str:
    """The file of toon `index`."""
    return f"toon_{index:05d}.png"


def cached(count: int, seed: int, size: int, cache: Path, progress: Progress) -> Path:
    """The folder below `cache` that holds these toons, drawn now if it is not there.

    Raises:
        VAEError: `cache` cannot be written.
    """
    folder = cache / f"toons-v{TOONS_VERSION}-n{count}-seed{seed}-{size}px"
    if folder.is_dir():
        return folder
    try:
        with alone(cache, folder.name, progress):
            if not folder.is_dir():  # by another process, meanwhile
                with publishing(folder) as beside:
                    write(beside, count, seed, size, progress("drawing toons", count))
    except OSError as e:
        raise cannot_keep(cache, e) from None
    return folder
