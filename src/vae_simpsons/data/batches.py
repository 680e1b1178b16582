"""Pixels and labels -> the batches of an epoch, in an order that only the seed, the epoch and the process decide."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.data.order import permutation, random_bits
from vae_simpsons.threads import map_ahead

ORDER_STREAM, FLIP_STREAM = 0x02DE2, 0xF11B  # keep the draws of one seed and epoch apart
COPIED_AHEAD = 3  # batches that are being copied to a GPU


class Batch(NamedTuple):
    """Some images and their classes, on one device."""

    inputs: Tensor  # uint8 (B, C, H, W), or what a stage makes of images, (B, ...); of a chunk of k batches (k, B, ...)
    labels: Tensor  # int64 (B,); of a chunk (k, B)


@dataclass(frozen=True)
class TrainBatches:
    """One epoch of training: a seeded permutation in full batches; the last partial one is left out.

    Process `rank` of `world` takes every world-th image of the permutation, so that processes never share one.
    """

    inputs: Tensor  # uint8 (N, C, H, W), all images
    labels: Tensor  # int64 (N,), on the same device
    indices: np.ndarray  # of the images that train
    batch_size: int
    seed: int
    epoch: int
    horizontal_flip: bool = False
    rank: int = 0
    world: int = 1
    first_step: int = 0  # where an interrupted epoch is resumed
    chunk_ends: Sequence[int] | None = None  # steps after which a chunk of several batches ends; None: no chunks

    @property
    def steps(self) -> int:
        """How many batches the whole epoch has."""
        return len(self.indices) // self.world // self.batch_size

    def __len__(self) -> int:
        return self.steps - self.first_step if self.chunk_ends is None else len(self.chunk_ends)

    def __iter__(self) -> Iterator[Batch]:
        """Yields batches, or chunks of batches, on the device of `inputs`."""
        count = len(self.indices)
        order = self._of_this_process(self.indices[permutation(count, ORDER_STREAM, self.seed, self.epoch)])
        if self.horizontal_flip:  # else nothing is drawn, and nothing copied to the device that waits
            drawn = random_bits(count, FLIP_STREAM, self.seed, self.epoch)
            mirrored = self._of_this_process(drawn >> 63 == 1)
        parts: Iterable = range(self.first_step, self.steps)
        if self.chunk_ends is not None:
            parts = (slice(a, b) for a, b in pairwise([self.first_step, *self.chunk_ends]))
        for part in parts:
            inputs = self.inputs[order[part]]  # (..., C, H, W)
            if self.horizontal_flip:
                inputs = torch.where(mirrored[part][..., None, None, None], inputs.flip(-1), inputs)
            yield Batch(inputs, self.labels[order[part]])

    def _of_this_process(self, epoch: np.ndarray) -> Tensor:
        """Returns what this process has of an array over the epoch, (steps, batch_size), on the device of `inputs`."""
        steps = epoch[: self.steps * self.batch_size * self.world].reshape(self.steps, -1)
        return torch.from_numpy(steps[:, self.rank :: self.world].copy()).to(self.inputs.device)


@dataclass(frozen=True)
class EvalBatches:
    """Every image once, in order.

    Each process gets the same number of batches, since processes wait for each other; so sizes differ by at most one.
    """

    inputs: Tensor  # uint8 (N, C, H, W), all images
    labels: Tensor  # int64 (N,), on the same device
    indices: np.ndarray  # of the images that validate
    batch_size: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return -(-len(self.indices) // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[Batch]:
        """Yields batches of at most batch_size images, on the device of `inputs`."""
        for chosen in np.array_split(self.indices[self.rank :: self.world], len(self)):
            yield Batch(take(self.inputs, chosen), take(self.labels, chosen))


def take(tensor: Tensor, chosen: np.ndarray) -> Tensor:
    """Returns the rows `chosen`, (n,), of inputs (N, C, H, W) or labels (N,), on their device."""
    return tensor[torch.from_numpy(chosen).to(tensor.device)]


def resident(inputs: Tensor, device: torch.device, share: float) -> Tensor:
    """Returns `inputs` on `device` if they take at most `share` of its free memory, otherwise as they are."""
    return inputs.to(device) if 0 < inputs.nbytes <= share * free_memory(device) else inputs


def free_memory(device: torch.device) -> int:
    """Returns the free bytes of a GPU's own memory; 0 for a CPU, which reads the images where they are."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return 0


@dataclass(frozen=True)
class CopiedAhead:
    """`batches`, read, pinned and copied to a CUDA `device` by another thread while earlier ones are used.

    The copies have a stream of their own: on the stream that trains, each would wait for the steps before it.
    """

    batches: TrainBatches | EvalBatches
    device: torch.device

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches on the device."""
        source = iter(self.batches)
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

        def copy_next(_: int) -> tuple[Batch, torch.cuda.Event | None]:
            """Returns the next batch and, on a GPU, the event after which it is there."""
            batch = next(source)
            if stream is None:
                return batch, None
            with torch.cuda.stream(stream):
                parts = [part.pin_memory().to(self.device, non_blocking=True) for part in batch]
                return Batch(*parts), stream.record_event()

        for batch, event in map_ahead(copy_next, range(len(self)), 1, COPIED_AHEAD):
            if event is not None:
                current = torch.cuda.current_stream(self.device)
                current.wait_event(event)  # the device waits, Python does not
                for part in batch:
                    part.record_stream(current)
            yield batch
