"""`vae data`: look at a folder of images, unpack an archive of them, draw toons."""

import argparse
import json
from pathlib import Path

from jsonargparse import ArgumentParser

from vae_simpsons.cli.folders import make_way
from vae_simpsons.cli.parsing import Parser, parse_settings, require_at_least
from vae_simpsons.configfile import from_flat, read_yaml
from vae_simpsons.errors import VAEError, cannot_write, renamed

DESCRIPTION = "Look at a folder of pictures, unpack an archive of them, or draw some."


def data(arguments: list[str]) -> int:
    """`vae data VERB`."""
    parser = Parser("vae data", description=DESCRIPTION)
    verbs = parser.add_subparsers(dest="verb", metavar=f"{{{','.join(VERBS)}}}", required=True)
    for verb, (_, said) in VERBS.items():
        verbs.add_parser(verb, help=said, add_help=False)
    verb = parser.parse_args(arguments[:1]).verb
    return VERBS[verb][0](arguments[1:])


def check(arguments: list[str]) -> int:
    """`vae data check`: what is in a folder, and what would train; status 1 when nothing would."""
    options, given = parse_check(arguments)
    if options.get("path"):
        given = {**given, "data.path": options["path"]}
    config = from_flat((read_yaml(Path(options["config"])) if options.get("config") else {}) | given)
    from vae_simpsons.data import report
    from vae_simpsons.data.dataset import source_of
    from vae_simpsons.progress import progress_bar

    found = report.make_report(source_of(config.data, progress_bar), config, progress_bar)
    print(json.dumps(report.to_json(found), indent=2) if options.get("json") else report.format_report(found))
    return 0 if found.readable else 1


def parse_check(arguments: list[str]):
    """The options of `vae data check` and the settings that were given."""

    def options(parser: ArgumentParser) -> None:
        parser.add_argument("path", nargs="?", metavar="PATH", help="folder, zip or tar; default: data.path")
        parser.add_argument("--config", metavar="FILE", help="YAML file of settings, as for vae train")
        parser.add_argument("--json", action="store_true", help="the whole report for a machine")

    return parse_settings(arguments, "vae data check", "Read every image and report; nothing is changed.", options)


def unpack(arguments: list[str]) -> int:
    """`vae data import`: an archive to a clean folder of images."""
    options = import_parser().parse_args(arguments)
    archive, folder = Path(options.archive), Path(options.dest)
    from vae_simpsons.data.archive import describe_skipped
    from vae_simpsons.data.archive import unpack as unpack_images
    from vae_simpsons.data.members import is_archive
    from vae_simpsons.files import publish_folder
    from vae_simpsons.progress import progress_bar

    if not archive.exists():
        raise VAEError(f"ARCHIVE: no such file: {archive}. Give a zip or tar of images.")
    with renamed(archive="ARCHIVE"):
        if not is_archive(archive):
            raise VAEError(f"archive: {archive} is a folder, which vae train --data.path takes as it is.")
    make_way("DEST", folder)
    try:
        with renamed(archive="ARCHIVE"), publish_folder(folder) as beside:
            found = unpack_images(archive, beside, progress_bar)
    except OSError as e:
        raise cannot_write("DEST", folder, e) from None
    images = folder / found.images.relative_to(beside)
    left_out = f"; left out: {describe_skipped(found.skipped)}" if found.skipped else ""
    print(f"{found.written:,} images in {folder}{left_out}")
    if found.test:
        print(f"test pictures apart, in {folder / found.test.relative_to(beside)}")
    print(f"next: vae data check {images}, or vae train --config configs/simpsons.yaml --data.path {images}")
    return 0


def import_parser() -> argparse.ArgumentParser:
    """The options of `vae data import`."""
    parser = Parser("vae data import", description="Unpack the images of a zip or tar, and nothing else of it.")
    parser.add_argument("archive", metavar="ARCHIVE", help="zip or tar, Kaggle's archive.zip among them")
    parser.add_argument("dest", metavar="DEST", help="a new folder, or an empty one")
    return parser


def toons(arguments: list[str]) -> int:
    """`vae data toons`: the drawn data set as files, with the factors of each."""
    options = toons_parser().parse_args(arguments)
    require_at_least("-n", options.n, 1)
    require_at_least("--seed", options.seed, 0)
    require_at_least("--size", options.size, 8)
    folder = Path(options.dest)
    from vae_simpsons.data.toons import write_toons
    from vae_simpsons.files import publish_folder
    from vae_simpsons.progress import progress_bar

    make_way("DEST", folder)
    try:
        with publish_folder(folder) as beside:
            write_toons(beside, options.n, options.seed, options.size, progress_bar("drawing toons", options.n))
    except OSError as e:
        raise cannot_write("DEST", folder, e) from None
    print(f"{options.n:,} toons in {folder}, their factors in {folder / 'factors.csv'}")
    return 0


def toons_parser() -> argparse.ArgumentParser:
    """The options of `vae data toons`."""
    parser = Parser("vae data toons", description="Draw cartoon portraits, with a table of the factors of each.")
    parser.add_argument("dest", metavar="DEST", help="a new folder, or an empty one")
    parser.add_argument("-n", type=int, default=4096, metavar="N", help="how many (default 4096)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same toons (default 0)")
    parser.add_argument("--size", type=int, default=64, metavar="PIXELS", help="height and width (default 64)")
    return parser


VERBS = {
    "check": (check, "read every image of a folder or archive and report"),
    "import": (unpack, "unpack an archive of images safely; Kaggle's comes out clean"),
    "toons": (toons, "draw cartoon portraits as files, with their factors"),
}
