"""Pixels -> the batches of an epoch, in an order that only the seed, the epoch and the process decide."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.data.order import permutation, random_bits

ORDER_STREAM, FLIP_STREAM = 0x02DE2, 0xF11B  # keep the draws of one seed and epoch apart
COPIED_AHEAD = 3  # batches on their way to a GPU


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
    first_step: int = 0  # where an interrupted epoch goes on
    chunk_ends: Sequence[int] | None = None  # steps after which a chunk of several batches ends; None: no chunks

    @property
    def steps(self) -> int:
        """How many batches the whole epoch has."""
        return len(self.indices) // self.world // self.batch_size

    def __len__(self) -> int:
        return self.steps - self.first_step if self.chunk_ends is None else len(self.chunk_ends)

    def __iter__(self) -> Iterator[Tensor]:
        """uint8 batches (batch_size, C, H, W), where `pixels` is; or chunks of k, (k, batch_size, C, H, W)."""
        order = self.indices[permutation(len(self.indices), ORDER_STREAM, self.seed, self.epoch)]
        order = self._of_this_process(order)
        if self.horizontal_flip:  # else nothing is drawn, and nothing copied to the device that waits
            drawn = random_bits(len(self.indices), FLIP_STREAM, self.seed, self.epoch)
            mirrored = self._of_this_process(drawn >> 63 == 1)
        if self.chunk_ends is None:
            parts: Iterable = range(self.first_step, self.steps)
        else:
            parts = (slice(a, b) for a, b in pairwise([self.first_step, *self.chunk_ends]))
        for part in parts:
            pixels = self.pixels[order[part]]  # (..., C, H, W)
            if self.horizontal_flip:
                pixels = torch.where(mirrored[part][..., None, None, None], pixels.flip(-1), pixels)
            yield pixels

    def _of_this_process(self, epoch: np.ndarray) -> Tensor:
        """What each batch has of a whole epoch's array, (steps, batch_size), where `pixels` is."""
        steps = epoch[: self.steps * self.batch_size * self.world].reshape(self.steps, -1)
        return torch.from_numpy(steps[:, self.rank :: self.world].copy()).to(self.pixels.device)


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
            yield take(self.pixels, chosen)


def take(pixels: Tensor, chosen: np.ndarray) -> Tensor:
    """The images `chosen`, (n,), of uint8 pixels (N, C, H, W), where these are."""
    return pixels[torch.from_numpy(chosen).to(pixels.device)]


def resident(pixels: Tensor, device: torch.device, share: float) -> Tensor:
    """`pixels` on `device` if they take at most `share` of its free memory, else as they are."""
    return pixels.to(device) if 0 < pixels.nbytes <= share * free_memory(device) else pixels


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU's own memory that are free; 0 for a CPU, which reads the images where they are."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return 0


@dataclass(frozen=True)
class CopiedAhead:
    """The `batches`, read, pinned and copied to a CUDA `device` by another thread while the last one is used.

    The copies have a stream of their own: on the stream that trains, each would wait for the steps before it.
    """

    batches: TrainBatches | EvalBatches
    device: torch.device

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        """uint8 batches (n, C, H, W) on the device."""
        source = iter(self.batches)
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        waiting: deque = deque()
        with ThreadPoolExecutor(1) as reader:
            for _ in range(COPIED_AHEAD):
                waiting.append(reader.submit(self._copy_next, source, stream))
            while (batch := waiting.popleft().result()) is not None:
                waiting.append(reader.submit(self._copy_next, source, stream))
                if stream is not None:
                    batch, copied = batch
                    torch.cuda.current_stream(self.device).wait_event(copied)  # the device waits, Python does not
                    batch.record_stream(torch.cuda.current_stream(self.device))
                yield batch

    def _copy_next(
        self, source: Iterator[Tensor], stream: torch.cuda.Stream | None
    ) -> Tensor | tuple[Tensor, torch.cuda.Event] | None:
        """The next batch, on a GPU with the event after which it is there; None at the end."""
        batch = next(source, None)
        if batch is None or stream is None:
            return batch
        with torch.cuda.stream(stream):
            return batch.pin_memory().to(self.device, non_blocking=True), stream.record_event()
