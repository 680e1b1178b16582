"""`vae traverse`: what each latent dimension does."""

import math
from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_number, add_option
from vae_simpsons.cli.trained import add_model, load_model
from vae_simpsons.errors import renamed, writing
from vae_simpsons.progress import progress_bar


def add_traverse_options(parser: Parser) -> None:
    parser.add_argument("--image", metavar="PATH", help="image to start from (default: the prior's mean)")
    dims = "top8: the eight latent dimensions of the largest KL; or their numbers, as in 0,3,5"
    add_option(parser, "--dims", "top8", "TEXT", dims)
    reach = "each dimension goes from minus this to this, in standard deviations of the prior"
    add_option(parser, "--range", 3, "NUMBER", reach, type=float)
    add_number(parser, "--steps", 7, "images in a row", 2)
    add_option(parser, "--out", "traversal.png", "PATH", "grid")
    measured = "images that the KL is measured on (default: the run's validation images)"
    parser.add_argument("--data.path", dest="path", metavar="PATH", help=measured)
    add_model(parser)


def run_traverse(options: Namespace) -> None:
    """Writes a grid with a row for each latent dimension, labelled with its number and KL."""
    from vae_simpsons.files import check_target
    from vae_simpsons.images import write_png
    from vae_simpsons.inference.grids import Grid, from_pil

    path = Path(options.out)
    check_target("--out", path, ".png")
    model = load_model(options)
    with renamed(x="--image", dims="--dims", reach="--range", path="--ckpt", measured_on="data.path"):
        grid = model.traverse(
            options.image, options.dims, options.range, options.steps, options.path, options.cache_dir, progress_bar
        )
    assert isinstance(grid, Grid), "a tensor only of a tensor"
    with writing("--out", path):
        write_png(path, from_pil(grid.picture()))
    total = math.prod(model.network.latent_shape)
    print(f"{len(grid.row_labels):,} of {total:,} latent dimensions in {path}")


TRAVERSE = Verb("show what each latent dimension does, the most used first", add_traverse_options, run_traverse)
