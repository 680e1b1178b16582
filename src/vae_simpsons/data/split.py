"""Which images train and which validate, and the manifest in the run folder that says so."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_simpsons.data.index import Index
from vae_simpsons.data.order import permutation
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import read_csv, write_csv
from vae_simpsons.settings import Data

TRAIN, VAL, DUPLICATE = "train", "val", "duplicate"
COLUMNS = ("path", "class", "side")
MANIFEST = "split.csv"  # the name of a run's manifest, beside its checkpoints
SPLIT_STREAM = 0x5B117  # separates the split's draw from the others that a run's seed decides


@dataclass(frozen=True)
class Split:
    """Indices of images, ascending and disjoint. An image in neither is left out."""

    train: np.ndarray
    val: np.ndarray


def draw_split(index: Index, data: Data, seed: int) -> Split:
    """Returns the split that `data.split` selects.

    `sorted`: the first train_fraction by path train, as published. `shuffled`: a draw with `seed`. `grouped`: exact
    duplicates are left out, near-duplicates stay on one side, and each class has its share of both sides.

    Raises:
        VAEError: a side would be empty.
    """
    if data.split == "grouped":
        train, val = _draw_grouped(index, data.train_fraction, seed)
    else:
        count = len(index.paths)
        order = permutation(count, SPLIT_STREAM, seed) if data.split == "shuffled" else np.arange(count)
        cut = int(count * data.train_fraction)
        train, val = np.sort(order[:cut]), np.sort(order[cut:])
    if not len(train) or not len(val):
        raise _empty_side(index, data, "training" if not len(train) else "validation")
    return Split(train, val)


def _empty_side(index: Index, data: Data, side: str) -> VAEError:
    """Returns the error for a split that leaves a `side` without images."""
    count, originals = len(index.paths), len(index.copies())
    if data.split == "grouped" and originals == 1:
        found = "one image" if count == 1 else f"{count} images, all the same byte for byte"
        return VAEError(f"data.path: {found}, and one cannot both train and validate. Give more images.")
    if data.split == "grouped" and len(index.near_duplicates()) == 1:
        return VAEError(
            f"data.split: grouped keeps near-duplicates on one side, and all {originals} images are near-duplicates, "
            "as those of one camera that does not move. Split them anyway with --data.split shuffled, or give others."
        )
    return VAEError(
        f"data.train_fraction: {data.train_fraction:g} of {count} images (data.split {data.split}) "
        f"leaves none for {side}. Give more images, or a fraction such as 0.75."
    )


def check_count(split: Split, data: Data, processes: int) -> None:
    """Refuses too few images: each process needs a training batch and a validation image."""
    train, val = len(split.train), len(split.val)
    if train < data.batch_size * processes:
        fitting = train // processes
        each = f" in each of {processes} processes" if processes > 1 else ""
        raise VAEError(
            f"data.batch_size: {data.batch_size}{each} is more than the {train} training images "
            f"({train + val} found, train_fraction {data.train_fraction:g}). "
            f"Give more images{f' or --data.batch_size {fitting}' if fitting > 1 else ''}."
        )
    if val < processes:
        raise VAEError(
            f"trainer.devices: {processes} processes, but {val} images to validate. "
            "Give more images, a smaller data.train_fraction, or fewer devices."
        )


def write_manifest(path: Path, index: Index, split: Split) -> None:
    """Writes path, class and side of every image as CSV.

    Raises:
        OSError: it cannot be written.
    """
    sides = np.full(len(index.paths), DUPLICATE, dtype=object)
    sides[split.train], sides[split.val] = TRAIN, VAL
    write_csv(path, COLUMNS, zip(index.paths, index.classes, sides, strict=True))


def read_manifest(manifest: Path, index: Index) -> Split:
    """Returns the split in `manifest`, in the indices of `index`; images that it does not name are left out.

    Raises:
        VAEError: no such file, a damaged one, or one that names images that are gone.
    """
    try:
        with open(manifest, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.reader(file))
        sides = {row[0]: row[2] for row in rows[1:]}
    except (OSError, IndexError, csv.Error) as e:
        raise VAEError(f"manifest: cannot read the run's split, {manifest}: {one_line(e)}. Put it back.") from None
    if not rows or tuple(rows[0]) != COLUMNS:
        raise VAEError(f"manifest: {manifest} is no split: its first line is not {','.join(COLUMNS)}. Put it back.")
    known = set(index.paths)
    gone = [path for path, side in sides.items() if side != DUPLICATE and path not in known]
    if gone:
        raise VAEError(
            f"data.path: {len(gone)} of the {len(sides)} images of {manifest} are gone, the first {gone[0]!r}. "
            "Put them back, point data.path at where they are, or begin another run with --init."
        )
    side_of = np.array([sides.get(path) for path in index.paths], dtype=object)
    return Split(np.flatnonzero(side_of == TRAIN), np.flatnonzero(side_of == VAL))


def count_classes(manifest: Path, side: str) -> Counter[str]:
    """Returns how many images each class has on a side of the split in `manifest`; nothing if there is no such file."""
    try:
        return Counter(row["class"] for row in read_csv(manifest) if row["side"] == side)
    except (OSError, KeyError, csv.Error):
        return Counter()


def _draw_grouped(index: Index, train_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images that train and that validate, ascending.

    Groups of near-duplicates, the largest first and otherwise in random order, go to the side where they leave the
    least chi-square: the sum of (count - quota)^2 / quota over the classes and over all classes together.
    """
    labels, classes = index.labels, len(index.class_names)

    def count(images: list[int]) -> np.ndarray:
        """Returns how many `images` there are of each class, and of all together, (classes + 1,)."""
        return np.append(np.bincount(labels[images], minlength=classes), len(images))

    originals = {copies[0] for copies in index.copies()}  # no byte for byte copies of an earlier one
    groups = [[i for i in group if i in originals] for group in index.near_duplicates()]
    order = permutation(len(groups), SPLIT_STREAM, seed)
    groups = sorted((groups[i] for i in order), key=len, reverse=True)
    shares = np.array([[train_fraction], [1 - train_fraction]])
    quotas = np.maximum(count(list(originals)) * shares, 1e-9)  # (sides, classes + 1)
    counted = np.zeros_like(quotas)
    train: list[int] = []
    for group in groups:
        counts = count(group)
        growth = ((2 * (counted - quotas) + counts) * counts / quotas).sum(axis=1)  # of chi-square, on each side
        side = growth.argmin()
        counted[side] += counts
        if side == 0:
            train += group
    return np.sort(train), np.setdiff1d(list(originals), train)
