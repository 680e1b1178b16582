"""`vae arithmetic`: adds what one set of pictures has and another has not."""

import math
from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_option
from vae_simpsons.cli.trained import add_model, load_model
from vae_simpsons.errors import UsageError, renamed, writing
from vae_simpsons.progress import progress_bar


def add_arithmetic_options(parser: Parser) -> None:
    has = "pictures that have something: folder, zip or tar"
    parser.add_argument("--plus", required=True, metavar="PATH", help=has)
    parser.add_argument("--minus", required=True, metavar="PATH", help="pictures that have not, otherwise alike")
    parser.add_argument("--image", required=True, nargs="+", metavar="PATH", help="images to add it to")
    meaning = "how much is added; several, as in --scale=-1,0.5,1, make a column each"
    add_option(parser, "--scale", "1", "TEXT", meaning)
    add_option(parser, "--out", "arithmetic.png", "PATH", "grid")
    add_model(parser)


def run_arithmetic(options: Namespace) -> None:
    """Writes a row for each image: itself, its reconstruction, and with the attribute added."""
    scales = read_scales(options.scale)
    import torch

    from vae_simpsons.files import check_target
    from vae_simpsons.images import denormalise, normalise, write_png
    from vae_simpsons.inference.grids import draw_grid
    from vae_simpsons.inference.latents import decode

    path = Path(options.out)
    check_target("--out", path, ".png")
    model = load_model(options)
    with renamed(plus="--plus", minus="--minus"):
        vector = model.attribute(options.plus, options.minus, options.cache_dir, progress_bar)
    pictures = model.open_pictures("--image", options.image, options.cache_dir, progress_bar)
    pixels = pictures.take(range(len(pictures)))
    mu, _ = model.encode(normalise(pixels))
    factors = torch.tensor([0.0, *scales]).view(1, -1, *[1] * vector.ndim)
    z = mu[:, None] + factors * vector  # (n, 1 + scales, *latent)
    changed = denormalise(decode(model.network, z.flatten(0, 1))).unflatten(0, z.shape[:2])
    cells = torch.cat([pixels[:, None], changed], dim=1)
    titles = ["image", "recon", *(f"{scale:+g}" for scale in scales)]
    with writing("--out", path):
        write_png(path, draw_grid(cells.flatten(0, 1), len(titles), [], titles))
    print("\n".join([*pictures.left_out, f"{len(pictures):,} images in {path}: {', '.join(titles)}"]))
    length, of_latents = float(vector.norm()), float(mu.flatten(1).norm(dim=1).mean())
    print(f"the vector's length is {length:.3g}, the latents' {of_latents:.3g}")


def read_scales(text: str) -> list[float]:
    """Returns the numbers in a list such as 0.5,1,2.

    Raises:
        UsageError: something else.
    """
    try:
        scales = [float(part) for part in text.split(",")]
    except ValueError:
        scales = [math.nan]
    if not all(map(math.isfinite, scales)):
        raise UsageError(f"--scale: {text!r:.80} is not accepted. Give numbers, as in --scale=0.5,1,2.")
    return scales


ARITHMETIC = Verb("add what one folder of pictures has and another has not", add_arithmetic_options, run_arithmetic)
