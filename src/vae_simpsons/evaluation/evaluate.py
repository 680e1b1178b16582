"""A network and the images of its run -> an `Evaluation`: every figure, and what they mean."""

import csv
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vae_simpsons import __version__
from vae_simpsons.data.dataset import Dataset, source_of
from vae_simpsons.data.pack import open_pack
from vae_simpsons.data.split import draw_split, read_manifest
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import features, plan
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
from vae_simpsons.evaluation.groups.subject import TRAIN, VAL, Subject
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.evaluation.runs import ENVIRONMENT, read_json
from vae_simpsons.evaluation.sentences import sentences
from vae_simpsons.models import Autoencoder
from vae_simpsons.models.priors import FlowPrior
from vae_simpsons.objective import Objective
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Settings, to_flat

SPLITS = (VAL, TRAIN)
SHOWN_SAMPLES = 64


def evaluate(
    network: Autoencoder,
    settings: Settings,
    dataset: Dataset,
    progress: Progress,
    *,
    split: str = VAL,
    most: int | None = None,
    seed: int = 0,
    quick: bool = False,
    about: dict[str, Any] | None = None,
    curves: list[dict[str, str]] | None = None,
    class_names: Sequence[str] = (),
) -> Evaluation:
    """Returns every figure that the images allow; a seed decides them, whatever the batch.

    To the last digit on one CPU: with another number of threads sums are made in another order, which moves a figure by
    less than a millionth.

    Args:
        network: in eval mode.
        settings: of its run; `dataset` has their image size and channels.
        split: val or train, the side whose reconstructions, likelihoods and latents are measured.
        most: images on each side of a figure, at most; None: 5,000, or 500 with `quick`.
        seed: decides samples, noise and which images are chosen.
        quick: fewer images for each figure, and nothing that takes long.
        about: what else is to be said of the run.
        curves: the rows of its metrics.csv.
        class_names: those that its prior is told: samples are drawn of the classes of random training images.
    """
    started = time.monotonic()
    subject = _subject(network, settings, dataset, progress, split, most, seed, quick, class_names)
    known = read_factors(dataset.source, dataset.pack.index)
    missing: list[str] = []
    groups, information = _groups(subject, known, missing)
    run = (about or {}) | {
        "settings": to_flat(settings),
        "split": split,
        "seed": seed,
        "quick": quick,
        "images": len(subject.images),
        "samples": subject.plan.samples,
    }
    found = Evaluation(
        run=run,
        groups={name: figures for name, figures in groups.items() if figures},
        missing=missing,
        curves=curves or [],
        reconstructions=pictures.reconstructions(subject),
        samples=subject.samples[:SHOWN_SAMPLES] if network.variational else None,
        neighbours=pictures.neighbours(subject) if network.variational else None,
        traversal=pictures.traversal(subject) if network.variational else None,
        latent_map=pictures.latent_map(subject),
        kl_per_dimension=kl_of_each_dimension(subject),
        factors=information,
    )
    subject.bar.finish()
    run["seconds"] = round(time.monotonic() - started, 1)
    return replace(found, sentences=sentences(found))


def images_of_run(settings: Settings, manifest: Path, progress: Progress) -> tuple[Dataset, str]:
    """Returns the images that `settings` select, as the run split them, and in words where the split is from.

    Args:
        manifest: where the run's split.csv is, if there is one.

    Raises:
        VAEError: no folder, no images, too many unreadable, none for one side; some of the run's are gone.
    """
    source = source_of(settings.data, progress)
    pack = open_pack(source, settings.data, progress)
    if manifest.is_file() and _names_most(manifest, pack.index.paths):
        return Dataset(source, pack, read_manifest(manifest, pack.index)), "the run's split.csv"
    drawn = f"drawn by data.split {settings.data.split} with seed {settings.seed}"
    why = "the run's split.csv is of other images" if manifest.is_file() else "no split.csv at the checkpoint"
    return Dataset(source, pack, draw_split(pack.index, settings.data, settings.seed)), f"{drawn}: {why}"


def describe_run(checkpoint: Path, epochs: int) -> dict[str, Any]:
    """Returns which checkpoint it is, and what the environment.json beside it says of how it was trained."""
    trained = read_json(checkpoint.parent / ENVIRONMENT)
    return {
        "checkpoint": str(checkpoint),
        "name": checkpoint.absolute().parent.name,
        "epochs": epochs,
        "commit": trained.get("commit"),
        "versions": trained.get("versions", {}),
        "evaluated_with": {"vae-simpsons": __version__, "torch": torch.__version__},
    }


def _names_most(manifest: Path, paths: list[str]) -> bool:
    """Whether half of the images that the split names are there: if so, they are the run's own."""
    with open(manifest, newline="", encoding="utf-8", errors="surrogateescape") as file:
        named = {row[0] for row in csv.reader(file) if row}
    return 2 * len(named.intersection(paths)) >= len(named)


def _subject(
    network: Autoencoder, settings: Settings, dataset: Dataset, progress: Progress,
    split: str, most: int | None, seed: int, quick: bool, class_names: Sequence[str],
) -> Subject:  # fmt: skip
    if split not in SPLITS:
        raise VAEError(f"split: {split!r} is not accepted. Give {' or '.join(SPLITS)}.")
    flow = isinstance(network.prior, FlowPrior)
    drawn = most or ((plan.QUICK_FLOW_SAMPLES if quick else plan.FLOW_SAMPLES) if flow else None)
    most = most or (plan.QUICK_SAMPLES if quick else plan.SAMPLES)
    side = dataset.train if split == TRAIN else dataset.val
    _, height, width = network.image_shape
    values = network.image_shape[0] * height * width
    sizes = (len(side), len(dataset.train), len(dataset.val))
    counts = plan.make_plan(*sizes, most, quick, values, network.variational, drawn)
    seconds = plan.expected_seconds(
        counts, values, network.variational, features=features.is_installed(),
        labels=len(dataset.class_names) > 1, flow=flow,
        factors=(dataset.source / "factors.csv").is_file() and len(network.latent_shape) == 1,
    )  # fmt: skip
    implied = network.learned_sigma or Objective(settings.objective, values).implied_sigma()
    told = dataset.numbered(class_names) if class_names else None
    return Subject(network, implied, dataset, split, seed, counts, plan.Bar(progress, seconds), told)


def _groups(subject: Subject, known: dict, missing: list[str]) -> tuple[dict[str, list[Figure]], Any]:
    """Measures group by group, in the order of the table; names in `missing` what cannot be."""
    variational = subject.network.variational
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
