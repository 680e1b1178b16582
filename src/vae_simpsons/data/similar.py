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
BLOCK = 2**14  # pairs whose colours are compared at a time
ROWS, COLUMNS = 128, 1024  # hashes that are compared with each other at a time: as many as the processor's cache holds
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


def group_near_duplicates(prints: Fingerprints, show: Callable[[int], object] = lambda done: None) -> np.ndarray:
    """Returns the group of each image, (N,), as the number of its first image.

    Images joined by a chain of near-duplicates are one group.

    Args:
        show: called with the number of images done.
    """
    firsts, copies = distinct_rows(prints)
    bits, thumbs = prints.bits[firsts], prints.thumbs[firsts]
    means, groups = thumbs.mean(axis=1, dtype=np.float32), Groups(len(firsts))
    for pairs in close_pairs(bits, lambda share: show(int(share * len(copies)))):
        for i in range(0, pairs.shape[1], BLOCK):
            a, b = pairs[:, i : i + BLOCK]
            # Their means differ by no more than the root mean square.
            maybe = (np.abs(means[a] - means[b]) <= MAX_RMSE + 0.01) & (groups.roots(a) != groups.roots(b))
            a, b = a[maybe], b[maybe]
            differences = thumbs[a].astype(np.float32) - thumbs[b]
            squares = np.einsum("ij,ij->i", differences, differences)  # whole numbers, exactly
            near = squares <= MAX_RMSE**2 * thumbs.shape[1]
            groups.join(a[near], b[near])
    return firsts[groups.roots(np.arange(len(firsts)))][copies]


def close_pairs(bits: np.ndarray, show: Callable[[float], object]) -> Iterator[np.ndarray]:
    """Yields the pairs of hashes, uint64 (N,), that differ in at most MAX_BITS, once each, as indices (2, n).

    Every pair is compared, a billion in 3 s: an index of parts of the hashes took twice as long for 20,000 of them.

    Args:
        show: called with the share that is done.
    """
    for row in range(0, len(bits), ROWS):
        for column in range(row, len(bits), COLUMNS):
            distances = np.bitwise_count(bits[row : row + ROWS, None] ^ bits[column : column + COLUMNS])
            near = np.flatnonzero(distances <= MAX_BITS)
            if len(near):
                a, b = np.divmod(near, distances.shape[1])
                yield np.stack([row + a, column + b])[:, row + a < column + b]
        show(min(1.0, (row + ROWS) / len(bits)))


def distinct_rows(prints: Fingerprints) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first image of each fingerprint, ascending, and which of these has the fingerprint of each image."""
    count = len(prints.bits)
    rows = np.column_stack([prints.bits.view(np.uint8).reshape(count, 8), prints.thumbs])
    _, firsts, copies = np.unique(rows.view(f"V{rows.shape[1]}")[:, 0], return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    return firsts[order], np.argsort(order)[copies]
