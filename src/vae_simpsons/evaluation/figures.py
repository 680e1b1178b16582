"""A figure: a number with what a reviewer asks of it, and the few sums that make one."""

import math
from dataclasses import dataclass

from torch import Tensor

from vae_simpsons.errors import VAEError

ROUNDING = 1e-9  # of a value: a smaller error is none, all images have the same value


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    error: float | None  # standard error; None where it is not known
    count: int  # N, how many images
    definition: str  # one line, with the unit
    reference: float | None = None  # the same figure of something that needs no model
    reference_is: str = ""  # what `reference` is of
    split: str = ""  # which images it is over: train, val, all, samples


def mean_figure(
    name: str, values: Tensor, definition: str, reference: float | None = None, reference_is: str = ""
) -> Figure:
    """The mean of one value an image, (N,), with its standard error; images that have none (NaN) are not counted."""
    values = values.double()
    values = values[~values.isnan()]
    return Figure(name, values.mean().item(), standard_error(values), len(values), definition, reference, reference_is)


def standard_error(values: Tensor) -> float | None:
    """Of the mean of independent values (N,): their standard deviation over sqrt(N); None below two."""
    if len(values) < 2:
        return None
    return values.double().std().item() / math.sqrt(len(values))


def jackknife_error(left_out: Tensor) -> float:
    """The standard error of an estimate from the estimates (G,) that each leave out one of G equal parts.

    Source: Efron & Stein, The Jackknife Estimate of Variance, 1981, Eq. 1.1.
    """
    parts = len(left_out)
    return math.sqrt((parts - 1) / parts * (left_out - left_out.mean()).square().sum().item())


def format_number(value: float, digits: int = 4) -> str:
    """Returns a number of `digits` significant digits, or all of a whole number."""
    if not math.isfinite(value):
        return "not a number"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}" if size < 1e7 else f"{value:.2e}"
    return f"{value:.{digits}g}" if size >= 1e-4 or not size else f"{value:.1e}"


def value_and_error(figure: Figure) -> str:
    """Returns a value to the last digit that its error leaves certain, with the error to two: 0.0554 ± 0.0012."""
    value, error = figure.value, figure.error
    if error is None or not math.isfinite(error) or not math.isfinite(value) or error <= ROUNDING * abs(value):
        return format_number(value)
    decimals = max(0, 1 - math.floor(math.log10(error)))
    if decimals > 6:
        return f"{format_number(value)} ± {format_number(error)}"
    return f"{value:,.{decimals}f} ± {error:,.{decimals}f}"


def require(name: str, count: int, needed: int, of: str = "images") -> None:
    """Refuse a figure that has too little to be made of.

    Raises:
        VAEError: fewer than `needed`.
    """
    if count < needed:
        raise VAEError(f"{name}: {count} {of} are too few; it needs {needed}. Give more {of}, or leave {name} out.")
