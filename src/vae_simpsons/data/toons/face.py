"""Face, features and body of a toon."""

import math
from collections.abc import Iterator

from vae_simpsons.data.toons.factors import HAIR_COLOURS, IRISES, SKINS, Colour, Toon
from vae_simpsons.data.toons.pen import (
    CENTRE_X,
    INK,
    WHITE,
    Pen,
    Point,
    curve,
    edge_of,
    lit,
    lowered,
    mirrored,
    mix,
    ring,
    shaded,
    soft,
    toward,
)

THROAT, TONGUE, BEARD_LIP = (104, 26, 48), (236, 110, 116), (240, 160, 150)
FACE: Point = (CENTRE_X, 0.525)  # its middle
LIGHT: Point = (0.3, 0.35)  # where the face is brightest
EYES_Y, EARS_Y, NOSE_Y, CHEEKS_Y, MOUTH_Y = 0.52, 0.555, 0.635, 0.665, 0.735
EYE_HEIGHT = 1.12  # of an eye's width
MOUTH_X = 0.13  # half the mouth's width
CLOSED = 0.15  # mouth_open below which a mouth is drawn as a line


def on_face(toon: Toon, *places: Point) -> list[Point]:
    """Where `places` are, given in half widths and half heights of the face from its middle."""
    return [(FACE[0] + u * toon.face_width, FACE[1] + v * toon.face_height) for u, v in places]


def head_outline(toon: Toon, grow: float = 0.0, start: float = 0, end: float = 360) -> list[Point]:
    """Points of the head's outline, `grow` outside of it: an ellipse, narrowed towards the chin by the jaw."""
    unit = ring((0, 0), 1, 1, start, end, 40)
    narrowed = ((x * (1 - toon.jaw * max(0.0, y) ** 2), y) for x, y in unit)
    return [(FACE[0] + x * (toon.face_width + grow), FACE[1] + y * (toon.face_height + grow)) for x, y in narrowed]


def eye_centres(toon: Toon) -> Iterator[tuple[int, Point]]:
    """-1 with the centre of the left eye, 1 with that of the right."""
    for side in (-1, 1):
        yield side, (FACE[0] + side * (toon.eye_size + toon.eye_gap / 2), EYES_Y)


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
    around = head_outline(toon)
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


def draw_button_nose(pen: Pen, toon: Toon) -> None:
    """Small and round."""
    fill = SKINS[toon.skin].fill
    pen.ellipse((FACE[0], NOSE_Y), 0.034, 0.027, mix(shaded(fill), INK, 0.22))


def draw_hook_nose(pen: Pen, toon: Toon) -> None:
    """A bent line."""
    x, y = FACE[0], NOSE_Y
    bent = soft([(x - 0.005, y - 0.085), (x + 0.02, y - 0.03), (x + 0.055, y + 0.02), (x - 0.025, y + 0.025)], False)
    pen.line(bent, 0.019, edge_of(SKINS[toon.skin].fill))


def draw_wide_nose(pen: Pen, toon: Toon) -> None:
    """An arc, its ends turned up."""
    x, y = FACE[0], NOSE_Y
    pen.line(curve((x - 0.055, y - 0.008), (x + 0.055, y - 0.008), 0.036), 0.02, edge_of(SKINS[toon.skin].fill))


def draw_ball_nose(pen: Pen, toon: Toon) -> None:
    """Big and round, and shining."""
    _, blush, _ = SKINS[toon.skin]
    pen.ellipse((FACE[0], NOSE_Y - 0.005), 0.05, 0.043, blush, edge_of(SKINS[toon.skin].fill))
    pen.ellipse((FACE[0] - 0.014, NOSE_Y - 0.02), 0.014, 0.01, lit(blush))


NOSE_SHAPES = {"button": draw_button_nose, "hook": draw_hook_nose, "wide": draw_wide_nose, "ball": draw_ball_nose}


def draw_eyes(pen: Pen, toon: Toon) -> None:
    """White, iris, pupil and a glint, looking where the gaze goes, below a lid."""
    r = toon.eye_size
    for _, (x, y) in eye_centres(toon):
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
    for side, (x, _) in eye_centres(toon):
        inner, outer = (x - side * 0.06, y + 0.02 * toon.brow_tilt), (x + side * 0.07, y - 0.014 * toon.brow_tilt)
        pen.line(curve(inner, outer, -0.02), toon.brow_thickness, colour)


def draw_glasses(pen: Pen, toon: Toon) -> None:
    """None, round, square, or dark ones."""
    if toon.glasses == "none":
        return
    r = toon.eye_size + toon.eye_gap / 2 - 0.01
    for side, (x, y) in eye_centres(toon):
        pen.line([(x + side * r, y - 0.02), (FACE[0] + side * toon.face_width, y - 0.03)], 0.022, INK)
        lens = ring((x, y), r, r * 1.02) if toon.glasses == "round" else pane_outline((x, y), r, r * 0.96)
        if toon.glasses == "sun":
            pen.shape(lens, INK)
            pen.line([(x - 0.055, y + 0.02), (x - 0.005, y - 0.05)], 0.022, mix(INK, WHITE, 0.4))
        pen.line([*lens, lens[0]], 0.021, INK)
    pen.line(curve((FACE[0] - 0.014, EYES_Y - 0.02), (FACE[0] + 0.014, EYES_Y - 0.02), -0.008, 4), 0.021, INK)


def pane_outline(centre: Point, rx: float, ry: float) -> list[Point]:
    """A rectangle, its corners rounded, with a straight top."""
    x, y = centre
    return soft([(x - rx, y - ry), (x, y - ry), (x + rx, y - ry), (x + rx, y), (x + rx * 0.9, y + ry), (x, y + ry),
                 (x - rx * 0.9, y + ry), (x - rx, y)])  # fmt: skip


def draw_beard(pen: Pen, toon: Toon) -> None:
    """None, a moustache, a goatee or a full beard."""
    colour = mix(HAIR_COLOURS[toon.hair_colour], INK, 0.12)
    if toon.beard in ("full", "goatee"):
        points = full_beard_outline(toon) if toon.beard == "full" else goatee_outline(toon)
        pen.shape(points, colour, edge_of(colour))
    if toon.beard in ("full", "moustache"):
        half = [(0.49, 0.664), (0.43, 0.656), (0.335, 0.706), (0.45, 0.704)]
        pen.shape(soft(mirrored(half)), colour, edge_of(colour))


def full_beard_outline(toon: Toon) -> list[Point]:
    """From ear to ear below the cheeks, and a little beyond the chin."""
    low = head_outline(toon, 0.015, 2, 178)
    cheeks = on_face(toon, (-0.88, 0.05), (-0.84, 0.36), (-0.5, 0.48), (0.5, 0.48), (0.84, 0.36), (0.88, 0.05))
    return [*low, *soft([low[-1], *cheeks, low[0]], closed=False)]


def goatee_outline(toon: Toon) -> list[Point]:
    """Around the chin, below the mouth."""
    low = head_outline(toon, 0.03, 63, 117)
    return [*low, *curve(low[-1], low[0], -0.095)]
