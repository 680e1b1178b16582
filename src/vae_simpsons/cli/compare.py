"""`vae compare`: puts runs beside each other on one page."""

from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb


def add_compare_options(parser: Parser) -> None:
    """Adds the options of `vae compare`."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of two to eight runs")
    parser.add_argument(
        "--out", default="compare.html", metavar="PATH", help="page, one file that opens offline (default compare.html)"
    )


def run_compare(options: Namespace) -> int:
    """Writes the page."""
    from vae_simpsons.evaluation.compare import compare_runs
    from vae_simpsons.progress import progress_bar

    print(compare_runs([Path(run) for run in options.runs], Path(options.out), progress_bar))
    return 0


COMPARE = Verb("put runs beside each other on one page", add_compare_options, run_compare)
