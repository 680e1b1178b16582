"""A toon: backdrop, body, face and hair, drawn from back to front."""

from PIL import Image

from vae_simpsons.data.toons import face
from vae_simpsons.data.toons.factors import BACKGROUNDS, CLOTHES, SKINS, Colour, Toon
from vae_simpsons.data.toons.hair import HAIR, draw_hair_shadow
from vae_simpsons.data.toons.pen import INK, WHITE, Pen, curve, edge_of, mirrored, mix, ring, shaded, soft


def draw_toon(toon: Toon, size: int) -> Image.Image:
    """Returns the portrait, RGB, size x size pixels, antialiased."""
    pen = Pen(size, toon.tilt, (toon.shift_x, toon.shift_y))
    hair = HAIR[toon.hair]
    draw_backdrop(pen, toon)
    if hair.back:
        hair.back(pen, toon)
    draw_body(pen, toon)
    if hair.ears:
        face.draw_ears(pen, toon)
    face.draw_face(pen, toon)
    draw_hair_shadow(pen, toon)
    face.draw_beard(pen, toon)
    face.NOSE_SHAPES[toon.nose](pen, toon)
    face.draw_mouth(pen, toon)
    face.draw_eyes(pen, toon)
    face.draw_glasses(pen, toon)
    hair.front(pen, toon)
    face.draw_brows(pen, toon)
    return pen.finished()


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


def draw_crew(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """A round neckline with a rib."""
    rib = [*curve((0.375, 0.895), (0.625, 0.895), 0.075), *curve((0.655, 0.895), (0.345, 0.895), 0.115)]
    pen.shape(rib, shaded(cloth), edge_of(cloth), head=False)


def draw_vee(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """A deep neckline."""
    pen.shape([(0.39, 0.9), (0.61, 0.9), (0.5, 1.02)], shaded(skin), head=False)
    pen.line([(0.385, 0.895), (0.5, 1.02), (0.615, 0.895)], 0.026, shaded(cloth), head=False)


def draw_shirt(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """A white collar, its points to the sides."""
    for side in (-1, 1):
        points = [(0.5, 0.965), (0.5 + side * 0.105, 0.875), (0.5 + side * 0.165, 0.905), (0.5 + side * 0.1, 1.01)]
        pen.shape(points, WHITE, edge_of(cloth), head=False)


def draw_roll(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """A collar up to the chin."""
    band = soft(mirrored([(0.46, 0.875), (0.39, 0.86), (0.365, 0.9), (0.375, 0.955), (0.45, 0.972)]))
    pen.shape(band, mix(cloth, WHITE, 0.2), edge_of(cloth), head=False)


def draw_jacket(pen: Pen, skin: Colour, cloth: Colour) -> None:
    """Lapels over a white shirt."""
    pen.shape([(0.4, 0.905), (0.6, 0.905), (0.52, 1.1), (0.48, 1.1)], WHITE, head=False)
    pen.shape(soft([(0.4, 0.88), (0.6, 0.88), (0.56, 0.925), (0.5, 0.945), (0.44, 0.925)]), shaded(skin), head=False)
    for side in (-1, 1):
        lapel = [(0.5 + side * x, y) for x, y in ((0.1, 0.875), (0.19, 0.905), (0.21, 0.975), (0.15, 1.0), (0.04, 1.1))]
        pen.shape(lapel, shaded(cloth), edge_of(cloth), head=False)


COLLAR_SHAPES = {"crew": draw_crew, "vee": draw_vee, "shirt": draw_shirt, "roll": draw_roll, "jacket": draw_jacket}
