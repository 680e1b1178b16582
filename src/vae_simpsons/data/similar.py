"""Which images are nearly the same: frames of one scene, copies saved again.

Two images are near-duplicates when their perceptual hashes differ in at most 14 of 63 bits and their colours, on
8x8 pixels, by at most MAX_RMSE. Of 15,000 Simpsons frames, pairs with hashes that close fall into two clusters: one
around 15 grey levels apart, which are frames of one scene, and one around 65, which are not (docs/data.md).

Source: the hash is Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, Sec. 3.2.1.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

MAX_BITS = 14  # hamming distance
MAX_RMSE = 24.0  # grey levels
DCT_FROM, DCT_TO, THUMB = 32, 8, 8
PAIRS, BLOCK = 2**20, 2**14  # of images at a time, and of those whose colours are compared
ROWS, COLUMNS = 128, 1024  # hashes that are compared with each other at a time: as many as the processor's cache holds
WAITING = 2**18  # pairs of hashes that are found before their colours are compared
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Fingerprints(NamedTuple):
    """What is compared of N images."""

    bits: np.ndarray  # uint64 (N,)
    thumbs: np.ndarray  # uint8 (N, C * 8 * 8)


def compute_fingerprints(pixels: Tensor) -> Fingerprints:
    """Returns the fingerprints of uint8 pixels (N, C, H, W)."""
    x = adaptive_avg_pool2d(pixels.to(torch.float32), DCT_FROM)  # (N, C, 32, 32)
    grey = torch.einsum("nchw,c->nhw", x, x.new_tensor(LUMA)) if x.shape[1] == 3 else x[:, 0]
    frequency, sample = torch.arange(DCT_TO)[:, None], torch.arange(DCT_FROM)[None]
    dct = torch.cos(math.pi * (2 * sample + 1) * frequency / (2 * DCT_FROM))  # DCT-II, its first rows, (8, 32)
    lowest = dct @ grey @ dct.T  # (N, 8, 8), frequencies
    low = lowest.flatten(1)[:, 1:].numpy()  # without the mean
    larger = low > np.median(low, axis=1, keepdims=True)
    bits = np.packbits(np.pad(larger, ((0, 0), (0, 1))), axis=1).view(np.uint64)[:, 0]
    thumbs = adaptive_avg_pool2d(x, THUMB).flatten(1).round().to(torch.uint8).numpy()
    return Fingerprints(bits, thumbs)


class Groups:
    """Numbers 0 .. count - 1 in groups, each known by its smallest: a forest whose roots these are."""

    def __init__(self, count: int) -> None:
        self.parents = np.arange(count)

    def roots(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the smallest of the group of each of `numbers`."""
        roots = self.parents[numbers]
        while (roots != (above := self.parents[roots])).any():
            roots = above
        self.parents[numbers] = roots  # shortens the way for the next time
        return roots

    def join(self, a: np.ndarray, b: np.ndarray) -> None:
        """Makes one group of those of a[i] and b[i], for every i."""
        while len(a):
            a, b = self.roots(a), self.roots(b)
            a, b = np.minimum(a, b)[a != b], np.maximum(a, b)[a != b]
            self.parents[b] = a


class ImagesByHash:
    """Images, no two with the same fingerprint, hash by hash, and the groups that they are joined to."""

    def __init__(self, bits: np.ndarray, thumbs: np.ndarray) -> None:
        self.hashes, numbers, self.counts = np.unique(bits, return_inverse=True, return_counts=True)
        self.members = np.argsort(numbers, kind="stable")  # the images of the first hash, of the second ...
        self.starts = np.cumsum(self.counts) - self.counts
        self.thumbs, self.means = thumbs, thumbs.mean(axis=1, dtype=np.float32)
        self.groups = Groups(len(bits))
        self.done = -np.arange(len(self.hashes))  # the group of a hash whose images are all in one; else a negative

    def may_join(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether images with the hash first[i] and with second[i] may be in several groups, (n,)."""
        return self.done[first] != self.done[second]

    def join(self, first: np.ndarray, second: np.ndarray) -> None:
        """Joins the groups of images of near colours, one with the hash first[i], one with second[i]."""
        for some in row_blocks(self.counts[first]):
            number, row = count_up(self.counts[first[some]])
            images = self.members[self.starts[first[some[row]]] + number]  # every one with the first hash
            others = second[some[row]]
            for rows in row_blocks(self.counts[others]):
                number, row = count_up(self.counts[others[rows]])
                self._join_images(images[rows[row]], self.members[self.starts[others[rows[row]]] + number])
        of_members = self.groups.roots(self.members)
        low, high = np.minimum.reduceat(of_members, self.starts), np.maximum.reduceat(of_members, self.starts)
        self.done = np.where(low == high, low, -1 - np.arange(len(self.hashes)))

    def _join_images(self, a: np.ndarray, b: np.ndarray) -> None:
        # Their means differ by no more than the root mean square.
        maybe = np.abs(self.means[a] - self.means[b]) <= MAX_RMSE + 0.01
        maybe &= self.groups.roots(a) != self.groups.roots(b)
        a, b = a[maybe], b[maybe]
        for i in range(0, len(a), BLOCK):
            some_a, some_b = a[i : i + BLOCK], b[i : i + BLOCK]
            differences = self.thumbs[some_a].astype(np.float32) - self.thumbs[some_b]
            squares = np.einsum("ij,ij->i", differences, differences)  # whole numbers, exactly
            near = squares <= MAX_RMSE**2 * self.thumbs.shape[1]
            self.groups.join(some_a[near], some_b[near])


def group_near_duplicates(prints: Fingerprints, show: Callable[[int], object] = lambda done: None) -> np.ndarray:
    """Returns the group of each image, (N,), as the number of its first image.

    Images joined by a chain of near-duplicates are one group.

    Args:
        show: called with the number of images done.
    """
    firsts, copies = distinct_rows(prints)
    images = ImagesByHash(prints.bits[firsts], prints.thumbs[firsts])
    several = np.flatnonzero(images.counts > 1)
    images.join(several, several)
    for pairs in close_pairs(images.hashes, images.may_join, lambda share: show(int(share * len(copies)))):
        images.join(*pairs)
    return firsts[images.groups.roots(np.arange(len(firsts)))][copies]


def close_pairs(
    bits: np.ndarray, wanted: Callable[[np.ndarray, np.ndarray], np.ndarray], show: Callable[[float], object]
) -> Iterator[np.ndarray]:
    """Yields the pairs of distinct hashes, uint64 (N,), that differ in at most MAX_BITS, once each, as indices (2, n).

    Every pair is compared, a billion in 2 s: an index of parts of the hashes takes as long, up to a million of them.

    Args:
        wanted: says of pairs which are still of interest; the others may be left out.
        show: called with the share that is done.
    """
    found, waiting = [], 0
    for row in range(0, len(bits), ROWS):
        for column in range(row, len(bits), COLUMNS):
            distances = np.bitwise_count(bits[row : row + ROWS, None] ^ bits[column : column + COLUMNS])
            near = np.flatnonzero(distances <= MAX_BITS)
            if len(near):
                a, b = np.divmod(near, distances.shape[1])
                pairs = np.stack([row + a, column + b])[:, row + a < column + b]
                found.append(pairs[:, wanted(*pairs)])
                waiting += found[-1].shape[1]
        if found and (waiting >= WAITING or row + ROWS >= len(bits)):
            yield np.concatenate(found, axis=1)
            found, waiting = [], 0
        show(min(1.0, (row + ROWS) / len(bits)))


def distinct_rows(prints: Fingerprints) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first image of each fingerprint, ascending, and which of these has the fingerprint of each image."""
    count = len(prints.bits)
    rows = np.column_stack([prints.bits.view(np.uint8).reshape(count, 8), prints.thumbs])
    _, firsts, copies = np.unique(rows.view(f"V{rows.shape[1]}")[:, 0], return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    return firsts[order], np.argsort(order)[copies]


def row_blocks(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the rows of some length, in blocks of about PAIRS in all."""
    rows = np.flatnonzero(lengths)
    ends = np.cumsum(lengths[rows])
    cuts = np.searchsorted(ends, np.arange(PAIRS, ends[-1] if len(rows) else 0, PAIRS), side="right")
    yield from (block for block in np.split(rows, np.unique(cuts)) if len(block))


def count_up(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers 0 .. length - 1 of every length, and which length each belongs to."""
    number = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return number, np.repeat(np.arange(len(lengths)), lengths)
