"""`vae compare`: puts runs beside each other on one page."""

from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_option
from vae_simpsons.progress import progress_bar


def add_compare_options(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of two to eight runs")
    add_option(parser, "--out", "compare.html", "PATH", "page, one file that opens offline")


def run_compare(options: Namespace) -> None:
    """Writes the page."""
    from vae_simpsons.evaluation.compare import compare_runs

    print(compare_runs([Path(run) for run in options.runs], Path(options.out), progress_bar))


COMPARE = Verb("put runs beside each other on one page", add_compare_options, run_compare)
