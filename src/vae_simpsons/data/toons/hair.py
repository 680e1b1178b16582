"""Hair, hats and ribbons of a toon."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from vae_simpsons.data.toons.colours import WHITE, Colour, edge_of, lit, mix, shaded
from vae_simpsons.data.toons.factors import CLOTHES, HAIR_COLOURS, SKINS, Toon
from vae_simpsons.data.toons.pen import FACE, Pen, Point, curve, lowered, mirrored, on_face, ring, soft


class Style(NamedTuple):
    """How hair is drawn."""

    front: Callable[[Pen, Toon], None]  # draws what is in front of the head
    back: Callable[[Pen, Toon], None] | None = None  # what is behind it
    line: tuple[Point, ...] = ()  # where hair begins on the forehead, its right half from the ear up, as of on_face
    ears: bool = True  # whether they are visible


def hairline(toon: Toon) -> list[Point]:
    """Points of the lower edge of the hair on the forehead, from right to left."""
    line = HAIR[toon.hair].line
    return soft(on_face(toon, *line, *((-u, v) for u, v in reversed(line))), closed=False)


def draw_hair_shadow(pen: Pen, toon: Toon) -> None:
    if HAIR[toon.hair].line:
        line = hairline(toon)
        pen.shape([*line, *reversed(lowered(line, 0.028, power=6))], shaded(SKINS[toon.skin].fill))


def draw_scalp(pen: Pen, toon: Toon, volume: float, sides: float = 0.012) -> None:
    """Hair over the top of the head down to the hairline; `volume` is how far it stands off the top."""
    colour = HAIR_COLOURS[toon.hair_colour]
    low = math.degrees(math.asin(min(1.0, max(-1.0, HAIR[toon.hair].line[0][1]))))
    dome = ring(FACE, toon.face_width + sides, toon.face_height + volume, 180 - low, 360 + low, 40)
    pen.shape([*dome, *hairline(toon)], colour, edge_of(colour))
    draw_shine(pen, toon, volume)


def draw_shine(pen: Pen, toon: Toon, volume: float) -> None:
    """The light on the upper left of the hair."""
    rx, ry = toon.face_width * 0.78, toon.face_height * 0.9 + volume * 0.5
    for start, end, points in ((222, 250, 10), (258, 261, 2)):
        pen.line(ring(FACE, rx, ry, start, end, points), 0.024, lit(HAIR_COLOURS[toon.hair_colour]))


def draw_bald(pen: Pen, toon: Toon) -> None:
    shine = ring(FACE, toon.face_width * 0.72, toon.face_height * 0.84, 225, 254, 10)
    pen.line(shine, 0.026, mix(SKINS[toon.skin].fill, WHITE, 0.55))


def draw_hanging(pen: Pen, toon: Toon, half: Sequence[Point]) -> None:
    """Hair that hangs down behind the head; `half` is its left half from the top, as on_face takes it."""
    colour = shaded(HAIR_COLOURS[toon.hair_colour])
    pen.shape(soft(mirrored(on_face(toon, *half))), colour, edge_of(colour))


def draw_curls_back(pen: Pen, toon: Toon) -> None:
    around = ring((0.5, 0.47), toon.face_width + 0.012, toon.face_height - 0.02, 150, 390, 10)
    draw_puffs(pen, around, 0.1, shaded(HAIR_COLOURS[toon.hair_colour]))


def draw_curls_front(pen: Pen, toon: Toon) -> None:
    colour = HAIR_COLOURS[toon.hair_colour]
    draw_puffs(pen, ring((0.5, 0.47), toon.face_width - 0.01, toon.face_height - 0.085, 198, 342, 6), 0.085, colour)
    for centre in ring((0.48, 0.44), toon.face_width, toon.face_height - 0.085, 225, 275, 2):
        pen.line(ring(centre, 0.035, 0.035, 190, 280, 6), 0.02, lit(colour))


def draw_puffs(pen: Pen, centres: Sequence[Point], radius: float, colour: Colour) -> None:
    """Balls that have grown together."""
    for r, fill in ((radius + Pen.EDGE, edge_of(colour)), (radius, colour)):
        for centre in centres:
            pen.ellipse(centre, r, r, fill)


def draw_spikes(pen: Pen, toon: Toon) -> None:
    """Spikes that stand up, and a jagged fringe."""
    colour = HAIR_COLOURS[toon.hair_colour]
    up = [(-1.02, -0.2), (-1.24, -0.72), (-0.86, -0.78), (-0.94, -1.22), (-0.5, -1.02), (-0.36, -1.38), (0.02, -1.08),
          (0.34, -1.38), (0.5, -1.02), (0.94, -1.22), (0.86, -0.78), (1.24, -0.72), (1.02, -0.2)]  # fmt: skip
    down = [(0.86, -0.5), (0.62, -0.74), (0.4, -0.5), (0.16, -0.74), (-0.08, -0.52), (-0.32, -0.74), (-0.58, -0.5),
            (-0.86, -0.6)]  # fmt: skip
    pen.shape(on_face(toon, *up, *down), colour)
    pen.line(on_face(toon, *up, *down, up[0]), Pen.EDGE, edge_of(colour))
    draw_shine(pen, toon, 0.0)


def draw_bun_back(pen: Pen, toon: Toon) -> None:
    colour, y = HAIR_COLOURS[toon.hair_colour], FACE[1] - toon.face_height - 0.045
    pen.ellipse((0.5, y), 0.125, 0.1, shaded(colour), edge_of(colour))
    pen.line(curve((0.44, y - 0.03), (0.56, y - 0.03), -0.03), 0.02, colour)


def draw_quiff(pen: Pen, toon: Toon) -> None:
    """A wave over short sides."""
    draw_scalp(pen, toon, 0.01)
    colour = HAIR_COLOURS[toon.hair_colour]
    wave = [(-0.92, -0.5), (-1.06, -0.86), (-0.8, -1.14), (-0.1, -1.22), (0.4, -1.39), (1.2, -1.34), (1.28, -0.92),
            (0.92, -0.7), (0.5, -0.84), (-0.3, -0.66)]  # fmt: skip
    pen.shape(soft(on_face(toon, *wave)), colour, edge_of(colour))
    shine = on_face(toon, (-0.76, -0.78), (-0.6, -1.0), (0.2, -0.98), (0.5, -1.18), (0.88, -1.17))
    pen.line(soft(shine, closed=False), 0.024, lit(colour))


def draw_pigtails_back(pen: Pen, toon: Toon) -> None:
    colour = shaded(HAIR_COLOURS[toon.hair_colour])
    tail = [(0.02, 0.42), (0.1, 0.4), (0.128, 0.56), (0.115, 0.76), (0.09, 0.86), (0.03, 0.74), (0.01, 0.58)]
    for side in (-1, 1):
        x = FACE[0] + side * toon.face_width
        pen.shape(soft([(x + side * out, y) for out, y in tail]), colour, edge_of(colour))


def draw_pigtails_front(pen: Pen, toon: Toon) -> None:
    """A round fringe, and a ribbon for each tail."""
    draw_scalp(pen, toon, 0.045, 0.025)
    colour = CLOTHES[toon.clothes]
    for side in (-1, 1):
        pen.ellipse((FACE[0] + side * (toon.face_width + 0.05), 0.44), 0.042, 0.042, colour, edge_of(colour))


def draw_beanie(pen: Pen, toon: Toon) -> None:
    """A knitted hat of the clothes' colour, hair below it."""
    colour, edge = CLOTHES[toon.clothes], edge_of(CLOTHES[toon.clothes])
    draw_scalp(pen, toon, 0.0, 0.025)
    pen.ellipse((0.5, FACE[1] - toon.face_height - 0.065), 0.075, 0.07, mix(colour, WHITE, 0.45), edge)
    pen.shape(ring((0.5, FACE[1] - 0.1), toon.face_width + 0.02, toon.face_height - 0.045, 212, 328), colour, edge)
    brim = on_face(toon, (-0.3, -1.0), (-0.85, -0.92), (-1.1, -0.8), (-1.14, -0.46), (-0.98, -0.48), (-0.4, -0.7))
    pen.shape(soft(mirrored(brim)), mix(colour, WHITE, 0.25), edge)


CROP = ((1.0, -0.12), (0.88, -0.25), (0.88, -0.6), (0.55, -0.74), (0.2, -0.6))
PARTED = ((1.0, 0.3), (0.86, -0.1), (0.66, -0.5), (0.2, -0.7), (0.03, -0.92))
FRINGE = ((1.0, 0.4), (0.88, 0.1), (0.86, -0.54), (0.5, -0.54), (0.1, -0.56))
COMBED = ((1.0, -0.05), (0.9, -0.4), (0.6, -0.66), (0.2, -0.74))
SQUARE = ((1.0, -0.1), (0.88, -0.3), (0.84, -0.62), (0.5, -0.7), (0.1, -0.7))
ROUND = ((1.0, 0.0), (0.9, -0.34), (0.6, -0.54), (0.15, -0.6))
BELOW_HAT = ((1.0, 0.1), (0.92, -0.2), (0.84, -0.48), (0.3, -0.62))
TO_SHOULDERS = ((-0.3, -1.2), (-0.95, -1.1), (-1.3, -0.4), (-1.24, 0.3), (-1.4, 1.0), (-1.3, 1.36), (-0.4, 1.4))
TO_CHIN = ((-0.3, -1.2), (-0.95, -1.12), (-1.32, -0.4), (-1.34, 0.5), (-1.4, 0.98), (-0.8, 0.84), (-0.3, 0.86))
FULL_FRONT = partial(draw_scalp, volume=0.06, sides=0.04)
HAIR: dict[str, Style] = {
    "bald": Style(draw_bald),
    "crop": Style(partial(draw_scalp, volume=0.05), line=CROP),
    "long": Style(FULL_FRONT, partial(draw_hanging, half=TO_SHOULDERS), PARTED, ears=False),
    "bob": Style(FULL_FRONT, partial(draw_hanging, half=TO_CHIN), FRINGE, ears=False),
    "curls": Style(draw_curls_front, draw_curls_back),
    "spikes": Style(draw_spikes),
    "bun": Style(partial(draw_scalp, volume=0.03), draw_bun_back, COMBED),
    "quiff": Style(draw_quiff, line=SQUARE),
    "pigtails": Style(draw_pigtails_front, draw_pigtails_back, ROUND),
    "beanie": Style(draw_beanie, line=BELOW_HAT),
}
