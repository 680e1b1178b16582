"""The settings as command-line flags: --data.path, --optimizer.lr ..."""

import textwrap
from argparse import SUPPRESS, Namespace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml

from vae_simpsons.cli.parsing import Parser, help_width
from vae_simpsons.configfile import convert_all, read_yaml
from vae_simpsons.errors import renamed
from vae_simpsons.settings import keys, range_in_words, sections


def add_settings(parser: Parser) -> None:
    """Adds --config and a flag for each setting, after the verb's own options.

    -h then only lists the settings; --help explains them.
    """
    parser.add_argument("--config", metavar="PATH", help="YAML file of settings; flags override it")
    own_options = parser.format_usage().removeprefix("usage: ").rstrip()
    parser.usage = f"{own_options}\n{' ' * len(f'usage: {parser.prog} ')}[--SETTING VALUE ...]"
    parser.epilog = f"settings, in the YAML file or as flags (--data.path my_pictures):\n{setting_names()}\n\n"
    parser.epilog += f"'{parser.prog} --help' explains each of them."
    parser.short_help = parser.format_help()
    parser.epilog = None
    groups = {"": parser.add_argument_group("run")}
    groups |= {name: parser.add_argument_group(name, cls.__doc__) for name, cls in sections().items()}
    for key in keys():
        group = groups[key.rpartition(".")[0]]
        group.add_argument(f"--{key}", metavar=_metavar(key), help=_help(key), default=SUPPRESS)


def setting_names() -> str:
    """Returns the names of all settings, a paragraph for each section."""
    indent = 2 + max(len(section) for section in sections()) + 2
    paragraphs = []
    for section in ["", *sections()]:
        names = [name for owner, _, name in (key.rpartition(".") for key in keys()) if owner == section]
        start = f"  {section}".ljust(indent)
        wrapped = textwrap.fill(", ".join(names), help_width(), initial_indent=start, subsequent_indent=" " * indent)
        paragraphs.append(wrapped)
    return "\n".join(paragraphs)


def given_settings(options: Namespace) -> dict[str, Any]:
    """Returns the settings in the file named by --config and in flags, which override it, by dotted name.

    Raises:
        VAEError: the file cannot be read, or a value is not accepted.
    """
    flags = {key: value for key, value in vars(options).items() if key in keys()}
    for key, text in flags.items():
        if text == "null" and NoneType in get_args(keys()[key].type):
            flags[key] = None
    flags = convert_all(flags)
    with renamed(path="--config"):
        return (read_yaml(Path(options.config)) if options.config else {}) | flags


def _metavar(key: str) -> str:
    hint = keys()[key].type
    if get_origin(hint) is Literal:
        return "{" + ",".join(map(str, get_args(hint))) + "}"
    if get_origin(hint) is tuple:
        return "[INT,INT,...]"
    names = {int: "INT", float: "NUMBER", bool: "BOOL", str: "PATH"}
    options = [option for option in get_args(hint) or [hint] if option is not NoneType]
    return "|".join(names.get(option) or "|".join(get_args(option)) for option in options)


def _help(key: str) -> str:
    """Returns the meaning of a setting with its range and default."""
    default = yaml.safe_dump(keys()[key].default, default_flow_style=True).split("\n")[0]
    details = ", ".join(filter(None, [range_in_words(key), f"default {default}"]))
    return f"{keys()[key].metadata['meaning']} ({details})".replace("%", "%%")
