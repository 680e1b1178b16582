"""What is asked to be drawn, checked: classes by name, guidance, steps and temperature."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vae_simpsons.configfile import nearest
from vae_simpsons.data.split import MANIFEST, TRAIN, count_classes
from vae_simpsons.errors import VAEError, one_line, shorten
from vae_simpsons.models import Prior
from vae_simpsons.models.priors import MIN_IMAGES, FlowPrior, GaussianPrior

STEPS = 20  # where they are not given
MAX_STEPS = 1000
MAX_COLUMNS = 16  # images of a class, up to which they are one row of a grid
LISTED = 30  # classes that an error lists
ClassNames = str | Sequence[str] | None
NO_CLASSES = (
    "the model was told no classes. Train with prior.labels true and prior.kind gaussian or flow, on sub-folders of "
    f"{MIN_IMAGES} images or more, or give it such a prior with vae fit-prior."
)


class Drawing(NamedTuple):
    """How images are drawn, as `sample` takes it."""

    classes: list[int]  # their numbers, each for as many images as the others; none: any class
    guidance: float
    steps: int
    temperature: float

    def labels(self, count: int) -> Tensor | None:
        """Returns the class of each of `count` images, int64 (count,), class by class; None: any."""
        return torch.tensor(self.classes).repeat_interleave(count // len(self.classes)) if self.classes else None


def check_drawing(
    prior: Prior,
    known: Sequence[str],
    run_folder: Path,
    n: int,
    class_names: ClassNames,
    guidance: float | None,
    steps: int | None,
    temperature: float,
) -> Drawing:
    """Returns how `n` images are drawn from `prior`, or refuses what cannot be.

    Args:
        known: the classes that the prior was told.
        run_folder: where the run's list of images may say why a class is not among them.

    Raises:
        VAEError: naming one of the last five arguments.
    """
    names = [class_names] if isinstance(class_names, str) else list(class_names or [])
    check_names(names, known, run_folder, n)
    for name, value in (("guidance", guidance), ("steps", steps)):
        if value is not None and not isinstance(prior, FlowPrior):
            raise VAEError(
                f"{name}: {value} is for a flow, and this model draws latents from {describe_prior(prior)}. "
                "Leave it out, or fit a flow with vae fit-prior."
            )
    if guidance is not None and not names and isinstance(prior, FlowPrior) and not prior.weak:
        raise VAEError(f"guidance: {guidance:g} without a class to guide to. Name a class, or leave it out.")
    guidance, steps = usual_guidance(prior) if guidance is None else guidance, STEPS if steps is None else steps
    if not 0 <= guidance < math.inf:
        raise VAEError(f"guidance: {guidance:g} is not accepted. Give a number >= 0.")
    if not 1 <= steps <= MAX_STEPS:
        raise VAEError(f"steps: {steps} is not accepted. Give a whole number from 1 to {MAX_STEPS}.")
    if not 0 < temperature < math.inf:
        raise VAEError(f"temperature: {temperature:g} is not accepted. Give a number > 0.")
    return Drawing([known.index(name) for name in names], guidance, steps, temperature)


def usual_guidance(prior: Prior) -> float:
    """Returns the guidance with which images are drawn where none is given: prior.guidance of a flow."""
    return prior.guidance if isinstance(prior, FlowPrior) else 1.0


def check_names(names: Sequence[str], known: Sequence[str], run_folder: Path, n: int) -> None:
    """Refuses classes that are not `known`, saying why if the list of images in the run's folder does, or given twice.

    Raises:
        VAEError: naming `class_names`, or `n` where as many images of each class are not `n`.
    """
    if names and not known:
        raise VAEError(f"class_names: {NO_CLASSES}")
    for name in names:
        if name not in known:
            raise VAEError(f"class_names: {unknown_class(name, known, run_folder)}")
        if names.count(name) > 1:
            raise VAEError(f"class_names: {shorten(name)} is given twice. Give each class once.")
    if n < 1:
        raise VAEError(f"n: {n} is not accepted. Give a whole number >= 1.")
    if names and n % len(names):
        more = (n // len(names) + 1) * len(names)
        raise VAEError(f"n: {n} is no multiple of the {len(names)} classes. Give {more}, {more // len(names)} of each.")


def unknown_class(name: str, known: Sequence[str], run_folder: Path) -> str:
    """Returns in words that there is no such class, why, and which there are."""
    counts = count_classes(run_folder / MANIFEST, TRAIN)
    listed = ", ".join(one_line(other) for other in known[:LISTED])
    listed += f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    if name in counts:
        few = f"{shorten(name)} has {counts[name]} training images, and a class is told from {MIN_IMAGES} on"
        return f"{few}. There are {listed}."
    if near := nearest(name, known):
        return f"{shorten(name)} is none of the {len(known)} classes. Did you mean {one_line(near)}?"
    return f"{shorten(name)} is none of the {len(known)} classes. There are {listed}."


def describe_prior(prior: Prior) -> str:
    """Returns what latents are drawn from, in words."""
    if isinstance(prior, FlowPrior):
        return f"a flow of {sum(p.numel() for p in prior.parameters()):,} parameters trained on the encoded images"
    if isinstance(prior, GaussianPrior):
        count = len(prior.weights)
        return f"{count} Gaussian{'s' if count > 1 else ''} fitted to the encoded images"
    return "N(0, I)"
