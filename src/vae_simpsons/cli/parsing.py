"""The parser that every verb uses: errors in one line, the settings as flags, a short help beside the full one."""

import argparse
import re
import shutil
import textwrap
from argparse import SUPPRESS, Namespace
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from vae_simpsons.configfile import convert_all, nearest, read_yaml
from vae_simpsons.errors import UsageError, VAEError, renamed, shorten
from vae_simpsons.paths import expand_home
from vae_simpsons.settings import keys, sections
from vae_simpsons.shipped import find_config
from vae_simpsons.yamltext import is_decimal

PATHS = {"PATH", "last|PATH", "ARCHIVE", "DEST", "IMAGE", "LATENTS", "RUN"}  # metavars of arguments that are paths


class Verb(NamedTuple):
    """A verb: its line in the list of verbs, what adds its options, and what runs it (and may return a status)."""

    summary: str
    add_options: Callable[["Parser"], None]
    run: Callable[[Namespace], int | None]


class Group(NamedTuple):
    """Verbs that share their first word."""

    summary: str
    verbs: Mapping[str, "Verb | Group"]


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, in one line, where argparse would print and exit."""

    def __init__(self, **options: Any) -> None:
        formatter = partial(argparse.RawDescriptionHelpFormatter, max_help_position=33, width=help_width())
        super().__init__(formatter_class=formatter, allow_abbrev=False, add_help=False, **options)
        self.short_help: str | None = None  # printed by -h; None: the same as --help
        self.add_argument("-h", "--help", action=Help, nargs=0, default=SUPPRESS, help="show this page")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuses unknown flags here, where argparse would leave them to the parser above."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            name = unknown[0].partition("=")[0].lstrip("-")
            near = nearest(f"--{name}", [flag for flag in self._option_string_actions if flag.startswith("--")])
            hint = f"Did you mean {near}?" if near else f"'{self.prog} --help' lists every option."
            raise UsageError(f"no such option: {name}. {hint}")
        self.expand_paths(options)
        return options, []

    def expand_paths(self, options: Namespace) -> None:
        """Replaces ~ in all paths."""
        for action in self._actions:
            given = getattr(options, action.dest, None) if action.metavar in PATHS else None
            name = str((*action.option_strings, action.metavar)[0])
            if isinstance(given, list):
                setattr(options, action.dest, [expand_home(name, path) for path in given])
            elif given is not None:
                setattr(options, action.dest, expand_home(name, given))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuses a verb, or a value of an option, that is none of its choices."""
        if action.choices is not None and value not in action.choices:
            near = nearest(str(value), list(action.choices))
            hint = f"Did you mean {near}?" if near else f"Give one of {', '.join(action.choices)}."
            raise UsageError(f"no such {'/'.join(action.option_strings) or 'verb'}: {shorten(value)[1:-1]}. {hint}")

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See '{self.prog} --help'.")


class Help(argparse.Action):
    """Prints the short or the full help and exits."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, flag: str | None = None
    ) -> None:
        short = parser.short_help if isinstance(parser, Parser) and flag == "-h" else None
        print(short or parser.format_help(), end="")
        parser.exit()


def help_width() -> int:
    """Returns the width of help in columns: the terminal's, up to what is easy to read."""
    return min(shutil.get_terminal_size().columns - 2, 110)


def add_settings(parser: Parser) -> None:
    """Adds --config and a flag for each setting, after the verb's own options; -h only lists the settings."""
    parser.add_argument("--config", metavar="PATH", help="YAML file, or the name of a shipped one, say toons")
    add_setting_flags(parser, keys(), "in the YAML file or as flags (--data.path my_pictures)")


def add_setting_flags(parser: Parser, chosen: Collection[str], how: str, default: str | None = None) -> None:
    """Adds a flag for each setting in `chosen`, after the verb's own options; -h only lists them, and says `how`.

    `default` is what help says of each one's default; None: what it is in a new run.
    """
    own_options = parser.format_usage().removeprefix("usage: ").rstrip()
    parser.usage = f"{own_options}\n{' ' * len(f'usage: {parser.prog} ')}[--SETTING VALUE ...]"
    parser.epilog = f"settings, {how}:\n{setting_names(chosen)}\n\n"
    parser.epilog += f"'{parser.prog} --help' explains each of them."
    parser.short_help = parser.format_help()
    parser.epilog = None
    shown = {name: cls for name, cls in sections().items() if any(section_of(key) == name for key in chosen)}
    groups = {name: parser.add_argument_group(name or "run", name and cls.__doc__) for name, cls in shown.items()}
    for key in chosen:
        setting = keys()[key]
        usual = "default " + yaml.safe_dump(setting.default, default_flow_style=True).split("\n")[0]
        details = [*re.findall(r"[<>].*?\d(?= or|, |$)", setting.accepts()), default or usual]
        explained = f"{setting.meaning} ({', '.join(details)})".replace("%", "%%")
        groups[section_of(key)].add_argument(f"--{key}", metavar=setting.metavar(), help=explained, default=SUPPRESS)


def section_of(key: str) -> str:
    """Returns the section of a setting; '' for one that is in none."""
    return key.rpartition(".")[0]


def setting_names(chosen: Collection[str]) -> str:
    """Returns the names of the settings in `chosen`, a paragraph for each section."""
    indent = " " * (4 + max(map(len, sections())))
    paragraphs = []
    for section in sections():
        names = ", ".join(key.rpartition(".")[2] for key in chosen if section_of(key) == section)
        label = f"  {section}".ljust(len(indent))
        paragraphs += [textwrap.fill(names, help_width(), initial_indent=label, subsequent_indent=indent)] * bool(names)
    return "\n".join(paragraphs)


def given_settings(options: Namespace) -> dict[str, Any]:
    """Returns the settings in the file named by --config and in flags, which override it, by dotted name."""
    with renamed(path="--config"):
        return (read_yaml(find_config(Path(options.config))) if options.config else {}) | given_flags(options)


def given_flags(options: Namespace) -> dict[str, Any]:
    """Returns the settings in flags, by dotted name."""
    return convert_all({key: value for key, value in vars(options).items() if key in keys()})


def add_number(parser: Parser, flag: str, default: int | None, meaning: str, low: int) -> None:
    """Adds a flag that takes a whole number from `low` to 2^63, where torch's seeds end.

    Where `default` is None, the verb finds one, and `meaning` says which.
    """

    def number(text: str) -> int:
        if not is_decimal(text) or not low <= int(text) < 2**63:
            raise VAEError(f"{flag}: {text} is not accepted. Give a whole number >= {low}.")
        return int(text)

    add_option(parser, flag, default, "INT", meaning, type=number)


def add_option(parser: Parser, flag: str, default: Any, metavar: str, meaning: str, **options: Any) -> None:
    """Adds a flag whose help says its default, unless that is None."""
    meaning = meaning if default is None else f"{meaning} (default {default})"
    parser.add_argument(flag, default=default, metavar=metavar, help=meaning, **options)
