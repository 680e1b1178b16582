"""Which images are nearly the same: frames of one scene, copies saved anew.

Two images are near-duplicates when their perceptual hashes differ in at most MAX_BITS of 63 bits and their colours, on
8x8 pixels, by at most MAX_RMSE. Of 15,000 Simpsons frames, pairs that close in their hashes fall into two heaps: one
around 15 grey levels apart, which are frames of one scene, and one around 65, which are not (README).

Source: the hash is Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, Sec. 3.2.1.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

MAX_BITS = 14  # hamming distance
MAX_RMSE = 24.0  # grey levels
DCT_FROM, DCT_TO, THUMB = 32, 8, 8
BLOCK = 2**23  # distances held at a time
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Fingerprints(NamedTuple):
    """What is compared of N images."""

    bits: np.ndarray  # uint64 (N,)
    thumbs: np.ndarray  # uint8 (N, C * 8 * 8)


def fingerprints(pixels: Tensor) -> Fingerprints:
    """Of uint8 pixels (N, C, H, W)."""
    x = adaptive_avg_pool2d(pixels.to(torch.float32), DCT_FROM)  # (N, C, 32, 32)
    grey = torch.einsum("nchw,c->nhw", x, x.new_tensor(LUMA)) if x.shape[1] == 3 else x[:, 0]
    dct = _dct(DCT_FROM, DCT_TO)
    low = dct @ grey @ dct.T  # (N, 8, 8): the lowest frequencies
    low = low.flatten(1)[:, 1:].numpy()  # but the mean
    above = low > np.median(low, axis=1, keepdims=True)
    bits = np.packbits(np.pad(above, ((0, 0), (0, 1))), axis=1).view(np.uint64)[:, 0]
    thumbs = adaptive_avg_pool2d(x, THUMB).flatten(1).round().to(torch.uint8).numpy()
    return Fingerprints(bits, thumbs)


def groups(prints: Fingerprints, on_progress: Callable[[int], None] | None = None) -> np.ndarray:
    """The group of each image, (N,): images joined by a chain of near-duplicates have the same number.

    A group's number is that of its first image. Every pair's hashes are compared: N^2 / 2 distances, a second for
    20,000 images.
    """
    bits, thumbs = prints
    count = len(bits)
    parent = np.arange(count)
    rows = max(1, BLOCK // max(1, count))
    for start in range(0, count, rows):
        block = slice(start, min(start + rows, count))
        distances = np.bitwise_count(bits[block, None] ^ bits[None, start:])
        first, second = np.nonzero(distances <= MAX_BITS)
        first, second = (first + start)[first < second], (second + start)[first < second]
        for part in range(0, len(first), BLOCK // 256):  # dense where thousands of frames are alike
            a, b = first[part : part + BLOCK // 256], second[part : part + BLOCK // 256]
            apart = parent[a] != parent[b]
            a, b = a[apart], b[apart]
            alike = _rmse(thumbs[a], thumbs[b]) <= MAX_RMSE
            _join(parent, a[alike], b[alike])
        if on_progress:
            on_progress(block.stop)
    return parent


def _join(parent: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Unite the groups of each pair, in place; afterwards every image points at its group's first."""

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)
    while len(first) and (parent[parent] != parent).any():
        parent[:] = parent[parent]


def _rmse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = a.astype(np.float32) - b
    return np.sqrt(np.mean(difference * difference, axis=1))


def _dct(length: int, kept: int) -> Tensor:
    """The first `kept` rows of the DCT-II of `length` samples, (kept, length)."""
    frequency, sample = torch.arange(kept)[:, None], torch.arange(length)[None]
    return torch.cos(math.pi * (2 * sample + 1) * frequency / (2 * length))
