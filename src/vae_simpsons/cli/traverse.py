"""`vae traverse`: what each latent dimension does."""

import math
from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.looking import add_model, add_run_images
from vae_simpsons.cli.parsing import Parser, Verb, add_number
from vae_simpsons.cli.trained import load_model
from vae_simpsons.errors import cannot_write, renamed


def add_traverse_options(parser: Parser) -> None:
    """Adds the options of `vae traverse`."""
    parser.add_argument("--image", metavar="PATH", help="image to start from (default: the prior's mean)")
    parser.add_argument(
        "--dims",
        default="top8",
        metavar="TEXT",
        help="top8: the eight latent dimensions of the largest KL; or their numbers, as in 0,3,5 (default top8)",
    )
    parser.add_argument(
        "--range",
        type=float,
        default=3.0,
        metavar="NUMBER",
        help="each dimension goes from minus this to this, in standard deviations of the prior (default 3)",
    )
    add_number(parser, "--steps", 7, "images in a row", 2)
    parser.add_argument("--out", default="traversal.png", metavar="PATH", help="grid (default traversal.png)")
    add_run_images(parser, "images that the KL is measured on (default: the run's validation images)")
    add_model(parser)


def run_traverse(options: Namespace) -> int:
    """Writes a grid with a row for each latent dimension, labelled with its number and KL."""
    from vae_simpsons.images import check_png_target, write_png
    from vae_simpsons.inference.grids import Grid, from_pil
    from vae_simpsons.progress import progress_bar

    path = Path(options.out)
    check_png_target("--out", path)
    model = load_model(options)
    with renamed(x="--image", dims="--dims", reach="--range", path="--ckpt", measured_on="data.path"):
        grid = model.traverse(
            options.image, options.dims, options.range, options.steps, options.path, options.cache_dir, progress_bar
        )
    assert isinstance(grid, Grid), "a tensor only of a tensor"
    try:
        write_png(path, from_pil(grid.picture()))
    except OSError as e:
        raise cannot_write("--out", path, e, "path") from None
    total = math.prod(model.network.latent_shape)
    print(f"{len(grid.row_labels):,} of {total:,} latent dimensions in {path}")
    return 0


TRAVERSE = Verb("show what each latent dimension does, the most used first", add_traverse_options, run_traverse)
