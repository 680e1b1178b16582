"""The parser that every verb uses: errors in one line, and a short help beside the full one."""

import argparse
import re
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from vae_simpsons.configfile import nearest
from vae_simpsons.errors import UsageError, VAEError

MAX_WIDTH = 110  # columns of help
DEVICES = ("auto", "cpu", "cuda", "mps")


class Verb(NamedTuple):
    """A verb of the command line.

    Attributes:
        summary: shown in the list of verbs and at the top of its own help.
        add_options: adds its options to a parser.
        run: does the work with the parsed options and returns the exit status.
    """

    summary: str
    add_options: Callable[["Parser"], None]
    run: Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, in one line, where argparse would print and exit.

    Attributes:
        short_help: printed by -h; None: the same as --help.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog=prog, formatter_class=help_formatter, allow_abbrev=False, add_help=False, **options)
        self.short_help: str | None = None
        self.add_argument("-h", "--help", action=Help, nargs=0, default=argparse.SUPPRESS, help="show this page")

    def error(self, message: str) -> NoReturn:
        """Raises UsageError with `message`, and for an unknown flag with the nearest known one."""
        unknown = re.match(r"unrecognized arguments: (?:--?)?([^\s=]+)", message)
        if not unknown:
            raise UsageError(f"{self.prog}: {message}. See '{self.prog} --help'.")
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        near = nearest(f"--{unknown[1]}", known)
        hint = f"Did you mean {near}?" if near else f"'{self.prog} --help' lists every option."
        raise UsageError(f"{self.prog}: no such option: {unknown[1]}. {hint}")


class Help(argparse.Action):
    """Prints the short or the full help and exits."""

    def __call__(self, parser: Parser, namespace: object, values: object, flag: str | None = None) -> None:
        short = parser.short_help if flag == "-h" else None
        print(short or parser.format_help(), end="")
        parser.exit()


def help_width() -> int:
    """Returns the width of help in columns: the terminal's, up to what is easy to read."""
    return min(shutil.get_terminal_size().columns - 2, MAX_WIDTH)


def help_formatter(prog: str) -> argparse.HelpFormatter:
    """Returns a formatter that keeps the line breaks of descriptions."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=33, width=help_width())


def add_checkpoint(parser: Parser) -> None:
    """Adds --ckpt, which names the model of a verb."""
    parser.add_argument("--ckpt", required=True, metavar="PATH", help="last.ckpt or best.ckpt of a run, or an export")


def add_device(parser: Parser) -> None:
    """Adds --device."""
    choices = "{" + ",".join(DEVICES) + "}"
    parser.add_argument("--device", default="auto", choices=DEVICES, metavar=choices, help="(default auto)")


def check_at_least(flag: str, value: int, low: int) -> None:
    """Raises VAEError where a number is below its range, or too large for torch's seeds, which end at 2^63."""
    if not low <= value < 2**63:
        raise VAEError(f"{flag}: {value} is not accepted. Give a whole number >= {low}.")
