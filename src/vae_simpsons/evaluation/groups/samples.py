"""Samples against training images, in features and in sharpness, beside held-out images and reconstructions."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.evaluation import distances
from vae_simpsons.evaluation.features import FEATURES
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.groups.reconstruction import sharpness
from vae_simpsons.evaluation.groups.subject import SAMPLES, Subject, attempt, choose

HELD_OUT = "held-out images"
RECON, TRAINING = "reconstructions", "training images"
AGAINST_TRAIN = " vs train"


def samples(subject: Subject, missing: list[str]) -> list[Figure]:
    """Kernel and Frechet distance, density, coverage, sharpness of samples."""
    figures = []
    if not subject.no_features:
        figures += attempt(missing, lambda: _distance_figures(subject, SAMPLES, distances.kernel_distance))
        frechet = attempt(missing, lambda: _distance_figures(subject, SAMPLES, distances.frechet_distance))
        if frechet and frechet[0].reference is None:
            missing.append(
                f"{distances.FRECHET} of {HELD_OUT}, its floor: {len(subject.held_out):,} validation images are too "
                f"few; it needs {2 * FEATURES:,}. {distances.KERNEL} has one."
            )
        figures += frechet
        figures += attempt(missing, lambda: _density_and_coverage(subject))
    figures += attempt(missing, lambda: sharpness(subject.samples, subject.originals, "samples"))
    return [f if f.split else replace(f, split=SAMPLES) for f in figures]


def reconstruction_distances(subject: Subject, missing: list[str]) -> list[Figure]:
    """The kernel and Frechet distance of reconstructions, which bound what any samples of this decoder reach."""
    if subject.no_features:
        return []
    found = attempt(missing, lambda: _distance_figures(subject, RECON, distances.kernel_distance))
    if len(subject.images) >= 2 * FEATURES and len(subject.training) >= 2 * FEATURES:
        found += attempt(missing, lambda: _distance_figures(subject, RECON, distances.frechet_distance))
    return [replace(f, name=f"{f.name} of {RECON}", split=subject.split + AGAINST_TRAIN) for f in found]


def features_of(subject: Subject, name: str) -> Tensor:
    """Returns the features of the SAMPLES, the reconstructions, or the TRAINING or HELD_OUT images compared with."""
    pixels = {
        SAMPLES: lambda: subject.samples,
        RECON: lambda: subject.reconstructed.recon,
        TRAINING: lambda: subject.pixels(subject.training),
        HELD_OUT: lambda: subject.pixels(subject.held_out),
    }
    return subject.features(name, pixels[name])


def _distance_figures(subject: Subject, of: str, measure: Callable[[Tensor, Tensor], Figure]) -> list[Figure]:
    """A distance to the training images, beside that of held-out images where there are enough."""
    figure = measure(features_of(subject, of), features_of(subject, TRAINING))
    figure = replace(figure, split=SAMPLES + AGAINST_TRAIN)
    if measure is distances.frechet_distance and len(subject.held_out) < 2 * FEATURES:
        return [figure]
    floor = measure(features_of(subject, HELD_OUT), features_of(subject, TRAINING))
    return [replace(figure, reference=floor.value, reference_is=HELD_OUT)]


def _density_and_coverage(subject: Subject) -> list[Figure]:
    """As many samples as training images as held-out images: both figures depend on how many there are."""
    count = min(len(subject.samples), len(subject.training), len(subject.held_out))
    sets = [features_of(subject, name) for name in (SAMPLES, HELD_OUT, TRAINING)]
    drawn, held_out, training = (some_rows(features, count, subject.seed) for features in sets)
    found = distances.density_and_coverage(drawn, training)
    floors = distances.density_and_coverage(held_out, training)
    split = SAMPLES + AGAINST_TRAIN
    return [
        replace(f, reference=floor.value, reference_is=HELD_OUT, split=split)
        for f, floor in zip(found, floors, strict=True)
    ]


def some_rows(x: Tensor, count: int, seed: int) -> Tensor:
    """Returns `count` rows of x (n, ...), which `seed` decides."""
    return x[torch.from_numpy(choose(np.arange(len(x)), count, seed))]
