"""Toons, the data set that this program draws itself: cartoon portraits, each from a handful of known factors.

A toon is a function of a seed and its number alone. Its factors are drawn independently of each other, so that what
a model has learnt of them can be measured; they are written beside the pictures.
"""

import csv
import math
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw

from vae_simpsons.errors import VAEError, one_line

TOONS_VERSION = 1  # part of the cache's key; raise it when the drawing changes
SUPERSAMPLING = 4  # drawn this many times larger, then averaged: Pillow's shapes have hard edges
UNFINISHED = ".toons-"  # how the name of a folder begins that is being drawn
STALE_S = 24 * 3600  # age at which another run's unfinished drawing is taken for abandoned

Point = tuple[float, float]  # in the unit frame: (0, 0) is the upper left corner of the picture, (1, 1) the lower right
Colour = tuple[int, int, int]

SKINS = {
    "porcelain": (255, 224, 205),
    "peach": (250, 200, 160),
    "honey": (226, 165, 110),
    "almond": (190, 125, 80),
    "cocoa": (128, 80, 54),
    "mint": (150, 215, 180),
    "lilac": (200, 175, 235),
    "sky": (150, 200, 240),
}
HAIR_COLOURS = {
    "ink": (40, 36, 48),
    "chestnut": (110, 62, 36),
    "copper": (200, 92, 40),
    "straw": (240, 200, 90),
    "silver": (205, 208, 215),
    "teal": (20, 130, 140),
    "plum": (120, 45, 110),
    "rose": (235, 100, 140),
}
IRISES = {"brown": (105, 62, 30), "blue": (40, 110, 200), "green": (40, 140, 80), "amber": (200, 130, 20)}
CLOTHES = {
    "navy": (45, 62, 110),
    "brick": (190, 70, 60),
    "forest": (50, 115, 80),
    "mustard": (225, 165, 45),
    "cream": (245, 235, 215),
    "violet": (120, 90, 180),
}
BACKGROUNDS = {
    "sand": (245, 222, 179),
    "sea": (140, 205, 215),
    "blush": (248, 190, 190),
    "lime": (200, 225, 150),
    "dusk": (110, 115, 165),
    "cloud": (225, 230, 238),
}
BACKDROPS = {"plain": 5, "disc": 3, "halves": 1, "stripes": 1}  # relative frequencies
NOSES = ("button", "hook", "wide", "round")
GLASSES = {"none": 11, "round": 3, "square": 3, "sun": 1}
BEARDS = {"none": 10, "moustache": 2, "goatee": 2, "full": 2}
COLLARS = ("crew", "v", "shirt", "scarf")
WHITE, DARK = (255, 255, 255), (38, 30, 40)
CLOSED = 0.15  # mouth_open below which a mouth is drawn as a line
LIP, PALE_LIP, TONGUE = (150, 40, 50), (225, 120, 120), (225, 105, 110)


@dataclass(frozen=True)
class Toon:
    """The factors of one portrait. Colours and styles by name; lengths in pictures, angles in degrees."""

    skin: str
    face_width: float  # half the face's width, 0.27 to 0.33
    face_height: float  # half its height, 0.31 to 0.355
    jaw: float  # -0.1, broad, to 0.28, pointed: share of the width lost at the chin
    hair: str
    hair_colour: str
    eye_size: float  # radius of the white, 0.076 to 0.1
    eye_spacing: float  # from the middle of the face to that of an eye, 0.118 to 0.142
    iris: str
    gaze_x: float  # -1, to the left of the picture, to 1
    gaze_y: float  # -0.6, up, to 0.6
    brow_tilt: float  # -1, worried, to 1, cross
    brow_thickness: float  # 0.012 to 0.03
    mouth_curve: float  # -1, a frown, to 1, a smile
    mouth_open: float  # 0, closed, to 1
    teeth: bool  # shown where the mouth is open
    nose: str
    ear_size: float  # radius, 0.04 to 0.07
    glasses: str
    beard: str
    collar: str
    clothes: str
    background: str
    backdrop: str
    tilt: float  # of the head, -5 to 5, clockwise
    shift_x: float  # of the head, -0.015 to 0.015
    shift_y: float


def toon(seed: int, index: int) -> Toon:
    """The factors of portrait `index` of `seed`, whatever others are drawn."""
    rng = random.Random(f"toons {seed} {index}")
    return Toon(
        skin=_one_of(rng, SKINS),
        face_width=_between(rng, 0.27, 0.33),
        face_height=_between(rng, 0.31, 0.355),
        jaw=_between(rng, -0.1, 0.28),
        hair=_one_of(rng, HAIR),
        hair_colour=_one_of(rng, HAIR_COLOURS),
        eye_size=_between(rng, 0.076, 0.1),
        eye_spacing=_between(rng, 0.118, 0.142),
        iris=_one_of(rng, IRISES),
        gaze_x=_between(rng, -1, 1),
        gaze_y=_between(rng, -0.6, 0.6),
        brow_tilt=_between(rng, -1, 1),
        brow_thickness=_between(rng, 0.012, 0.03),
        mouth_curve=_between(rng, -1, 1),
        mouth_open=max(0.0, _between(rng, -0.8, 1)),
        teeth=rng.random() < 0.6,
        nose=_one_of(rng, NOSES),
        ear_size=_between(rng, 0.04, 0.07),
        glasses=_weighted(rng, GLASSES),
        beard=_weighted(rng, BEARDS),
        collar=_one_of(rng, COLLARS),
        clothes=_one_of(rng, CLOTHES),
        background=_one_of(rng, BACKGROUNDS),
        backdrop=_weighted(rng, BACKDROPS),
        tilt=_between(rng, -5, 5),
        shift_x=_between(rng, -0.015, 0.015),
        shift_y=_between(rng, -0.015, 0.015),
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

    def __init__(self, size: int, tilt: float, shift: Point) -> None:
        self.pixels = size * SUPERSAMPLING
        self.image = Image.new("RGB", (self.pixels, self.pixels))
        self.canvas = ImageDraw.Draw(self.image)
        self.turn = (math.cos(math.radians(tilt)), math.sin(math.radians(tilt)))
        self.shift = shift

    def shape(self, points: list[Point], fill: Colour, head: bool = True) -> None:
        """A filled polygon."""
        self.canvas.polygon([self._place(p, head) for p in points], fill=fill)

    def ellipse(self, centre: Point, rx: float, ry: float, fill: Colour, head: bool = True) -> None:
        """A filled ellipse."""
        self.shape(ring(centre, rx, ry), fill, head)

    def line(self, points: list[Point], width: float, fill: Colour) -> None:
        """A line with round ends."""
        placed = [self._place(p, True) for p in points]
        thick = max(1, round(width * self.pixels))
        self.canvas.line(placed, fill=fill, width=thick, joint="curve")
        for x, y in (placed[0], placed[-1]):
            r = thick / 2
            self.canvas.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def finished(self) -> Image.Image:
        """The picture, edges smoothed."""
        return self.image.reduce(SUPERSAMPLING)

    def _place(self, point: Point, head: bool) -> Point:
        x, y = point
        if head:
            dx, dy = x - self.NECK[0], y - self.NECK[1]
            cos, sin = self.turn
            x = self.NECK[0] + dx * cos - dy * sin + self.shift[0]
            y = self.NECK[1] + dx * sin + dy * cos + self.shift[1]
        return x * self.pixels, y * self.pixels


def draw(toon: Toon, size: int) -> Image.Image:
    """The portrait, RGB, size x size, antialiased."""
    pen = Pen(size, toon.tilt, (toon.shift_x, toon.shift_y))
    back, front = HAIR[toon.hair]
    draw_backdrop(pen, toon)
    back(pen, toon)
    draw_body(pen, toon)
    draw_ears(pen, toon)
    draw_face(pen, toon)
    draw_beard(pen, toon)
    draw_mouth(pen, toon)
    draw_nose(pen, toon)
    draw_eyes(pen, toon)
    front(pen, toon)
    draw_brows(pen, toon)
    draw_glasses(pen, toon)
    return pen.finished()


FACE: Point = (0.5, 0.53)
EYES_Y, NOSE_Y, MOUTH_Y = 0.49, 0.61, 0.725


def shade(colour: Colour, amount: float) -> Colour:
    """`colour` darkened, or with a negative amount lightened, by that share."""
    toward = 0 if amount > 0 else 255
    return tuple(round(c + (toward - c) * abs(amount)) for c in colour)


def ring(centre: Point, rx: float, ry: float, start: float = 0, end: float = 360, points: int = 36) -> list[Point]:
    """Points of an ellipse's arc, from `start` to `end` degrees; 0 is to the right, 90 below."""
    angles = [math.radians(start + (end - start) * i / points) for i in range(points + 1)]
    return [(centre[0] + rx * math.cos(a), centre[1] + ry * math.sin(a)) for a in angles]


def curve(a: Point, b: Point, bend: float, points: int = 16) -> list[Point]:
    """Points of a parabola from `a` to `b` whose middle lies `bend` below the straight line."""
    ts = [i / points for i in range(points + 1)]
    return [(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t + bend * 4 * t * (1 - t)) for t in ts]


def outline(toon: Toon, grow: float = 0.0, start: float = 0, end: float = 360, points: int = 48) -> list[Point]:
    """Points of the head's outline, `grow` outside of it: an ellipse, narrowed towards the chin by the jaw."""
    found = []
    for x, y in ring((0, 0), 1, 1, start, end, points):
        narrow = 1 - toon.jaw * max(0.0, y) ** 2
        found.append((FACE[0] + x * narrow * (toon.face_width + grow), FACE[1] + y * (toon.face_height + grow)))
    return found


def sides(toon: Toon) -> Iterator[tuple[int, float]]:
    """-1 with the x of the left eye, 1 with that of the right."""
    for side in (-1, 1):
        yield side, FACE[0] + side * toon.eye_spacing


def draw_backdrop(pen: Pen, toon: Toon) -> None:
    """What is behind the toon."""
    colour = BACKGROUNDS[toon.background]
    second = shade(colour, 0.12)
    pen.shape([(0, 0), (1, 0), (1, 1), (0, 1)], colour, head=False)
    if toon.backdrop == "disc":
        pen.ellipse((0.5, 0.5), 0.47, 0.47, shade(colour, -0.35), head=False)
    elif toon.backdrop == "halves":
        pen.shape([(0, 1), (1, 0), (1, 1)], second, head=False)
    elif toon.backdrop == "stripes":
        for i in range(4):
            pen.shape([(i / 4, 0), (i / 4 + 0.125, 0), (i / 4 + 0.125, 1), (i / 4, 1)], second, head=False)


def draw_body(pen: Pen, toon: Toon) -> None:
    """Neck, shoulders and collar."""
    skin, cloth = SKINS[toon.skin], CLOTHES[toon.clothes]
    pen.ellipse((0.5, 1.06), 0.42, 0.2, shade(cloth, 0.3), head=False)
    pen.ellipse((0.5, 1.08), 0.41, 0.2, cloth, head=False)
    pen.shape([(0.41, 0.75), (0.59, 0.75), (0.6, 0.92), (0.5, 0.96), (0.4, 0.92)], shade(skin, 0.16), head=False)
    if toon.collar == "crew":
        pen.shape(
            [*curve((0.385, 0.89), (0.615, 0.89), 0.06), *curve((0.63, 0.91), (0.37, 0.91), 0.08)],
            shade(cloth, 0.3),
            head=False,
        )
    elif toon.collar == "v":
        pen.shape([(0.4, 0.9), (0.6, 0.9), (0.5, 1.0)], shade(skin, 0.16), head=False)
    elif toon.collar == "shirt":
        for side in (-1, 1):
            pen.shape([(0.5, 0.96), (0.5 + side * 0.13, 0.88), (0.5 + side * 0.14, 1.0)], WHITE, head=False)
    else:
        pen.shape([*ring((0.5, 0.9), 0.15, 0.05, 0, 360)], shade(cloth, -0.45), head=False)


def draw_ears(pen: Pen, toon: Toon) -> None:
    """One on each side, on the line of eyes and nose."""
    skin = SKINS[toon.skin]
    for side in (-1, 1):
        centre = (FACE[0] + side * (toon.face_width + 0.01), 0.55)
        pen.ellipse(centre, toon.ear_size + 0.008, toon.ear_size * 1.25 + 0.008, shade(skin, 0.38))
        pen.ellipse(centre, toon.ear_size, toon.ear_size * 1.25, skin)
        pen.ellipse(centre, toon.ear_size * 0.5, toon.ear_size * 0.7, shade(skin, 0.2))


def draw_face(pen: Pen, toon: Toon) -> None:
    """The head, outlined, with a blush on the cheeks."""
    skin = SKINS[toon.skin]
    pen.shape(outline(toon, 0.01), shade(skin, 0.38))
    pen.shape(outline(toon), skin)
    red, green, blue = skin
    blush = (min(255, red + 10), round(green * 0.82), round(blue * 0.86)) if red > green else shade(skin, 0.1)
    for side in (-1, 1):
        pen.ellipse((FACE[0] + side * toon.face_width * 0.66, 0.645), 0.045, 0.032, blush)


def draw_mouth(pen: Pen, toon: Toon) -> None:
    """A line that is bent, or an open mouth with teeth or a tongue."""
    corner_y, bend = MOUTH_Y - 0.025 * toon.mouth_curve, 0.06 * toon.mouth_curve
    left, right = (FACE[0] - 0.125, corner_y), (FACE[0] + 0.125, corner_y)
    lip = LIP if sum(SKINS[toon.skin]) > 330 else PALE_LIP
    if toon.mouth_open < CLOSED:
        pen.line(curve(left, right, bend), 0.026, lip)
        return
    gap = 0.045 + 0.075 * toon.mouth_open
    upper, lower = curve(left, right, bend - gap * 0.4), curve(right, left, bend + gap)
    pen.shape([*upper, *lower], DARK)
    if toon.teeth:
        pen.shape([*upper, *curve(right, left, bend + gap * 0.25)], WHITE)
    else:
        pen.ellipse((FACE[0], corner_y + bend + gap * 0.75), 0.055, gap * 0.2, TONGUE)
    pen.line([*upper, *lower], 0.016, lip)


def draw_nose(pen: Pen, toon: Toon) -> None:
    """One of four."""
    skin = SKINS[toon.skin]
    line = shade(skin, 0.42)
    x, y = FACE[0], NOSE_Y
    if toon.nose == "button":
        pen.ellipse((x, y), 0.03, 0.024, shade(skin, 0.25))
    elif toon.nose == "hook":
        pen.line([(x - 0.01, y - 0.07), (x + 0.035, y), (x - 0.015, y + 0.015)], 0.016, line)
    elif toon.nose == "wide":
        pen.line(curve((x - 0.05, y), (x + 0.05, y), 0.03), 0.018, line)
    else:
        pen.ellipse((x, y - 0.005), 0.048, 0.042, line)
        pen.ellipse((x, y - 0.008), 0.04, 0.034, shade(skin, -0.12))


def draw_eyes(pen: Pen, toon: Toon) -> None:
    """White, iris, pupil and a glint, looking where the gaze goes."""
    r = toon.eye_size
    for _, x in sides(toon):
        pen.ellipse((x, EYES_Y), r + 0.008, r * 1.12 + 0.008, shade(SKINS[toon.skin], 0.5))
        pen.ellipse((x, EYES_Y), r, r * 1.12, WHITE)
        look = (x + toon.gaze_x * r * 0.42, EYES_Y + toon.gaze_y * r * 0.5)
        pen.ellipse(look, r * 0.56, r * 0.56, IRISES[toon.iris])
        pen.ellipse(look, r * 0.34, r * 0.34, DARK)
        pen.ellipse((look[0] - r * 0.18, look[1] - r * 0.2), r * 0.14, r * 0.14, WHITE)


def draw_brows(pen: Pen, toon: Toon) -> None:
    """Of the hair's colour, darkened so that light hair shows on light skin."""
    colour = shade(HAIR_COLOURS[toon.hair_colour], 0.35)
    y = EYES_Y - toon.eye_size * 1.12 - 0.035
    for side, x in sides(toon):
        inner, outer = (x - side * 0.055, y + 0.022 * toon.brow_tilt), (x + side * 0.06, y - 0.016 * toon.brow_tilt)
        pen.line(curve(inner, outer, -0.014), toon.brow_thickness, colour)


def draw_glasses(pen: Pen, toon: Toon) -> None:
    """None, round, square, or dark ones."""
    if toon.glasses == "none":
        return
    r = toon.eye_spacing - 0.012
    for side, x in sides(toon):
        frame = ring((x, EYES_Y), r, r) if toon.glasses == "round" else _square((x, EYES_Y), r, r * 0.9)
        if toon.glasses == "sun":
            pen.shape(frame, DARK)
            pen.line([(x - 0.05, EYES_Y + 0.02), (x - 0.01, EYES_Y - 0.045)], 0.018, (110, 110, 130))
        else:
            pen.line([*frame, frame[0]], 0.018, DARK)
        edge = FACE[0] + side * toon.face_width
        pen.line([(x + side * r, EYES_Y - 0.02), (edge, EYES_Y - 0.02)], 0.018, DARK)
    pen.line([(FACE[0] - 0.014, EYES_Y - 0.01), (FACE[0] + 0.014, EYES_Y - 0.01)], 0.02, DARK)


def _square(centre: Point, rx: float, ry: float) -> list[Point]:
    """A rectangle with its corners cut."""
    (x, y), cut = centre, 0.025
    right, left, top, bottom = x + rx, x - rx, y - ry, y + ry
    return [
        *((left + cut, top), (right - cut, top), (right, top + cut), (right, bottom - cut)),
        *((right - cut, bottom), (left + cut, bottom), (left, bottom - cut), (left, top + cut)),
    ]


def draw_beard(pen: Pen, toon: Toon) -> None:
    """None, a moustache, a goatee or a full beard; skin stays around the mouth, so that it can be read."""
    colour = shade(HAIR_COLOURS[toon.hair_colour], 0.12)
    if toon.beard in ("full", "goatee"):
        full = toon.beard == "full"
        low = outline(toon, 0.02, 12, 168) if full else outline(toon, 0.02, 62, 118)
        top = curve(low[-1], low[0], 0.06) if full else curve(low[-1], low[0], -0.05)
        pen.shape([*low, *top], colour)
        if full:
            pen.ellipse((FACE[0], MOUTH_Y + 0.005), 0.165, 0.09, SKINS[toon.skin])
    elif toon.beard == "moustache":
        for side in (-1, 1):
            tip = (FACE[0] + side * 0.13, MOUTH_Y - 0.03)
            pen.shape([(FACE[0], MOUTH_Y - 0.085), *curve((FACE[0], MOUTH_Y - 0.04), tip, 0.0, 2)], colour)


def hair_of(toon: Toon) -> Colour:
    """The colour of the hair."""
    return HAIR_COLOURS[toon.hair_colour]


def scalp(pen: Pen, toon: Toon, line: float, grow: float, low: float = 8) -> None:
    """Hair over the top of the head, outlined.

    Args:
        line: y of the middle of the hairline.
        grow: how far the hair stands off the head.
        low: degrees below the middle of the face to which it comes down at the sides.
    """
    colour = hair_of(toon)
    left, right = outline(toon, grow, 180 - low, 360 + low)[::48]
    ts = [i / 16 for i in range(17)]
    hairline = [
        (right[0] + (left[0] - right[0]) * t, right[1] + (line - right[1]) * (1 - abs(2 * t - 1) ** 3)) for t in ts
    ]
    pen.shape([*outline(toon, grow + 0.01, 180 - low, 360 + low), *hairline], shade(colour, 0.4))
    pen.shape([*outline(toon, grow, 180 - low, 360 + low), *hairline], colour)
    shine = ring((FACE[0] - 0.02, FACE[1]), toon.face_width * 0.72, toon.face_height + grow - 0.04, 225, 262, 10)
    pen.line(shine, 0.018, shade(colour, -0.25))


def nothing(pen: Pen, toon: Toon) -> None:
    """No hair behind the head."""


def bald_front(pen: Pen, toon: Toon) -> None:
    """A shine on the top of the head."""
    pen.line(
        ring(FACE, toon.face_width * 0.62, toon.face_height * 0.82, 235, 265, 8), 0.022, shade(SKINS[toon.skin], -0.5)
    )


def crop_front(pen: Pen, toon: Toon) -> None:
    """Short all over."""
    scalp(pen, toon, 0.335, 0.02)


def long_back(pen: Pen, toon: Toon) -> None:
    """Down to the shoulders."""
    w = toon.face_width + 0.075
    pen.shape(
        [*ring((0.5, 0.47), w, 0.34, 180, 360), (0.5 + w + 0.03, 0.97), (0.5 - w - 0.03, 0.97)],
        shade(hair_of(toon), 0.22),
    )


def long_front(pen: Pen, toon: Toon) -> None:
    """Parted in the middle."""
    scalp(pen, toon, 0.31, 0.035, low=22)


def bob_back(pen: Pen, toon: Toon) -> None:
    """Down to the chin, round."""
    w = toon.face_width + 0.085
    pen.shape([*ring((0.5, 0.5), w, 0.37, 170, 370), *ring((0.5, 0.7), w, 0.1, 0, 180)], shade(hair_of(toon), 0.22))


def bob_front(pen: Pen, toon: Toon) -> None:
    """A straight fringe."""
    scalp(pen, toon, 0.385, 0.04, low=14)


def curls_back(pen: Pen, toon: Toon) -> None:
    """Curls all around the head."""
    for x, y in ring((0.5, 0.46), toon.face_width + 0.055, toon.face_height + 0.01, 150, 390, 11):
        pen.ellipse((x, y), 0.1, 0.1, shade(hair_of(toon), 0.18))


def curls_front(pen: Pen, toon: Toon) -> None:
    """Curls along the hairline."""
    for x, y in ring((0.5, 0.45), toon.face_width - 0.02, toon.face_height - 0.09, 205, 335, 7):
        pen.ellipse((x, y), 0.075, 0.075, hair_of(toon))


def spikes_front(pen: Pen, toon: Toon) -> None:
    """Spikes that stand up."""
    inner, outer = outline(toon, 0.0, 195, 345, 12), outline(toon, 0.13, 195, 345, 12)
    zigzag = [outer[i] if i % 2 else inner[i] for i in range(13)]
    pen.shape([*zigzag, *curve(inner[-1], inner[0], -0.12)], shade(hair_of(toon), 0.2))
    scalp(pen, toon, 0.345, 0.015)


def bun_back(pen: Pen, toon: Toon) -> None:
    """A bun on the top."""
    y = FACE[1] - toon.face_height - 0.06
    pen.ellipse((0.5, y), 0.125, 0.11, shade(hair_of(toon), 0.4))
    pen.ellipse((0.5, y), 0.115, 0.1, shade(hair_of(toon), 0.1))


def bun_front(pen: Pen, toon: Toon) -> None:
    """Combed back tightly."""
    scalp(pen, toon, 0.3, 0.02)


def quiff_front(pen: Pen, toon: Toon) -> None:
    """A wave to one side."""
    scalp(pen, toon, 0.32, 0.02)
    top = FACE[1] - toon.face_height
    pen.ellipse((0.57, top + 0.03), 0.21, 0.105, shade(hair_of(toon), 0.4))
    pen.ellipse((0.57, top + 0.025), 0.2, 0.095, hair_of(toon))
    pen.line(curve((0.45, top + 0.03), (0.7, top + 0.01), -0.05), 0.02, shade(hair_of(toon), -0.25))


def pigtails_back(pen: Pen, toon: Toon) -> None:
    """A tail on each side."""
    for side in (-1, 1):
        x = 0.5 + side * (toon.face_width + 0.085)
        pen.ellipse((x, 0.62), 0.085, 0.17, shade(hair_of(toon), 0.4))
        pen.ellipse((x, 0.62), 0.075, 0.16, shade(hair_of(toon), 0.1))


def pigtails_front(pen: Pen, toon: Toon) -> None:
    """A fringe, and a ribbon for each tail."""
    scalp(pen, toon, 0.35, 0.025)
    for side in (-1, 1):
        pen.ellipse((0.5 + side * (toon.face_width + 0.055), 0.48), 0.04, 0.04, CLOTHES[toon.clothes])


def cap_front(pen: Pen, toon: Toon) -> None:
    """A cap of the clothes' colour, its peak to the left, hair below it."""
    scalp(pen, toon, 0.345, 0.012)
    colour = CLOTHES[toon.clothes]
    dome = outline(toon, 0.045, 200, 340)
    pen.shape([*outline(toon, 0.055, 200, 340), *curve(dome[-1], dome[0], -0.07)], shade(colour, 0.4))
    pen.shape([*dome, *curve(dome[-1], dome[0], -0.08)], colour)
    x, y = dome[0]
    tip, end = (x - 0.1, y + 0.02), (0.62, y - 0.05)
    pen.shape([*curve(tip, end, -0.07), *curve(end, tip, -0.035)], shade(colour, 0.3))


HAIR: dict[str, tuple[Callable[[Pen, Toon], None], Callable[[Pen, Toon], None]]] = {
    "bald": (nothing, bald_front),
    "crop": (nothing, crop_front),
    "long": (long_back, long_front),
    "bob": (bob_back, bob_front),
    "curls": (curls_back, curls_front),
    "spikes": (nothing, spikes_front),
    "bun": (bun_back, bun_front),
    "quiff": (nothing, quiff_front),
    "pigtails": (pigtails_back, pigtails_front),
    "cap": (nothing, cap_front),
}


def write(folder: Path, count: int, seed: int, size: int, on_progress: Callable[[int], None] | None = None) -> None:
    """Draw toons 0 to count - 1 of `seed` into `folder`, which is made: toon_00000.png ... and factors.csv.

    Args:
        size: height and width, pixels.
        on_progress: called with the number drawn.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Pillow lets go of the interpreter while it averages and packs, so that a second thread helps a little.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(partial(_write_one, folder, seed, size), range(count)), start=1):
            if on_progress:
                on_progress(done)
    with open(folder / "factors.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["file", *(f.name for f in fields(Toon))])
        table.writeheader()
        table.writerows({"file": file_name(i)} | asdict(toon(seed, i)) for i in range(count))


def file_name(index: int) -> str:
    """The file of toon `index`."""
    return f"toon_{index:05d}.png"


def _write_one(folder: Path, seed: int, size: int, index: int) -> None:
    draw(toon(seed, index), size).save(folder / file_name(index), compress_level=1)


def cached(count: int, seed: int, size: int, cache_dir: Path, on_progress: Callable[[int], None] | None = None) -> Path:
    """The folder below `cache_dir` that holds these toons, drawn now if it is not there.

    They are drawn beside it and renamed, so that a killed run leaves no half set, and of two at once one is kept.

    Raises:
        VAEError: `cache_dir` cannot be written.
    """
    folder = cache_dir / f"toons-v{TOONS_VERSION}-n{count}-seed{seed}-{size}px"
    if folder.is_dir():
        return folder
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        _sweep(cache_dir)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=cache_dir) as beside:
            write(Path(beside, "set"), count, seed, size, on_progress)
            _move(Path(beside, "set"), folder)
    except OSError as e:
        raise VAEError(
            f"data.cache_dir: cannot write {cache_dir}: {one_line(e.strerror or e)}. "
            "Give a folder that can be written with --data.cache_dir DIR."
        ) from None
    return folder


def _move(drawn: Path, folder: Path) -> None:
    """Rename `drawn` to `folder`, or leave what another process has put there first."""
    try:
        drawn.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _sweep(cache_dir: Path) -> None:
    """Remove what killed runs left half drawn."""
    for left in cache_dir.glob(f"{UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > STALE_S:
            shutil.rmtree(left, ignore_errors=True)
