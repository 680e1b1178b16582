"""`vae data check`, `vae data import` and `vae data toons`."""

import json
from argparse import SUPPRESS, Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Group, Parser, Verb, add_number, add_settings, given_settings
from vae_simpsons.configfile import from_flat
from vae_simpsons.errors import VAEError, renamed
from vae_simpsons.paths import for_shell
from vae_simpsons.progress import progress_bar


def add_check_options(parser: Parser) -> None:
    meaning = "folder, zip or tar of images (default: data.path)"
    parser.add_argument("data.path", nargs="?", metavar="PATH", default=SUPPRESS, help=meaning)
    parser.add_argument("--json", action="store_true", help="print the full report as JSON")
    add_settings(parser)


def run_check(options: Namespace) -> int:
    """Prints what a folder contains and what would train; returns status 1 if no image is readable."""
    settings = from_flat(given_settings(options))
    from vae_simpsons.data import report
    from vae_simpsons.data.dataset import source_of
    from vae_simpsons.training.trial import measure_epoch

    result = report.make_report(source_of(settings.data, progress_bar), settings, progress_bar)
    if not options.json:
        print(report.format_report(result), flush=True)  # before a trial step, for which the memory may not suffice
    seconds, memory = (None, None) if result.problem else measure_epoch(settings, result.train, result.validate)
    if options.json:
        epoch = {"epoch_seconds": seconds, "epoch_bytes": memory}
        print(json.dumps(report.to_json(result) | epoch, indent=2))
    elif seconds and memory:
        print(report.format_epoch(seconds, memory))
    return 0 if result.readable else 1


def add_import_options(parser: Parser) -> None:
    parser.add_argument("archive", metavar="ARCHIVE", help="zip or tar, such as Kaggle's archive.zip")
    parser.add_argument("dest", metavar="DEST", help="new or empty folder")


def run_import(options: Namespace) -> None:
    """Unpacks the images of an archive into a folder."""
    from vae_simpsons.data.archive import unpack
    from vae_simpsons.data.index import check_readable, describe_others
    from vae_simpsons.data.members import is_archive
    from vae_simpsons.files import output_folder

    archive, folder = Path(options.archive), Path(options.dest)
    with renamed(**{"archive": "ARCHIVE", "data.path": "ARCHIVE"}):
        if not archive.exists():
            raise VAEError(f"archive: no such file: {archive}. Give a zip or tar of images.")
        if not is_archive(archive):
            raise VAEError(
                f"archive: {archive} is a folder. Give it to vae train as it is: --data.path {for_shell(archive)}."
            )
        with output_folder("DEST", folder) as temporary:
            unpacked = unpack(archive, temporary, progress_bar)
            index = unpacked.index(temporary)
            check_readable(index)
    images = folder / unpacked.images.relative_to(temporary)
    ignored = f"; left out: {describe_others(index.others)}" if index.others else ""
    print(f"{len(index.paths):,} images in {folder}{ignored}")
    if unreadable := index.left_out():
        print(unreadable)
    if unpacked.test:
        print(f"test images separately in {folder / unpacked.test.relative_to(temporary)}")
    path = for_shell(images)
    print(f"next: vae data check {path}, or vae train --config configs/simpsons.yaml --data.path {path}")


def add_toons_options(parser: Parser) -> None:
    parser.add_argument("dest", metavar="DEST", help="new or empty folder")
    add_number(parser, "-n", 4096, "number of faces", 1)
    add_number(parser, "--seed", 0, "the same seed gives the same faces", 0)
    add_number(parser, "--size", 64, "height and width in pixels", 8)


def run_toons(options: Namespace) -> None:
    """Draws cartoon faces into sub-folders by hairstyle, with a table of their factors."""
    from vae_simpsons.data.toons import write_toons
    from vae_simpsons.files import output_folder

    folder = Path(options.dest)
    with output_folder("DEST", folder) as temporary:
        write_toons(temporary, options.n, options.seed, options.size, progress_bar("drawing toons", options.n))
    print(f"{options.n:,} toons in {folder}, a sub-folder for each hairstyle; factors in {folder / 'factors.csv'}")


CHECK = Verb("read every image of a folder or archive and report what would train", add_check_options, run_check)
IMPORT = Verb("unpack the images of a zip or tar, and nothing else in it", add_import_options, run_import)
TOONS = Verb("draw cartoon faces as PNGs, with a table of their factors", add_toons_options, run_toons)
DATA = Group(
    "check a folder of images, unpack an archive, draw cartoon faces",
    {"check": CHECK, "import": IMPORT, "toons": TOONS},
)
