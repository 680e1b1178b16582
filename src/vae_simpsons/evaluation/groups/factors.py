"""Known factors against latents, where a factors.csv lies beside the images, as it does with toons."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from vae_simpsons.data.index import Index
from vae_simpsons.evaluation import dci, disentanglement
from vae_simpsons.evaluation.disentanglement import Information
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.groups.subject import Subject, attempt, choose
from vae_simpsons.evaluation.likelihood import posteriors
from vae_simpsons.files import read_csv

FILE, KEY = "factors.csv", "file"


def read_factors(source: Path, index: Index) -> dict[str, np.ndarray]:
    """Returns the factors of every image by name, (N,) each; none where there is no table, or it is not of all images.

    A column of fractions is continuous, one of whole numbers or of words categorical.
    """
    try:
        rows = {row.pop(KEY): row for row in read_csv(source / FILE)}
        columns = {name: [rows[path][name] for path in index.paths] for name in next(iter(rows.values()))}
    except (OSError, KeyError, StopIteration, csv.Error):
        return {}
    return {name: _typed(texts) for name, texts in columns.items() if None not in texts}


def factors(
    subject: Subject, known: dict[str, np.ndarray], missing: list[str]
) -> tuple[list[Figure], Information | None]:
    """MIG and DCI over training and validation images, and the information of each factor with each dimension.

    Not of maps: each of their numbers stands for a place in the picture, and there are hundreds of them.
    """
    if len(subject.network.latent_shape) > 1:
        missing.append(
            f"{disentanglement.MIG}, DCI: they ask whether one number stands for one factor, and the latent is a map, "
            "whose numbers stand for places. Train with model.latent vector to measure them."
        )
        return [], None
    everything = np.sort(np.concatenate([subject.dataset.train, subject.dataset.val]))
    chosen = choose(everything, subject.plan.factors, subject.seed)
    pixels = subject.pixels(chosen)
    mu = posteriors(subject.encode, pixels, subject.bar.part("factors", len(chosen)))[0].flatten(1).numpy()
    some = {name: values[chosen] for name, values in known.items()}
    figures = attempt(missing, lambda: [disentanglement.mutual_information_gap(mu, some)])
    figures += attempt(missing, lambda: dci.dci(mu, some))
    matrix = disentanglement.information(mu, some) if figures else None
    return [replace(f, split="train and val") for f in figures], matrix


def _typed(texts: list[str]) -> np.ndarray:
    for kind in (np.int64, np.float64):
        try:
            return np.array(texts).astype(kind)
        except (ValueError, OverflowError):
            continue
    return np.array(texts)
