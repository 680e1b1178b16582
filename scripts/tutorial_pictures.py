"""The pictures of docs/tutorial.md, put together from what its commands wrote."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vae_simpsons.images import PADDING

SIDE, SCALE = 32, 2  # pixels of an image, and how many times it is enlarged
CELL = SIDE + PADDING
LATENT = 128  # numbers of a latent, vector or map
GREY, BLUE = (190, 190, 190), (31, 86, 160)
UNSEEN = ("faces that were not trained on", "ae/unseen.png", 0)
ROWS = {  # of each picture: the caption, the grid or folder that `vae` wrote, and which row of it
    "autoencoder": [
        UNSEEN,
        ("reconstructions", "ae/unseen.png", 1),
        ("decoded from z ~ N(0, I)", "ae/random", 0),
    ],
    "noise": [
        UNSEEN,
        ("recipe, sigma 1.24: reconstructions, samples", "recipe/unseen.png", 1),
        ("", "recipe/samples.png", 0),
        ("lighter, sigma 0.62: reconstructions, samples", "lighter/unseen.png", 1),
        ("", "lighter/samples.png", 0),
        ("optimal, sigma^2 = mse: reconstructions, samples", "optimal/unseen.png", 1),
        ("", "optimal/samples.png", 0),
    ],
    "collapse": [
        UNSEEN,
        ("kld_weight 1: reconstructions, samples", "collapsed/unseen.png", 1),
        ("", "collapsed/samples.png", 0),
    ],
    "priors": [
        ("N(0, I)", "optimal/samples.png", 0),
        ("one Gaussian", "gaussian/samples.png", 0),
        ("a mixture of 8", "mixture/samples.png", 0),
        ("a Gaussian for each class: curls, beanie", "labels/samples.png", 0),
        ("", "labels/samples.png", 1),
        ("a flow", "flow/samples.png", 0),
    ],
    "map": [
        UNSEEN,
        ("reconstructions from a vector, from a map", "optimal/unseen.png", 1),
        ("", "map/unseen.png", 1),
        ("samples of the map: N(0, I)", "map/samples.png", 0),
        ("a Gaussian", "map-gaussian/samples.png", 0),
        ("a flow: curls, beanie, bald", "map-flow/samples.png", 0),
        ("", "map-flow/samples.png", 1),
        ("", "map-flow/samples.png", 2),
    ],
    "walk": [
        ("the autoencoder", "ae/walk.png", 0),
        ("the vector", "optimal/walk.png", 0),
        ("the map", "map/walk.png", 0),
    ],
}


def row(path: Path, number: int = 0) -> Image.Image:
    """Returns a row of a grid that `vae` wrote, or the pictures of a folder side by side."""
    if path.is_dir():
        images = [Image.open(file) for file in sorted(path.rglob("*.png"))]
        strip = Image.new("RGB", (CELL * len(images) + PADDING, CELL + PADDING), "white")
        for i, image in enumerate(images):
            strip.paste(image, (CELL * i + PADDING, PADDING))
        return strip
    grid = Image.open(path).convert("RGB")
    return grid.crop((0, CELL * number, grid.width, CELL * (number + 1) + PADDING))


def stack(rows: list[tuple[str, Image.Image]]) -> Image.Image:
    """Returns rows below each other, enlarged, each under its caption; one without goes close to the row above."""
    font, caption = ImageFont.load_default(size=15), 24
    width = max(strip.width for _, strip in rows) * SCALE
    picture = Image.new(
        "RGB", (width, sum(strip.height * SCALE + caption * bool(words) for words, strip in rows)), "white"
    )
    draw, top = ImageDraw.Draw(picture), 0
    for words, strip in rows:
        if words:
            draw.text((2 * PADDING, top + 4), words, fill="black", font=font)
            top += caption
        picture.paste(enlarge(strip), (0, top))
        top += strip.height * SCALE
    return picture


def enlarge(picture: Image.Image) -> Image.Image:
    """Returns a picture SCALE times as large, pixel by pixel."""
    return picture.resize((picture.width * SCALE, picture.height * SCALE), Image.Resampling.NEAREST)


def pictures(work: Path) -> dict[str, Image.Image]:
    """Returns the tutorial's pictures by the name of their file."""
    rows = {name: [(words, row(work / path, n)) for words, path, n in places] for name, places in ROWS.items()}
    rows["walk"].insert(0, ("a crossfade of the pixels", crossfade(row(work / "map" / "walk.png"))))
    return {name: stack(of) for name, of in rows.items()} | {
        "directions": directions(latents(work / "optimal" / "latents", sampled=True)),
        "dims": enlarge(Image.open(work / "recipe" / "dims.png").convert("RGB")),
    }


def latents(folder: Path, sampled: bool = False) -> np.ndarray:
    """Returns the mu of every image that `vae encode` wrote, (N, D), or one z of each, drawn from its posterior."""
    mu = np.load(folder / "mu.npy").reshape(-1, LATENT)
    if not sampled:
        return mu
    noise = np.random.default_rng(0).standard_normal(mu.shape)
    return mu + noise * np.exp(0.5 * np.load(folder / "log_var.npy").reshape(mu.shape))


def principal(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns z (N, D), centred and turned to its principal directions, and its standard deviation along each, (D,)."""
    centred = z - z.mean(0)
    variances, axes = np.linalg.eigh(np.cov(centred.T))  # the smallest first
    return centred @ axes[:, ::-1], np.sqrt(variances[::-1].clip(0))


def directions(z: np.ndarray) -> Image.Image:
    """Draws z (N, D) in the plane of its first two principal directions, over N(0, I), and the deviation along each."""
    side, unit = 300, 20  # pixels of a chart, and of a standard deviation
    turned, deviations = principal(z)
    picture = Image.new("RGB", (2 * side + 60, side + 24), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=15)
    draw.text((4, 4), "grey: N(0, I); blue: encoded faces", fill="black", font=font)
    draw.text((side + 44, 4), "standard deviation; line: 1", fill="black", font=font)
    noise = np.random.default_rng(0).standard_normal((len(turned), 2))
    for points, colour in ((turned[:, :2], BLUE), (noise, GREY)):
        for x, y in np.clip(points[:1500] * unit + side / 2, 1, side - 2):
            draw.ellipse((x - 1, y + 23, x + 1, y + 25), fill=colour)
    high = side / 1.05 / deviations.max()
    for i, deviation in enumerate(deviations):
        left = side + 44 + i * 2
        draw.rectangle((left, side + 24 - deviation * high, left + 1, side + 24), fill=BLUE)
    draw.line((side + 44, side + 24 - high, side + 44 + 2 * len(deviations), side + 24 - high), fill="black")
    return picture


def crossfade(strip: Image.Image) -> Image.Image:
    """Returns a row of the same length whose pictures are mixtures of the pixels of its first and last."""
    count = (strip.width - PADDING) // CELL
    first, last = (strip.crop((i * CELL, 0, (i + 1) * CELL, strip.height)) for i in (0, count - 1))
    mixed = strip.copy()
    for i in range(count):
        mixed.paste(Image.blend(first, last, i / (count - 1)), (i * CELL, 0))
    return mixed
