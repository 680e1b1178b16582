"""Which images train and which validate, and the manifest in the run folder that says so."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_simpsons.data.index import Index
from vae_simpsons.data.order import permutation
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import write_csv
from vae_simpsons.settings import Data

TRAIN, VAL, DUPLICATE = "train", "val", "duplicate"
COLUMNS = ("path", "class", "side")
MANIFEST = "split.csv"  # the name of a run's manifest, beside its checkpoints
SPLIT_STREAM = 0x5B117  # separates the split's draw from the others that a run's seed decides
ALL = None  # stands for all classes together among the classes of a count


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
        train = _draw_grouped(index, data.train_fraction, seed)
        val = np.setdiff1d(_first_copies(index), train)
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
    known = {p: i for i, p in enumerate(index.paths)}
    gone = [p for p, side in sides.items() if side != DUPLICATE and p not in known]
    if gone:
        raise VAEError(
            f"data.path: {len(gone)} of the {len(sides)} images of {manifest} are gone, the first {gone[0]!r}. "
            "Put them back, or point data.path at where they are."
        )
    train, val = ([known[p] for p, s in sides.items() if s == side] for side in (TRAIN, VAL))
    return Split(_ascending(train), _ascending(val))


def _first_copies(index: Index) -> np.ndarray:
    """Returns the images that are not byte for byte copies of an earlier one, ascending."""
    return _ascending([copies[0] for copies in index.copies()])


def _draw_grouped(index: Index, train_fraction: float, seed: int) -> np.ndarray:
    """Returns the images that train, ascending.

    Groups of near-duplicates, the largest first and otherwise in random order, go to the side where they leave the
    least chi-square: the sum of (count - quota)^2 / quota over the classes and over all classes together.
    """
    originals = set(_first_copies(index).tolist())
    groups = [[i for i in group if i in originals] for group in index.near_duplicates()]
    order = permutation(len(groups), SPLIT_STREAM, seed)
    groups = sorted((groups[i] for i in order), key=len, reverse=True)
    classes = index.classes
    sizes = Counter(classes[i] for group in groups for i in group)
    sizes[ALL] = sizes.total()
    shares = (train_fraction, 1 - train_fraction)
    counted: tuple[Counter, Counter] = (Counter(), Counter())  # images on each side so far, by class
    train: list[int] = []

    def growth(side: int, counts: Counter) -> float:
        """Returns by how much chi-square grows if `counts` images of each class are added to `side`."""
        quotas = {c: max(sizes[c] * shares[side], 1e-9) for c in counts}
        return sum((2 * (counted[side][c] - quotas[c]) + n) * n / quotas[c] for c, n in counts.items())

    for group in groups:
        counts = Counter(classes[i] for i in group)
        counts[ALL] = len(group)
        side = 0 if growth(0, counts) <= growth(1, counts) else 1
        counted[side].update(counts)
        if side == 0:
            train += group
    return _ascending(train)


def _ascending(indices: list[int]) -> np.ndarray:
    return np.sort(np.array(indices, dtype=np.int64))
