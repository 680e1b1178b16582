"""A network and the images of its run -> an `Evaluation`: every figure, and what they mean."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vae_simpsons import __version__
from vae_simpsons.checkpoint import Checkpoint
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.split import MANIFEST
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.curves import read_curves
from vae_simpsons.evaluation.distances import FRECHET, KERNEL
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.groups import pictures
from vae_simpsons.evaluation.groups.factors import factors, read_factors
from vae_simpsons.evaluation.groups.labels import labels
from vae_simpsons.evaluation.groups.latents import kl_of_each_dimension, latents
from vae_simpsons.evaluation.groups.likelihood import likelihood
from vae_simpsons.evaluation.groups.memorisation import memorisation
from vae_simpsons.evaluation.groups.reconstruction import reconstruction
from vae_simpsons.evaluation.groups.samples import reconstruction_distances, samples
from vae_simpsons.evaluation.groups.subject import Asked, Subject
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.evaluation.runs import CURVES, ENVIRONMENT, read_json
from vae_simpsons.evaluation.sentences import sentences
from vae_simpsons.inference.blocks import device_of
from vae_simpsons.inference.rundata import images_of_run, moved_data
from vae_simpsons.models import Autoencoder
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Settings, to_flat

SHOWN_SAMPLES = 64


def evaluate(
    network: Autoencoder,
    settings: Settings,
    dataset: Dataset,
    progress: Progress,
    asked: Asked,
    about: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Returns every figure that the images allow; a seed decides them, whatever the batch.

    To the last digit on one CPU: with another number of threads sums are made in another order, which moves a figure by
    less than a millionth.

    Args:
        network: in eval mode.
        settings: of its run; `dataset` has their image size and channels.
        about: what else is to be said of the run.
    """
    started = time.monotonic()
    subject = Subject(network, settings, dataset, progress, asked)
    missing: list[str] = []
    groups, information = _groups(subject, missing)
    run = dict(about or {}) | {"settings": to_flat(settings), "split": asked.split, "seed": asked.seed}
    run |= {"quick": asked.quick, "images": len(subject.images), "samples": subject.plan.samples}
    found = Evaluation(
        run=run,
        groups={name: figures for name, figures in groups.items() if figures},
        missing=missing,
        reconstructions=pictures.reconstructions(subject),
        latent_map=pictures.latent_map(subject),
        kl_per_dimension=kl_of_each_dimension(subject),
        factors=information,
    )
    if network.variational:
        found = replace(found, samples=subject.samples[:SHOWN_SAMPLES], neighbours=pictures.neighbours(subject))
        found = replace(found, traversal=pictures.traversal(subject))
    subject.bar.finish()
    run["seconds"] = round(time.monotonic() - started, 1)
    return replace(found, sentences=sentences(found))


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    network: Autoencoder,
    source: str | Path | None,
    cache_dir: str | None,
    progress: Progress,
    asked: Asked,
) -> Evaluation:
    """Returns the evaluation of a checkpoint, whose `network` it is, on the images at `source` or on the run's.

    Raises:
        VAEError: no images there; an export, which does not say where its images are, without `source`.
    """
    if source is None and checkpoint.position is None:
        raise VAEError("source: an exported model does not name its images. Give the folder that they are in.")
    for name, number, low in (("samples", asked.most, 1), ("seed", asked.seed, 0)):
        if number is not None and number < low:
            raise VAEError(f"{name}: {number} is not accepted. Give a whole number >= {low}.")
    folder = checkpoint.path.parent
    settings = replace(checkpoint.settings, data=moved_data(checkpoint.settings, source, cache_dir))
    dataset, split_from = images_of_run(settings, folder / MANIFEST, progress)
    trained = read_json(folder / ENVIRONMENT)
    about = {
        "checkpoint": str(checkpoint.path),
        "name": checkpoint.path.absolute().parent.name,
        "epochs": checkpoint.epochs,
        "commit": trained.get("commit"),
        "versions": trained.get("versions", {}),
        "evaluated_with": {"vae-simpsons": __version__, "torch": torch.__version__},
        "device": str(device_of(network)),
        "data": str(dataset.source),
        "split_from": split_from,
    }
    found = evaluate(network, settings, dataset, progress, asked, about)
    return replace(found, curves=read_curves(folder / CURVES))


def _groups(subject: Subject, missing: list[str]) -> tuple[dict[str, list[Figure]], Any]:
    """Measures group by group, in the order of the table; names in `missing` what cannot be."""
    variational = subject.network.variational
    known = read_factors(subject.dataset.source, subject.dataset.pack.index)
    if subject.no_features:
        of_samples = f", {FRECHET}, density, coverage and memorisation in features" if variational else f", {FRECHET}"
        missing.append(f"{KERNEL}{of_samples}: {subject.no_features}")
    groups: dict[str, list[Figure]] = {"reconstruction": reconstruction(subject, missing)}
    if variational:
        groups["likelihood"] = likelihood(subject, missing)
    groups["latents"] = latents(subject, missing)
    if variational:
        groups["samples"] = samples(subject, missing)
    groups["reconstruction"] += reconstruction_distances(subject, missing)
    if variational:
        groups["memorisation"] = memorisation(subject, missing)
    groups["labels"] = labels(subject, missing)
    groups["factors"], information = factors(subject, known, missing) if known else ([], None)
    groups = {name: [f if f.split else replace(f, split=subject.split) for f in of] for name, of in groups.items()}
    return groups, information
