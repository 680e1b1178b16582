"""Which images train and which validate; the manifest that says so for as long as the run folder lives."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_simpsons.data.index import Index
from vae_simpsons.data.order import permutation
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.settings import Data

TRAIN, VAL, DUPLICATE = "train", "val", "duplicate"
COLUMNS = ("path", "class", "side")
SPLIT_STREAM = 0x5B117  # keeps the split's draw apart from the others that a run's seed decides


@dataclass(frozen=True)
class Split:
    """Indices of images, ascending; disjoint. What is in neither is left out."""

    train: np.ndarray
    val: np.ndarray


def split(index: Index, data: Data, seed: int) -> Split:
    """The split that `data.split` selects.

    `sorted`: the first train_fraction by path train, as published. `shuffled`: a draw with `seed`. `grouped`: exact
    duplicates are left out, near-duplicates stay on one side, and each class has its share of both sides.

    Raises:
        VAEError: a side would be empty.
    """
    if data.split == "grouped":
        train = _grouped(index, data.train_fraction, seed)
        val = np.setdiff1d(first_copies(index), train)
    else:
        count = len(index.paths)
        order = permutation(count, SPLIT_STREAM, seed) if data.split == "shuffled" else np.arange(count)
        cut = int(count * data.train_fraction)
        train, val = np.sort(order[:cut]), np.sort(order[cut:])
    if not len(train) or not len(val):
        side = "training" if not len(train) else "validation"
        raise VAEError(
            f"data.train_fraction: {data.train_fraction:g} of {len(index.paths)} images (data.split {data.split}) "
            f"leaves none for {side}. Give more images, or a fraction such as 0.75."
        )
    return Split(train, val)


def first_copies(index: Index) -> np.ndarray:
    """The indices of the images that are not copies, byte for byte, of an earlier one, ascending."""
    return np.array([same[0] for same in index.copies()], dtype=np.int64)


def _grouped(index: Index, train_fraction: float, seed: int) -> np.ndarray:
    """The indices that train, ascending.

    Groups of near-duplicates, the largest first and else in random order, go to the side where they leave the least
    chi-square, sum of (count - quota)^2 / quota over the classes and over all classes together.
    """
    kept = set(first_copies(index).tolist())
    members = [[i for i in group if i in kept] for group in index.near_duplicates()]
    ranks = permutation(len(members), SPLIT_STREAM, seed)
    members = sorted((members[rank] for rank in ranks), key=len, reverse=True)
    classes = index.classes
    sizes = Counter(classes[i] for group in members for i in group)
    sizes[None] = sum(sizes.values())  # all classes together
    shares = (train_fraction, 1 - train_fraction)
    held: tuple[Counter, Counter] = (Counter(), Counter())
    train: list[int] = []

    def added(side: int, counts: Counter) -> float:
        """By how much chi-square grows when `counts` images of each class come to `side`."""
        quotas = {c: max(sizes[c] * shares[side], 1e-9) for c in counts}
        return sum((2 * (held[side][c] - quotas[c]) + n) * n / quotas[c] for c, n in counts.items())

    for group in members:
        counts = Counter(classes[i] for i in group)
        counts[None] = len(group)
        side = 0 if added(0, counts) <= added(1, counts) else 1
        held[side].update(counts)
        if side == 0:
            train += group
    return np.sort(np.array(train, dtype=np.int64))


def write_manifest(path: Path, index: Index, sides: Split) -> None:
    """Write path, class and side of every image as CSV.

    Raises:
        OSError: it cannot be written.
    """
    names = np.full(len(index.paths), DUPLICATE, dtype=object)
    names[sides.train], names[sides.val] = TRAIN, VAL
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(zip(index.paths, index.classes, names, strict=True))


def read_manifest(path: Path, index: Index) -> Split:
    """The split that `write_manifest` wrote, in the indices of `index`; images that it does not name are left out.

    Raises:
        VAEError: no such file, one that is damaged, or one that names images that are gone.
    """
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.reader(file))
        sides = {row[0]: row[2] for row in rows[1:]}
    except (OSError, IndexError, csv.Error) as e:
        raise VAEError(f"--resume: cannot read the run's split, {path}: {one_line(e)}. Put it back.") from None
    if not rows or tuple(rows[0]) != COLUMNS:
        raise VAEError(f"--resume: {path} is no split: its first line is not {','.join(COLUMNS)}. Put it back.")
    known = {p: i for i, p in enumerate(index.paths)}
    gone = [p for p, side in sides.items() if side != DUPLICATE and p not in known]
    if gone:
        raise VAEError(
            f"data.path: {len(gone)} of the {len(sides)} images of {path} are gone, the first {gone[0]!r}. "
            "Put them back, or point data.path at where they are."
        )
    return Split(_indices(sides, known, TRAIN), _indices(sides, known, VAL))


def _indices(sides: dict[str, str], known: dict[str, int], side: str) -> np.ndarray:
    return np.sort(np.array([known[p] for p, s in sides.items() if s == side], dtype=np.int64))
