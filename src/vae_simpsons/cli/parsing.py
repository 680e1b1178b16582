"""The parser that every verb uses: errors in one line, the settings as flags, a short help beside the full one."""

import argparse
import re
import shutil
import textwrap
from argparse import SUPPRESS, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from vae_simpsons.configfile import convert_all, nearest, read_yaml
from vae_simpsons.errors import UsageError, VAEError, renamed
from vae_simpsons.settings import accepts, keys, metavar, sections


class Verb(NamedTuple):
    """A verb: its line in the list of verbs, what adds its options, and what runs it and returns the exit status."""

    summary: str
    add_options: Callable[["Parser"], None]
    run: Callable[[Namespace], int]


class Group(NamedTuple):
    """Verbs that share their first word."""

    summary: str
    verbs: Mapping[str, "Verb | Group"]


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, in one line, where argparse would print and exit."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=help_formatter, allow_abbrev=False, add_help=False, **options)
        self.short_help: str | None = None  # printed by -h; None: the same as --help
        self.add_argument("-h", "--help", action=Help, nargs=0, default=SUPPRESS, help="show this page")

    def parse_known_args(self, *arguments: Any) -> tuple[Namespace, list[str]]:
        """Refuses unknown flags, with the nearest known one, where argparse would leave them to the parser above."""
        options, unknown = super().parse_known_args(*arguments)
        if unknown:
            name = unknown[0].partition("=")[0].lstrip("-")
            near = nearest(f"--{name}", [flag for flag in self._option_string_actions if flag.startswith("--")])
            hint = f"Did you mean {near}?" if near else f"'{self.prog} --help' lists every option."
            raise UsageError(f"{self.prog}: no such option: {name}. {hint}")
        return options, []

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}. See '{self.prog} --help'.")


class Help(argparse.Action):
    """Prints the short or the full help and exits."""

    def __call__(self, parser: Parser, namespace: object, values: object, flag: str | None = None) -> None:
        short = parser.short_help if flag == "-h" else None
        print(short or parser.format_help(), end="")
        parser.exit()


def help_width() -> int:
    """Returns the width of help in columns: the terminal's, up to what is easy to read."""
    return min(shutil.get_terminal_size().columns - 2, 110)


def help_formatter(prog: str) -> argparse.HelpFormatter:
    """Returns a formatter that keeps the line breaks of descriptions."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=33, width=help_width())


def add_settings(parser: Parser) -> None:
    """Adds --config and a flag for each setting, after the verb's own options; -h only lists the settings."""
    parser.add_argument("--config", metavar="PATH", help="YAML file of settings; flags override it")
    own_options = parser.format_usage().removeprefix("usage: ").rstrip()
    parser.usage = f"{own_options}\n{' ' * len(f'usage: {parser.prog} ')}[--SETTING VALUE ...]"
    parser.epilog = f"settings, in the YAML file or as flags (--data.path my_pictures):\n{setting_names()}\n\n"
    parser.epilog += f"'{parser.prog} --help' explains each of them."
    parser.short_help = parser.format_help()
    parser.epilog = None
    groups = {name: parser.add_argument_group(name or "run", name and cls.__doc__) for name, cls in sections().items()}
    for key, setting in keys().items():
        default = yaml.safe_dump(setting.default, default_flow_style=True).split("\n")[0]
        details = [*re.findall(r"[<>].*?\d(?= or|, |$)", accepts(key)), f"default {default}"]
        explained = f"{setting.meaning} ({', '.join(details)})".replace("%", "%%")
        group = groups[key.rpartition(".")[0]]
        group.add_argument(f"--{key}", metavar=metavar(key), help=explained, default=SUPPRESS)


def setting_names() -> str:
    """Returns the names of all settings, a paragraph for each section."""
    indent = 2 + max(map(len, sections())) + 2
    paragraphs = []
    for section in sections():
        names = ", ".join(key.rpartition(".")[2] for key in keys() if key.rpartition(".")[0] == section)
        lines = textwrap.wrap(names, help_width() - indent)
        paragraphs.append(f"  {section}".ljust(indent) + f"\n{' ' * indent}".join(lines))
    return "\n".join(paragraphs)


def given_settings(options: Namespace) -> dict[str, Any]:
    """Returns the settings in the file named by --config and in flags, which override it, by dotted name.

    Raises:
        VAEError: the file cannot be read, or a value is not accepted.
    """
    flags = convert_all({key: value for key, value in vars(options).items() if key in keys()})
    with renamed(path="--config"):
        return (read_yaml(Path(options.config)) if options.config else {}) | flags


def add_number(parser: Parser, flag: str, default: int, meaning: str, low: int) -> None:
    """Adds a flag that takes a whole number from `low` to 2^63, where torch's seeds end."""

    def number(text: str) -> int:
        if not low <= int(text) < 2**63:
            raise VAEError(f"{flag}: {int(text)} is not accepted. Give a whole number >= {low}.")
        return int(text)

    parser.add_argument(flag, type=number, default=default, metavar="INT", help=f"{meaning} (default {default})")
