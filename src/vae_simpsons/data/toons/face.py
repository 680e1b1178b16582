"""A toon: backdrop, body, face and hair, drawn from back to front."""

import math
from collections.abc import Iterator
from functools import partial

from PIL import Image

from vae_simpsons.data.toons.colours import INK, WHITE, edge_of, lit, mix, shaded
from vae_simpsons.data.toons.factors import BACKGROUNDS, CLOTHES, HAIR_COLOURS, IRISES, SKINS, Toon
from vae_simpsons.data.toons.hair import HAIR, draw_hair_shadow
from vae_simpsons.data.toons.pen import FACE, Pen, Point, curve, lowered, mirrored, on_face, ring, soft, toward

THROAT, TONGUE, BEARD_LIP = (104, 26, 48), (236, 110, 116), (240, 160, 150)
LIGHT: Point = (0.3, 0.35)  # where the face is brightest
EYES_Y, EARS_Y, NOSE_Y, CHEEKS_Y, MOUTH_Y = 0.52, 0.555, 0.635, 0.665, 0.735
EYE_HEIGHT = 1.12  # of an eye's width
MOUTH_X = 0.13  # half the mouth's width
CLOSED = 0.15  # mouth_open below which a mouth is drawn as a line
PANE = ((-1, -1), (0, -1), (1, -1), (1, 0), (0.9, 1), (0, 1), (-0.9, 1), (-1, 0))  # glasses, before they are softened


def draw_toon(toon: Toon, size: int) -> Image.Image:
    """Returns the portrait, RGB, size x size pixels, antialiased."""
    pen = Pen(size, toon.tilt, (toon.shift_x, toon.shift_y))
    hair = HAIR[toon.hair]
    draw_backdrop(pen, toon)
    if hair.back:
        hair.back(pen, toon)
    draw_body(pen, toon)
    if hair.ears:
        draw_ears(pen, toon)
    for draw in (draw_head, draw_hair_shadow, draw_beard, draw_nose, draw_mouth, draw_eyes, draw_glasses, hair.front):
        draw(pen, toon)
    draw_brows(pen, toon)
    return pen.finished()


def draw_backdrop(pen: Pen, toon: Toon) -> None:
    colour = BACKGROUNDS[toon.background]
    pen.shape([(0, 0), (1, 0), (1, 1), (0, 1)], colour, head=False)
    if toon.backdrop == "disc":
        pen.shape(ring((0.5, 0.52), 0.46, 0.46, points=90), mix(colour, WHITE, 0.42), head=False)
    elif toon.backdrop == "hill":
        pen.shape(ring((0.5, 1.1), 0.95, 0.5, points=90), mix(colour, INK, 0.16), head=False)


def draw_body(pen: Pen, toon: Toon) -> None:
    skin, cloth = SKINS[toon.skin].fill, CLOTHES[toon.clothes]
    draw, edge = partial(pen.shape, head=False), edge_of(cloth)
    draw(soft(mirrored([(0.42, 0.885), (0.34, 0.892), (0.14, 0.925), (0.08, 1.03), (0.08, 1.1)])), cloth, edge)
    draw(soft(mirrored([(0.415, 0.74), (0.41, 0.86), (0.4, 0.925), (0.46, 0.95)])), shaded(skin), edge_of(skin))  # neck
    if toon.collar == "crew":  # a round neckline with a rib
        rib = [*curve((0.375, 0.895), (0.625, 0.895), 0.075), *curve((0.655, 0.895), (0.345, 0.895), 0.115)]
        draw(rib, shaded(cloth), edge)
    elif toon.collar == "vee":
        draw([(0.39, 0.9), (0.61, 0.9), (0.5, 1.02)], shaded(skin))
        pen.line([(0.385, 0.895), (0.5, 1.02), (0.615, 0.895)], 0.026, shaded(cloth), head=False)
    elif toon.collar == "shirt":  # white, its points to the sides
        for side in (-1, 1):
            tip = [(0.5, 0.965), (0.5 + side * 0.105, 0.875), (0.5 + side * 0.165, 0.905), (0.5 + side * 0.1, 1.01)]
            draw(tip, WHITE, edge)
    elif toon.collar == "roll":  # up to the chin
        band = soft(mirrored([(0.46, 0.875), (0.39, 0.86), (0.365, 0.9), (0.375, 0.955), (0.45, 0.972)]))
        draw(band, mix(cloth, WHITE, 0.2), edge)
    elif toon.collar == "jacket":  # lapels over a white shirt
        draw([(0.4, 0.905), (0.6, 0.905), (0.52, 1.1), (0.48, 1.1)], WHITE)
        draw(soft([(0.4, 0.88), (0.6, 0.88), (0.56, 0.925), (0.5, 0.945), (0.44, 0.925)]), shaded(skin))
        for side in (-1, 1):
            half = ((0.1, 0.875), (0.19, 0.905), (0.21, 0.975), (0.15, 1.0), (0.04, 1.1))
            draw([(0.5 + side * x, y) for x, y in half], shaded(cloth), edge)


def draw_ears(pen: Pen, toon: Toon) -> None:
    skin = SKINS[toon.skin].fill
    for side in (-1, 1):
        x, y = FACE[0] + side * (toon.face_width + 0.012), EARS_Y
        pen.ellipse((x, y), toon.ear_size, toon.ear_size * 1.25, skin, edge_of(skin))
        pen.ellipse((x, y), toon.ear_size * 0.52, toon.ear_size * 0.75, shaded(skin))


def draw_head(pen: Pen, toon: Toon) -> None:
    """Darker along its lower right side, with a blush on the cheeks."""
    fill, blush, _ = SKINS[toon.skin]
    around = head_outline(toon)
    pen.shape(around, shaded(fill))
    pen.shape([toward(point, LIGHT, 0.045) for point in around], fill)
    pen.line([*around, around[0]], Pen.EDGE, edge_of(fill))
    for side in (-1, 1):
        pen.ellipse((FACE[0] + side * toon.face_width * 0.68, CHEEKS_Y), 0.052, 0.036, blush)


def head_outline(toon: Toon, grow: float = 0.0, start: float = 0, end: float = 360) -> list[Point]:
    """Points of the head's outline, `grow` outside of it: an ellipse, narrowed towards the chin by the jaw."""
    unit = ring((0, 0), 1, 1, start, end, 40)
    narrowed = ((x * (1 - toon.jaw * max(0.0, y) ** 2), y) for x, y in unit)
    return [(FACE[0] + x * (toon.face_width + grow), FACE[1] + y * (toon.face_height + grow)) for x, y in narrowed]


def draw_mouth(pen: Pen, toon: Toon) -> None:
    """A line that is bent, or an open mouth with its tongue, and with teeth or without."""
    is_open = toon.mouth_open >= CLOSED
    lift = 0.06 * toon.mouth_curve
    y = MOUTH_Y - lift / 2 - (0.02 if is_open else 0)
    upper = curve((FACE[0] - MOUTH_X, y), (FACE[0] + MOUTH_X, y), lift)  # the lip, from left to right
    lip = SKINS[toon.skin].lip
    if toon.beard == "full":
        pen.line(upper, 0.056, BEARD_LIP)
        lip = INK
    if not is_open:
        pen.line(upper, 0.03, lip)
        return
    gap = 0.055 + 0.055 * toon.mouth_open
    lower = lowered(upper, gap)
    pen.shape([*upper, *reversed(lower)], THROAT)
    pen.shape([*lowered(upper, gap * 0.72)[3:-3], *reversed(lower[3:-3])], TONGUE)
    if toon.teeth:
        pen.shape([*upper, *reversed(lowered(upper, gap * 0.42))], WHITE)
    pen.line([*upper, *reversed(lower), upper[0]], 0.016, lip)


def draw_nose(pen: Pen, toon: Toon) -> None:
    (fill, blush, _), (x, y) = SKINS[toon.skin], (FACE[0], NOSE_Y)
    if toon.nose == "button":
        pen.ellipse((x, y), 0.034, 0.027, mix(shaded(fill), INK, 0.22))
    elif toon.nose == "hook":
        bent = [(x - 0.005, y - 0.085), (x + 0.02, y - 0.03), (x + 0.055, y + 0.02), (x - 0.025, y + 0.025)]
        pen.line(soft(bent, closed=False), 0.019, edge_of(fill))
    elif toon.nose == "wide":
        pen.line(curve((x - 0.055, y - 0.008), (x + 0.055, y - 0.008), 0.036), 0.02, edge_of(fill))
    elif toon.nose == "ball":
        pen.ellipse((x, y - 0.005), 0.05, 0.043, blush, edge_of(fill))
        pen.ellipse((x - 0.014, y - 0.02), 0.014, 0.01, lit(blush))


def eye_centres(toon: Toon) -> Iterator[tuple[int, Point]]:
    """-1 with the centre of the left eye, 1 with that of the right."""
    for side in (-1, 1):
        yield side, (FACE[0] + side * (toon.eye_size + toon.eye_gap / 2), EYES_Y)


def draw_eyes(pen: Pen, toon: Toon) -> None:
    """White, iris, pupil and a glint, looking where the gaze goes, below a lid with its lashes."""
    r, skin, iris = toon.eye_size, SKINS[toon.skin].fill, IRISES[toon.iris]
    low = math.degrees(math.asin(1 - 2 * toon.lid))  # how far down the lid hangs
    for _, (x, y) in eye_centres(toon):
        pen.ellipse((x, y), r, r * EYE_HEIGHT, WHITE, edge_of(skin))
        look = (x + toon.gaze_x * r * 0.34, y + toon.gaze_y * r * 0.4 + toon.lid * r * 0.3)
        pen.ellipse(look, r * 0.6, r * 0.62, iris, mix(iris, INK, 0.5))
        pen.ellipse(look, r * 0.33, r * 0.35, INK)
        pen.ellipse((look[0] - r * 0.22, look[1] - r * 0.24), r * 0.17, r * 0.17, WHITE)
        if toon.lid > 0:
            arc = ring((x, y), r, r * EYE_HEIGHT, 180 + low, 360 - low)
            pen.shape(arc, shaded(skin))
            pen.line(arc, Pen.EDGE, edge_of(skin))
            pen.line([arc[0], arc[-1]], 0.02, INK)
        else:
            pen.line(ring((x, y), r, r * EYE_HEIGHT, 200, 340), 0.02, INK)


def draw_brows(pen: Pen, toon: Toon) -> None:
    """Of the hair's colour, darkened so that light hair shows on light skin."""
    y = EYES_Y - toon.eye_size * EYE_HEIGHT - 0.034
    for side, (x, _) in eye_centres(toon):
        inner, outer = (x - side * 0.06, y + 0.02 * toon.brow_tilt), (x + side * 0.07, y - 0.014 * toon.brow_tilt)
        pen.line(curve(inner, outer, -0.02), toon.brow_thickness, mix(HAIR_COLOURS[toon.hair_colour], INK, 0.45))


def draw_glasses(pen: Pen, toon: Toon) -> None:
    if toon.glasses == "none":
        return
    r = toon.eye_size + toon.eye_gap / 2 - 0.01
    for side, (x, y) in eye_centres(toon):
        pen.line([(x + side * r, y - 0.02), (FACE[0] + side * toon.face_width, y - 0.03)], 0.022, INK)
        if toon.glasses == "round":
            lens = ring((x, y), r, r * 1.02)
        else:
            lens = soft([(x + r * across, y + r * 0.96 * down) for across, down in PANE])
        if toon.glasses == "sun":
            pen.shape(lens, INK)
            pen.line([(x - 0.055, y + 0.02), (x - 0.005, y - 0.05)], 0.022, mix(INK, WHITE, 0.4))
        pen.line([*lens, lens[0]], 0.021, INK)
    pen.line(curve((FACE[0] - 0.014, EYES_Y - 0.02), (FACE[0] + 0.014, EYES_Y - 0.02), -0.008, 4), 0.021, INK)


def draw_beard(pen: Pen, toon: Toon) -> None:
    colour = mix(HAIR_COLOURS[toon.hair_colour], INK, 0.12)
    if toon.beard == "full":  # from ear to ear below the cheeks, and a little beyond the chin
        low = head_outline(toon, 0.015, 2, 178)
        cheeks = on_face(toon, (-0.88, 0.05), (-0.84, 0.36), (-0.5, 0.48), (0.5, 0.48), (0.84, 0.36), (0.88, 0.05))
        pen.shape([*low, *soft([low[-1], *cheeks, low[0]], closed=False)], colour, edge_of(colour))
    if toon.beard == "goatee":  # around the chin, below the mouth
        low = head_outline(toon, 0.03, 63, 117)
        pen.shape([*low, *curve(low[-1], low[0], -0.095)], colour, edge_of(colour))
    if toon.beard in ("full", "moustache"):
        half = [(0.49, 0.664), (0.43, 0.656), (0.335, 0.706), (0.45, 0.704)]
        pen.shape(soft(mirrored(half)), colour, edge_of(colour))
