"""What becomes of a colour in the light, in the shade and along an edge."""

Colour = tuple[int, int, int]
WHITE, INK = (255, 255, 255), (46, 34, 60)


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
