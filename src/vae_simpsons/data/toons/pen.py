"""A pen that draws polygons and lines in the unit frame, and the curves and places that it is given."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from vae_simpsons.data.toons.colours import Colour
from vae_simpsons.data.toons.factors import Toon

SUPERSAMPLING = 4  # drawn this many times larger, then averaged: Pillow's shapes have hard edges

Point = tuple[float, float]  # in the unit frame: (0, 0) is the upper left corner of the picture, (1, 1) the lower right
FACE: Point = (0.5, 0.525)  # its middle


class Pen:
    """Draws shapes on a picture of `size` pixels; those of the head are turned about its neck and shifted with it."""

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

    def ellipse(self, centre: Point, rx: float, ry: float, fill: Colour, edge: Colour | None = None) -> None:
        """A filled ellipse of the head, outlined in `edge`."""
        self.shape(ring(centre, rx, ry), fill, edge)

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


def lowered(line: Sequence[Point], by: float, power: float = 2) -> list[Point]:
    """`line` sunk by as much in the middle, and not at all at its ends; a higher power makes the sides steeper."""
    last = len(line) - 1
    return [(x, y + by * (1 - abs(2 * i / last - 1) ** power)) for i, (x, y) in enumerate(line)]


def on_face(toon: Toon, *places: Point) -> list[Point]:
    """Where `places` are, given in half widths and half heights of the face from its middle."""
    return [(FACE[0] + u * toon.face_width, FACE[1] + v * toon.face_height) for u, v in places]
