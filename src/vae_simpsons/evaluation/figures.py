"""A figure: a number with what a reviewer asks of it, and the few sums that make one."""

import math
from dataclasses import dataclass

from torch import Tensor

from vae_simpsons.errors import VAEError


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


def require(name: str, count: int, needed: int, of: str = "images") -> None:
    """Refuse a figure that has too little to be made of.

    Raises:
        VAEError: fewer than `needed`.
    """
    if count < needed:
        raise VAEError(f"{name}: {count} {of} are too few; it needs {needed}. Give more {of}, or leave {name} out.")
