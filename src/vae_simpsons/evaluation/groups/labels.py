"""Do reconstructions still show what the label says? Asked of a classifier trained on real training images."""

from dataclasses import replace

import numpy as np
import torch

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import classifier
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.groups.subject import SAMPLES, VAL, Subject, attempt

MOST_TRAINING = 20_000  # images that the classifier is trained on
LEAST = 20  # training images of a class that counts
NAME = classifier.ACCURACY


def labels(subject: Subject, missing: list[str]) -> list[Figure]:
    """The accuracy on reconstructions, beside that on the real images, and that beside the commonest label."""
    if len(subject.dataset.class_names) < 2:
        return []
    if not subject.plan.classifier:
        missing.append(f"{NAME}: training the classifier takes longer than --quick allows. Leave --quick out.")
        return []
    return attempt(missing, lambda: _accuracies(subject))


def usable_classes(train_labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the labels with at least LEAST training images and one of `others`.

    Raises:
        VAEError: fewer than two.
    """
    counts = np.bincount(train_labels)
    enough = [c for c in np.flatnonzero(counts >= LEAST) if (others == c).any()]
    if len(enough) < 2:
        raise VAEError(
            f"{NAME}: {len(enough)} of {len(np.flatnonzero(counts))} classes have {LEAST} training images and one to "
            f"test on; it needs 2. Give more images of each class, or leave {NAME} out."
        )
    return np.array(enough)


def _accuracies(subject: Subject) -> list[Figure]:
    numbers = subject.dataset.labels.numpy()
    train = subject.dataset.train
    classes = usable_classes(numbers[train], numbers[subject.images])
    place = np.full(numbers.max() + 1, -1)
    place[classes] = np.arange(len(classes))
    chosen = train[place[numbers[train]] >= 0]
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(len(chosen), MOST_TRAINING)).astype(np.int64)]
    network = classifier.train_classifier(
        subject.pixels(chosen), torch.from_numpy(place[numbers[chosen]]), len(classes), subject.seed,
        subject.bar.part("labels", classifier.STEPS),
    )  # fmt: skip
    rows = np.flatnonzero(place[numbers[subject.images]] >= 0)
    wanted = torch.from_numpy(place[numbers[subject.images[rows]]])
    recon = classifier.accuracy(network, subject.reconstructed.recon[torch.from_numpy(rows)], wanted)
    real = classifier.accuracy(network, subject.originals[torch.from_numpy(rows)], wanted)
    side = "validation" if subject.split == VAL else "training"
    return [
        *_of_samples(subject, network, place, real.value),
        replace(recon, name=f"{NAME}, reconstructions", reference=real.value, reference_is=f"the real {side} images"),
        replace(
            real, name=f"{NAME}, real images", reference=classifier.majority_share(wanted),
            reference_is="always the commonest label",
        ),
    ]  # fmt: skip


def _of_samples(subject: Subject, network: classifier.Classifier, place: np.ndarray, real: float) -> list[Figure]:
    """The accuracy on samples that a prior has drawn by class; none where it is told no classes."""
    if subject.told is None:
        return []
    wanted = place[subject.dataset.labels[subject.drawn_like].numpy()]
    rows = torch.from_numpy(np.flatnonzero((wanted >= 0) & (subject.told[subject.drawn_like].numpy() >= 0)))
    found = classifier.accuracy(network, subject.samples[rows], torch.from_numpy(wanted)[rows])
    name = f"{NAME}, samples"
    return [replace(found, name=name, reference=real, reference_is="the real images", split=SAMPLES)]
