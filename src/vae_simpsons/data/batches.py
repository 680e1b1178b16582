"""Pixels -> the batches of an epoch, in an order that only the seed, the epoch and the process decide."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TrainBatches:
    """One epoch of training: a seeded permutation in full batches; the last partial one is left out.

    Process `rank` of `world` takes every world-th image of the permutation, so that processes never share one.
    """

    pixels: Tensor  # uint8 (N, C, H, W), all images
    indices: np.ndarray  # those that train
    batch_size: int
    seed: int
    epoch: int
    horizontal_flip: bool = False
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return len(self.indices) // self.world // self.batch_size

    def __iter__(self) -> Iterator[Tensor]:
        """uint8 batches (batch_size, C, H, W)."""
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(self.indices)
        mirrored = random.random(len(order)) < 0.5
        for step in range(len(self)):
            mine = slice(step * self.batch_size * self.world + self.rank, (step + 1) * self.batch_size * self.world)
            chosen = torch.from_numpy(order[mine][:: self.world])
            batch = self.pixels[chosen]  # (batch_size, C, H, W)
            if self.horizontal_flip:
                flip = torch.from_numpy(mirrored[mine][:: self.world])
                batch = torch.where(flip[:, None, None, None], batch.flip(-1), batch)
            yield batch


@dataclass(frozen=True)
class EvalBatches:
    """Every image once, in order, none left out and none twice.

    Each process gets the same number of batches (else the others would wait for its gradients' sake forever), so
    their sizes differ by at most one image.
    """

    pixels: Tensor  # uint8 (N, C, H, W), all images
    indices: np.ndarray  # those that validate
    batch_size: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return -(-len(self.indices) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[Tensor]:
        """uint8 batches (at most batch_size, C, H, W)."""
        for chosen in np.array_split(self.indices[self.rank :: self.world], len(self)):
            yield self.pixels[torch.from_numpy(chosen)]
