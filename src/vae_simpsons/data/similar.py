"""Which images are nearly the same: frames of one scene, copies saved again.

Two images are near-duplicates when their perceptual hashes differ in at most MAX_BITS of 63 bits and their colours, on
8x8 pixels, by at most MAX_RMSE. Of 15,000 Simpsons frames, pairs with hashes that close fall into two clusters: one
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
BLOCK = 2**23  # distances in memory at a time
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


def group_near_duplicates(prints: Fingerprints, show: Callable[[int], None] | None = None) -> np.ndarray:
    """Returns the group of each image, (N,), as the number of its first image.

    Images joined by a chain of near-duplicates are one group. The hashes of every pair are compared: N^2 / 2
    distances, a second for 20,000 images.

    Args:
        show: called with the number of images done.
    """
    bits, thumbs = prints
    count = len(bits)
    parent = np.arange(count)
    rows = max(1, BLOCK // max(1, count))
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        distances = np.bitwise_count(bits[start:stop, None] ^ bits[None, start:])
        first, second = np.nonzero(distances <= MAX_BITS)
        first, second = (first + start)[first < second], (second + start)[first < second]
        for part in range(0, len(first), BLOCK // 256):  # many pairs where thousands of frames are alike
            a, b = first[part : part + BLOCK // 256], second[part : part + BLOCK // 256]
            differ = parent[a] != parent[b]
            a, b = a[differ], b[differ]
            rmse = np.sqrt(np.mean((thumbs[a].astype(np.float32) - thumbs[b]) ** 2, axis=1))
            for i, j in zip(a[rmse <= MAX_RMSE], b[rmse <= MAX_RMSE], strict=True):
                low, high = sorted((parent[i], parent[j]))
                if low != high:
                    parent[parent == high] = low
        if show:
            show(stop)
    return parent
