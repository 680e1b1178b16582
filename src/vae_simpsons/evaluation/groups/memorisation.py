"""Whether samples are copies of training images: in pixels and in features, beside validation images."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.evaluation import memorisation as copies
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.groups.samples import AGAINST_TRAIN, HELD_OUT, TRAINING, features_of, some_rows
from vae_simpsons.evaluation.groups.subject import SAMPLES, Subject, attempt, choose


def memorisation(subject: Subject, missing: list[str]) -> list[Figure]:
    """The ratio of nearest to second nearest, and the share of close ones."""
    figures = attempt(missing, lambda: _in_pixels(subject))
    if not subject.no_features:
        figures += attempt(missing, lambda: _in_features(subject))
    return figures


def _in_pixels(subject: Subject) -> list[Figure]:
    searched = choose(subject.dataset.train, subject.plan.searched, subject.seed)
    training, groups = subject.pixels(searched).flatten(1), _groups(subject, searched)
    queries, validation = _queries(subject)
    show = subject.bar.part("search", len(queries) + len(validation))

    def ratios(images: Tensor, done: int) -> Tensor:
        mirrored = images.flip(-1).flatten(1)
        return copies.ratios(copies.nearest(images.flatten(1), mirrored, training, groups, lambda n: show(done + n)))

    return _figures(ratios(queries, 0), ratios(validation, len(queries)), "pixels", len(searched))


def _in_features(subject: Subject) -> list[Figure]:
    training, groups = features_of(subject, TRAINING), _groups(subject, subject.training)

    def ratios(name: str, images: Tensor) -> Tensor:
        mirrored, plain = subject.features(f"mirrored {name}", lambda: images.flip(-1)), features_of(subject, name)
        plain = plain[: len(images)] if name == SAMPLES else some_rows(plain, len(images), subject.seed)
        return copies.ratios(copies.nearest(plain, mirrored, training, groups))

    queries, validation = _queries(subject)
    return _figures(ratios(SAMPLES, queries), ratios(HELD_OUT, validation), "features", len(subject.training))


def _queries(subject: Subject) -> tuple[Tensor, Tensor]:
    """The samples and the validation images whose nearest training image is looked for, uint8."""
    count = subject.plan.queries
    return subject.samples[:count], subject.pixels(choose(subject.held_out, count, subject.seed))


def _groups(subject: Subject, indices: np.ndarray) -> Tensor:
    """The group of near-duplicates of each image at `indices`, (n,)."""
    return torch.from_numpy(np.asarray(subject.dataset.pack.index.groups)[indices])


def _figures(of_samples: Tensor, of_validation: Tensor, space: str, searched: int) -> list[Figure]:
    said = {
        copies.RATIO: f"nearest over second nearest of another scene among {searched:,} training images, in {space}",
        copies.SHARE: f"ratios below the lowest {copies.CLOSE:.0%} of validation's, among {searched:,} training images",
    }
    both = copies.memorisation(of_samples, of_validation)
    split = SAMPLES + AGAINST_TRAIN
    return [replace(f, name=f"{f.name}, {space}", definition=said[f.name], split=split) for f in both]
