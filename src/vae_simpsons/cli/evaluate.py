"""`vae evaluate`: measures a trained model and says what the figures mean."""

from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_number, add_option
from vae_simpsons.cli.trained import add_cache_dir, add_checkpoint, add_device, load_model
from vae_simpsons.errors import renamed
from vae_simpsons.progress import format_duration, progress_bar
from vae_simpsons.shipped import MODELS, folder_of


def add_evaluate_options(parser: Parser) -> None:
    add_checkpoint(parser)
    pictures = "folder, zip or tar of images (default: the run's)"
    parser.add_argument("--data.path", dest="source", metavar="PATH", help=pictures)
    add_cache_dir(parser)
    add_option(parser, "--split", "val", "{val,train}", "the images measured", choices=("val", "train"))
    drawn = "images drawn, and the most on each side of a figure (default 5000, with --quick 500)"
    parser.add_argument("--samples", type=int, metavar="INT", help=drawn)
    add_number(parser, "--seed", 0, "the same seed gives the same figures", low=0)
    contents = "folder for evaluation.json and report.html (default: evaluation, beside the checkpoint)"
    parser.add_argument("--out", metavar="PATH", help=contents)
    parser.add_argument("--quick", action="store_true", help="fewer images for each figure: half a minute")
    add_device(parser)


def run_evaluate(options: Namespace) -> None:
    """Prints the table of figures and writes it, with the report."""
    from vae_simpsons.evaluation import output, table

    model = load_model(options)
    with renamed(path="--ckpt", out="--out", source="--data.path", samples="--samples"):
        beside = model.checkpoint.path.parent
        beside = Path() if beside.resolve().is_relative_to(folder_of(MODELS).resolve()) else beside
        folder = Path(options.out) if options.out else beside / output.FOLDER
        output.check_target(folder)
        found = model.evaluate(
            options.source,
            split=options.split,
            samples=options.samples,
            seed=options.seed,
            quick=options.quick,
            cache_dir=options.cache_dir,
            progress=progress_bar,
        )
        files = output.write_evaluation(found, folder)
    print(table.format_table(found))
    print(f"\nmeasured in {format_duration(found.run['seconds'])}: {', '.join(map(str, files))}")


EVALUATE = Verb("measure a trained model, with a report", add_evaluate_options, run_evaluate)
