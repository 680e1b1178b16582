"""`vae interpolate`: the way from one picture to another, as a strip or an animation."""

from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_number, add_option
from vae_simpsons.cli.trained import add_model, load_model
from vae_simpsons.errors import renamed
from vae_simpsons.progress import progress_bar


def add_interpolate_options(parser: Parser) -> None:
    meaning = "two or more, in order; a folder stands for all in it"
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=meaning)
    kinds = "a .png has a row from each image to the next, a .gif or .webp moves"
    add_option(parser, "--out", "interpolation.png", "PATH", kinds)
    add_number(parser, "--steps", 10, "images from one to the next, both included", 2)
    parser.add_argument("--spherical", action="store_true", help="along arcs around the prior's mean, not lines")
    parser.add_argument("--loop", action="store_true", help="and back from the last image to the first")
    add_model(parser)


def run_interpolate(options: Namespace) -> None:
    """Writes the images decoded on the way from each picture to the next."""
    from vae_simpsons.files import check_target
    from vae_simpsons.images import denormalise, normalise, write_grid
    from vae_simpsons.inference.grids import FORMATS, pictures_in, write_animation
    from vae_simpsons.inference.walk import frames

    path = Path(options.out)
    check_target("--out", path, ".png", *FORMATS)
    model = load_model(options)
    pictures = model.open_pictures("IMAGE", options.images, options.cache_dir, progress_bar)
    with renamed(x="IMAGE"):
        x = normalise(pictures.take(range(len(pictures))))
        parts = model.walk(x, options.steps, options.spherical, options.loop)
    if path.suffix.lower() in FORMATS:
        way = frames(parts, options.loop)
        write_animation("--out", path, pictures_in(way))
        made = f"{len(way):,} frames"
    else:
        images = denormalise(parts.flatten(0, 1))
        write_grid("--out", path, [images], len(images), options.steps)
        made = f"{len(parts):,} {'row' if len(parts) == 1 else 'rows'} of {options.steps:,} images"
    print("\n".join([*pictures.left_out, f"{made} in {path}"]))


INTERPOLATE = Verb("draw the way from one picture to another", add_interpolate_options, run_interpolate)
