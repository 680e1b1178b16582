"""What the verbs share: parsers whose complaints are one line that says what to do."""

import argparse
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, NoReturn

from jsonargparse import ArgumentError, ArgumentParser

from vae_simpsons.configfile import add_flags
from vae_simpsons.errors import UsageError, VAEError, one_line
from vae_simpsons.settings import bad_value, keys


def parse_settings(
    arguments: list[str], command: str, description: str, options: Callable[[ArgumentParser], object]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of `command` that were given, and the settings that were, by dotted name.

    Args:
        options: adds the command's own options to the parser, which has a flag for each setting.

    Raises:
        UsageError: an unknown flag, or one without its value.
        VAEError: a value that a setting cannot take.
    """
    parser = ArgumentParser(prog=command, description=description, exit_on_error=False, allow_abbrev=False)
    options(parser)
    add_flags(parser)
    try:
        flat = parser.parse_args(arguments, defaults=False).as_flat()
    except ArgumentError as e:
        known = [option.lstrip("-") for option in parser._option_string_actions]
        raise explain(str(e), command, known) from None
    values = dict(vars(flat))
    given = {key: value for key, value in values.items() if key in keys()}
    return {key: value for key, value in values.items() if key not in given}, given


def explain(said: str, command: str, known: list[str]) -> VAEError:
    """The parser's complaint as one of ours: a bad value, or wrong usage with the nearest flag."""
    value = re.search(r'Parser key "([^"]+)":.*(?:Got|Given) value: (.*)', said, re.DOTALL)
    if value and value[1] in keys():
        return bad_value(value[1], value[2])
    unknown = re.match(r"unrecognized arguments: (?:--)?([^\s=]+)", said, re.IGNORECASE)
    if unknown:
        return unknown_flag(command, unknown[1], known)
    return UsageError(f"{command}: {one_line(said)}. '{command} --help' lists every setting.")


def unknown_flag(command: str, flag: str, known: list[str]) -> UsageError:
    """The error for a flag that does not exist, with the nearest that does."""
    near = get_close_matches(flag, known, n=1, cutoff=0.5)
    hint = f"Did you mean --{near[0]}?" if near else f"'{command} --help' lists what there is."
    return UsageError(f"{command}: no such option: {flag}. {hint}")


def require_at_least(setting: str, value: int, low: int) -> None:
    """Raise VAEError where a number is below its range; torch's generators take seeds below 2^63."""
    if not low <= value < 2**63:
        raise VAEError(f"{setting}: {value} is not accepted. Give a whole number >= {low}.")


class Parser(argparse.ArgumentParser):
    """argparse's parser whose complaints are one line of ours."""

    def __init__(self, prog: str, **settings: Any) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, formatter_class=form, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and leaving."""
        unknown = re.match(r"unrecognized arguments: (?:--?)?([^\s=]+)", message)
        if unknown:
            known = [option.lstrip("-") for option in self._option_string_actions]
            raise unknown_flag(self.prog, unknown[1], known)
        raise UsageError(f"{self.prog}: {message}. See '{self.prog} --help'.")
