"""`vae sample`: draws new images from a trained model."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_number, add_option
from vae_simpsons.cli.trained import add_checkpoint, add_device, load_model
from vae_simpsons.errors import VAEError, one_line, renamed
from vae_simpsons.progress import progress_bar

COUNT, COLUMNS = 64, 8  # where they are not given
FLAGS = {"path": "--ckpt", "n": "-n", "class_names": "--class"} | {
    name: f"--{name}" for name in ("guidance", "steps", "temperature")
}


def add_sample_options(parser: Parser) -> None:
    add_checkpoint(parser)
    add_number(parser, "-n", None, f"number of images (default {COUNT}; of several classes, --nrow of each)", 1)
    add_options_of_prior(parser)
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--out", default="samples.png", metavar="PATH", help="grid, as a PNG (default samples.png)")
    target.add_argument("--out-dir", metavar="PATH", help="folder for one PNG per image, instead of a grid")
    add_number(parser, "--seed", 0, "the same seed gives the same images", 0)
    columns = f"images in a row of the grid (default {COLUMNS}; of several classes, one class)"
    add_number(parser, "--nrow", None, columns, 1)
    add_device(parser)


def add_options_of_prior(parser: Parser) -> None:
    """Adds what a prior other than N(0, I) is told."""
    meaning = "draw these classes, as many of each, a row of the grid each"
    parser.add_argument("--class", dest="classes", metavar="NAME,...", help=meaning)
    parser.add_argument("--list-classes", action="store_true", help="print the classes of the model and exit")
    guidance = (
        "of a flow: 1: images as it learned them; more: sharper, more typical of their class and less varied "
        "(default: prior.guidance)"
    )
    parser.add_argument("--guidance", type=float, metavar="NUMBER", help=guidance)
    add_number(parser, "--steps", None, "of a flow: more take longer and follow it more exactly (default 20)", 1)
    ordinary = "of the noise: less than 1 gives more ordinary images"
    add_option(parser, "--temperature", 1, "NUMBER", ordinary, type=float)


def run_sample(options: Namespace) -> None:
    """Writes images decoded from latents that the prior draws."""
    from vae_simpsons import images

    model = load_model(options)
    if options.list_classes:
        return list_classes(model.class_names)
    names = split_names(options.classes, model.class_names)
    n, columns = grid_shape(options.n, options.nrow, len(names))
    with renamed(**FLAGS):
        drawn = model.sample_blocks(
            n, options.seed, names, options.guidance, options.steps, options.temperature, progress_bar
        )
    blocks = map(images.denormalise, drawn)
    if options.out_dir:
        images.write_each("--out-dir", Path(options.out_dir), blocks, file_names(names, n))
    else:
        images.write_grid("--out", Path(options.out), blocks, n, columns)
    shown = f" ({n // len(names):,} of each: {', '.join(map(one_line, names))})" if len(names) > 1 else ""
    print(f"{n:,} samples in {options.out_dir or options.out}{shown}")


def list_classes(names: Sequence[str]) -> None:
    """Prints one class a line.

    Raises:
        VAEError: there are none.
    """
    from vae_simpsons.inference.drawing import NO_CLASSES

    if not names:
        raise VAEError(f"--list-classes: {NO_CLASSES}")
    print("\n".join(map(one_line, names)))


def split_names(text: str | None, known: Sequence[str]) -> list[str]:
    """Returns the classes in `text`, divided by commas, unless all of it is one of those `known`."""
    if text is None:
        return []
    return [text] if text in known else [name.strip() for name in text.split(",")]


def grid_shape(n: int | None, nrow: int | None, classes: int) -> tuple[int, int]:
    """Returns how many images are drawn, and in rows of how many, for so many classes."""
    from vae_simpsons.inference.drawing import MAX_COLUMNS

    if classes < 2:
        return n or COUNT, nrow or COLUMNS
    if n is None:
        return (nrow or COLUMNS) * classes, nrow or COLUMNS
    each = max(1, n // classes)
    return n, nrow or (each if each <= MAX_COLUMNS else COLUMNS)


def file_names(names: Sequence[str], n: int) -> Iterator[str]:
    """Yields the names of the files of `n` images, class by class: sample_000000.png, or homer_simpson_000000.png."""
    if not names:
        yield from (f"sample_{i:06d}.png" for i in count())
    for name in names:
        safe = name.replace("%", "%25").replace("/", "%2F").replace("\\", "%5C")  # a sub-folder of a sub-folder
        yield from (f"{safe}_{i:06d}.png" for i in range(n // len(names)))


SAMPLE = Verb("draw new images from a trained model", add_sample_options, run_sample)
