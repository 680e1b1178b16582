"""`vae neighbors`: the nearest training images, and whether the model copies them."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from vae_simpsons.cli.parsing import Parser, Verb, add_number, add_option
from vae_simpsons.cli.trained import add_model, load_model
from vae_simpsons.errors import UsageError, renamed, writing
from vae_simpsons.progress import progress_bar

NAMED = 8  # images whose nearest training images are printed by name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vae_simpsons.inference.neighbors import Found


def add_neighbors_options(parser: Parser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="images, folders, or zips and tars of images")
    parser.add_argument("--samples", type=int, metavar="INT", help="this many samples of the model, instead of images")
    add_number(parser, "--seed", 0, "of the samples", 0)
    add_number(parser, "-k", 7, "neighbours of each", 1)
    add_option(parser, "--out", "neighbors.png", "PATH", "grid")
    pictures = "where the training images are now (default: where the run found them)"
    parser.add_argument("--data.path", dest="path", metavar="PATH", help=pictures)
    add_model(parser)


def run_neighbors(options: Namespace) -> None:
    """Writes a grid with the nearest training images in pixels and in features, and prints the memorisation figures."""
    if bool(options.images) == (options.samples is not None):
        raise UsageError("give images or --samples INT, one of them. See 'vae neighbors --help'.")
    from vae_simpsons.files import check_target
    from vae_simpsons.images import denormalise, write_png
    from vae_simpsons.inference import neighbors
    from vae_simpsons.inference.grids import draw_grid

    path = Path(options.out)
    check_target("--out", path, ".png")
    model = load_model(options)
    with renamed(path="--ckpt", n="--samples"):
        if options.images:
            pictures = model.open_pictures("IMAGE", options.images, options.cache_dir, progress_bar)
            queries, names, lines = pictures.take(range(len(pictures))), pictures.names, [*pictures.left_out]
        else:
            queries, names, lines = denormalise(model.sample(options.samples, options.seed)), [], []
    spaces, lacking = neighbors.feature_spaces(progress_bar)
    dataset = model.open_dataset(options.path, options.cache_dir, progress_bar)
    found = [neighbors.find_neighbors(queries, dataset, options.k, *each, progress_bar) for each in spaces.items()]
    pixels, labels = neighbors.neighbor_rows(queries, found)
    columns = len(pixels) // len(labels)
    titles = ["query", "nearest", *(str(i) for i in range(2, columns))]
    with writing("--out", path):
        write_png(path, draw_grid(pixels, columns, labels, titles))
    what = f"{len(queries):,} {'image' if options.images else 'sample'}{'' if len(queries) == 1 else 's'}"
    lines.append(f"{what}, each with its {columns - 1} nearest training images, in {path}")
    for name, *nearest in zip(names[:NAMED], *(result.paths for result in found), strict=False):
        lines.append(f"  {name}: " + ", ".join(f"in {f.space} {n[0]}" for f, n in zip(found, nearest, strict=True)))
    print("\n".join([*lines, *describe(found), *([lacking] if lacking else [])]))


def describe(found: "Sequence[Found]") -> list[str]:
    """Returns the memorisation figures of each space, a line each, and then what they are."""
    lines, definitions = [], {}
    for result in found:
        if result.lacking:
            lines.append(f"in {result.space}, {result.lacking}")
        for figure in result.figures:
            error = f" +- {figure.error:.2g}" if figure.error is not None else ""
            beside = f"{figure.reference_is} {figure.reference:.3f}"
            lines.append(f"{figure.name} in {result.space}: {figure.value:.3f}{error} (N {figure.count:,}), {beside}")
            definitions[figure.name] = figure.definition
    return lines + [f"  {name}: {definition}" for name, definition in definitions.items()]


NEIGHBORS = Verb("find the nearest training images of samples or of images", add_neighbors_options, run_neighbors)
