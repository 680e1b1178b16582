"""What a setting takes: its type and range, what text and YAML stand for it, and how that is said in words."""

import re
from contextlib import suppress
from dataclasses import field
from functools import cache
from math import inf, isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from jsonargparse.typing import restricted_number_type, restricted_string_type

from vae_simpsons.errors import VAEError, shorten
from vae_simpsons.yamltext import YAML_ERRORS, is_decimal, load_yaml

MAX_VALUE = 100  # characters of text for a number, choice or list, which is read as YAML
NULLS = (None, "null", "Null", "NULL")  # as in YAML
# Types that stand for a type.
TAKES: dict[type, set[type]] = {bool: {bool}, int: {int, str}, float: {float, int, str}, str: {str}}


class Range(NamedTuple):
    """Limits of a number: low <= number <= high, number > above."""

    low: float = -inf
    high: float = inf
    above: float = -inf


@cache
def ranged(base: type, limits: Range) -> Any:
    """Returns jsonargparse's type of numbers within `limits`, named in words."""
    signs = [(sign, n) for sign, n in ((">", limits.above), (">=", limits.low), ("<=", limits.high)) if isfinite(n)]
    name = "a whole number " if base is int else "a number "
    name += " and ".join(f"{sign} {n}" for sign, n in signs)
    return restricted_number_type(name, base, signs + ([] if base is int else [("<", inf)]))


# What can name a file, in bytes too, which Python writes as the surrogates DC80 to DCFF.
FileName = restricted_string_type(
    "text, not empty (in quotes if it looks like a number)", r"(?s)(?=.*\S)[^\0\ud800-\udc7f\udd00-\udfff]*\Z"
)
NUMBER = r"-?\d+(\.\d+)?(e[-+]?\d+)?"
LEVELS = rf" *(u?int16|u?int32|float32) +{NUMBER} +{NUMBER} *"
LevelsText = restricted_string_type("levels, such as 'uint16 0 4095, float32 0 1'", rf"{LEVELS}(,{LEVELS})*\Z")
Text = Annotated[str, FileName]
Levels = Annotated[str, LevelsText]
Count = Annotated[int, Range(1, 1_000_000)]
Side = Annotated[int, Range(1, 4096)]
Machines = Annotated[int, Range(1, 1024)]
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(low=0)]
Share = Annotated[float, Range(low=0, high=1)]
Factor = Annotated[float, Range(above=0, high=1)]
Average = Annotated[float, Range(low=0, high=0.999999)]


def setting(default: Any, meaning: str) -> Any:
    """Declares a field of a section."""
    return field(default=default, metadata={"meaning": meaning})


class Setting(NamedTuple):
    """A setting as it is declared."""

    key: str  # its dotted name
    type: Any
    default: Any
    meaning: str

    @property
    def takes_path(self) -> bool:
        """Whether it is a path."""
        return FileName in _options(self.type)

    def convert(self, value: Any) -> Any:
        """Returns `value`, or what YAML makes of it if it is text, as the setting's type, or raises VAEError."""
        options = _options(self.type)
        if None in options and value in NULLS:
            return None
        if None in options and self.takes_path and str(value).lower() == "none":
            advice = f"Give null for none, or ./{value} for a folder of that name."
            raise VAEError(f"{self.key}: {value} is not accepted. {advice}")
        is_yaml = isinstance(value, str) and not self.takes_path and len(value) <= MAX_VALUE
        for option in options:
            with suppress(OverflowError, *YAML_ERRORS):
                return _convert_to(option, load_yaml(value) if is_yaml else value)
        raise self.refusal(value)

    def refusal(self, value: Any) -> VAEError:
        """Returns the error for a value that it does not accept."""
        shown = "null" if value is None else shorten(list(value) if isinstance(value, tuple) else value)
        if isinstance(value, str) and re.match(r"[-+]?\.?(\d|nan|inf)", value):  # a number, from a flag
            shown = shown[1:-1]
        return VAEError(f"{self.key}: {shown} is not accepted. Give {self.accepts()}.")

    def accepts(self) -> str:
        """Returns in words what it accepts: 'a whole number >= 1'."""
        *others, last = [_describe(option)[1] for option in _options(self.type)]
        return f"{', '.join(others)} or {last}" if others else last

    def metavar(self) -> str:
        """Returns what its flag takes, as help shows it: INT, PATH, {center,none}."""
        shown = [_describe(option)[0] for option in _options(self.type) if option is not None]
        return "|".join(shown) if any(map(str.isupper, shown)) else "{" + ",".join(shown) + "}"


def _convert_to(option: Any, value: Any) -> Any:
    """Returns `value` as what one of `_options` allows, or raises an error."""
    if get_origin(option) is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert_to(_options(get_args(option)[0])[0], part) for part in value)
    if isinstance(option, type):
        base = next(base for base in TAKES if issubclass(option, base))
        if type(value) in TAKES[base] and (base is str or is_decimal(str(value))):
            return base(option(value))
    elif type(value) is type(option) and value == option:
        return option
    raise ValueError


def _options(hint: Any) -> list[Any]:
    """Returns what a type allows: types, and the values of Literal and None."""
    if get_origin(hint) in (Union, UnionType, Literal):
        return [option for part in get_args(hint) for option in _options(part)]
    if get_origin(hint) is Annotated:
        base, limits = get_args(hint)
        return [ranged(base, limits) if isinstance(limits, Range) else limits]
    return [None if hint is NoneType else hint]


def _describe(option: Any) -> tuple[str, str]:
    """Returns one of `_options` as a metavar and in words."""
    if get_origin(option) is tuple:
        numbers = _options(get_args(option)[0])[0].__name__.removeprefix("a ").replace("number", "numbers")
        return "[INT,INT,...]", f"a list of {numbers}, written [32, 64]"
    if option is bool:
        return "BOOL", "true or false"
    if isinstance(option, type):
        shown = {int: "INT", float: "NUMBER", str: "PATH" if option is FileName else "TEXT"}
        return next(shown[base] for base in shown if issubclass(option, base)), option.__name__
    return str(option), "null" if option is None else str(option)
