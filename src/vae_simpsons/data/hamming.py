"""Which of many 64-bit hashes are close to each other, without comparing every pair.

Two hashes that differ in at most 14 bits differ, in one of four parts of 16 bits, in at most 3, 3, 3 or 2: with 4, 4, 4
and 3 it would be 15. So only those are compared, part by part, whose parts differ that little: 3 % of all pairs, where
the hashes are random.

Source: Norouzi, Punjani, Fleet, Fast Search in Hamming Space with Multi-Index Hashing, 2012; unequal radii as in Qin et
al., GPH, 2018.
"""

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

MAX_BITS = 14  # that close hashes differ in
Wanted = Callable[[np.ndarray, np.ndarray], np.ndarray]
PARTS = ((0, 16, 3), (16, 16, 3), (32, 16, 3), (48, 16, 2))  # first bit, bits, and how many of these may differ
WHOLE = ((0, 0, 0),)  # one part of no bits, which all share: every pair is compared
FEW = 4096  # hashes, of which comparing every pair is as fast
WIDE = 8  # neighbours that a hash is compared with at once: a line of the processor's cache
ROWS = 2**14  # hashes that are, at a time
BLOCK = 2**18  # pairs to a block


Pairs = Iterator[tuple[np.ndarray, np.ndarray]]


def close_pairs(bits: np.ndarray, wanted: Wanted, show: Callable[[float], object]) -> Iterator[np.ndarray]:
    """Yields the pairs of distinct hashes, uint64 (N,), that differ in at most MAX_BITS, once each, as indices (2, n).

    Args:
        wanted: says of pairs which are still of interest; the others may be left out.
        show: called with the share that is done.
    """
    parts = WHOLE if len(bits) <= FEW else PARTS
    total = sum(len(differences(width, radius)) for _, width, radius in parts)
    done, found, waiting = 0, [], 0
    for number, (first, width, radius) in enumerate(parts):
        order = np.argsort(part_of(bits, first, width), kind="stable")
        part = SortedPart(bits[order], first, width)
        for difference in differences(width, radius):
            for a, b in part.pairs(difference):
                pairs = np.stack([order[a], order[b]])
                pairs = pairs[:, wanted(*pairs)]
                for earlier, its_width, its_radius in parts[:number]:  # which have found these
                    differing = part_of(bits[pairs[0]] ^ bits[pairs[1]], earlier, its_width)
                    pairs = pairs[:, np.bitwise_count(differing) > its_radius]
                found.append(pairs)
                waiting += pairs.shape[1]
                if waiting >= BLOCK:
                    yield np.concatenate(found, axis=1)
                    found, waiting = [], 0
            done += 1
            show(done / total)
    if found:
        yield np.concatenate(found, axis=1)


class SortedPart:
    """Hashes sorted by one part of their bits, so that those with the same part stand together, in a bucket."""

    def __init__(self, bits: np.ndarray, first: int, width: int) -> None:
        self.count, self.keys = len(bits), part_of(bits, first, width)
        self.bits = np.append(bits, np.zeros(WIDE, np.uint64))
        self.windows = sliding_window_view(self.bits, WIDE)
        self.sizes = np.bincount(self.keys, minlength=2**width).astype(np.int32)  # of each bucket
        self.starts = (np.cumsum(self.sizes) - self.sizes).astype(np.int32)

    def pairs(self, difference: int) -> Pairs:
        """Yields the pairs of close hashes whose parts differ in exactly the bits of `difference`."""
        others = self.keys ^ difference
        if difference:  # each hash of the larger bucket, and the bucket that it is compared with
            own_size, sizes = self.sizes[self.keys], self.sizes[others]
            rows = np.flatnonzero((sizes > 0) & ((sizes < own_size) | ((sizes == own_size) & (others > self.keys))))
            starts, ends = self.starts[others[rows]], self.starts[others[rows]] + sizes[rows]
        else:  # each hash, and those behind it in its bucket
            rows = np.arange(self.count)
            starts, ends = rows + 1, self.starts[self.keys] + self.sizes[self.keys]
        for i in range(0, len(rows), ROWS):
            yield from self._compare(rows[i : i + ROWS], starts[i : i + ROWS], ends[i : i + ROWS])

    def _compare(self, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Pairs:
        """Yields the close pairs of each of `rows` with starts .. ends - 1."""
        while len(rows):
            distances = np.bitwise_count(self.windows[starts] ^ self.bits[rows, None])  # (rows, WIDE)
            near = np.flatnonzero(distances <= MAX_BITS)
            if len(near):
                row, step = np.divmod(near, WIDE)
                a, b = rows[row], starts[row] + step
                inside = b < ends[row]
                yield a[inside], b[inside]
            more = starts + WIDE < ends
            rows, starts, ends = rows[more], starts[more] + WIDE, ends[more]


def part_of(bits: np.ndarray, first: int, width: int) -> np.ndarray:
    """Returns `width` bits of each hash, from bit `first` on, int32."""
    return ((bits >> np.uint64(first)) & np.uint64(2**width - 1)).astype(np.int32)


def differences(width: int, radius: int) -> list[int]:
    """Returns the numbers of `width` bits of which at most `radius` are set."""
    return [sum(1 << i for i in ones) for n in range(radius + 1) for ones in combinations(range(width), n)]
