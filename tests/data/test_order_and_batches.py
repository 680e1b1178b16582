from collections import Counter

import numpy as np
import pytest
import torch

from vae_simpsons.data import batches as batching
from vae_simpsons.data.batches import Batch, CopiedAhead, EvalBatches, TrainBatches, resident
from vae_simpsons.data.order import permutation

NUMBERED = torch.arange(100, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)
LABELS = torch.arange(100) // 7  # of the image with each number


def numbers(batches) -> list[list[int]]:
    """Which images are in each batch."""
    return [batch.inputs[:, 0, 0, 0].tolist() for batch in batches]


def plain(batches) -> list[tuple[list, list]]:
    """The pixels and labels of each batch."""
    return [(batch.inputs.tolist(), batch.labels.tolist()) for batch in batches]


def assert_labels_belong(batches) -> None:
    """Each label is that of the image whose pixels are in its place, in batches and in chunks of them."""
    for batch in batches:
        assert batch.labels.dtype == torch.int64 and batch.labels.shape == batch.inputs.shape[:-3]
        assert torch.equal(batch.labels, LABELS[batch.inputs[..., 0, 0, 0].long()])


def test_an_order_is_the_same_on_every_machine():
    assert permutation(10, 1265, 0).tolist() == ORDER_OF_1265
    assert sorted(permutation(1000, 7)) == list(range(1000))
    assert permutation(10, 1265, 1).tolist() != ORDER_OF_1265


ORDER_OF_1265 = [6, 9, 8, 7, 1, 2, 5, 0, 4, 3]


def train_batches(**settings) -> TrainBatches:
    usual = {"inputs": NUMBERED, "labels": LABELS, "indices": np.arange(75), "batch_size": 8, "seed": 1, "epoch": 0}
    return TrainBatches(**usual | settings)


def test_an_epoch_is_full_batches_without_repetition_in_a_seeded_order():
    first = numbers(train_batches())
    assert [len(b) for b in first] == [8] * 9 and len(train_batches()) == 9
    flat = sum(first, [])
    assert len(set(flat)) == 72 and max(flat) < 75
    assert first == numbers(train_batches())
    assert first != numbers(train_batches(epoch=1))
    assert first != numbers(train_batches(seed=2))


def test_every_image_has_its_turn_over_the_epochs():
    seen = Counter(i for epoch in range(40) for batch in numbers(train_batches(epoch=epoch)) for i in batch)
    assert set(seen) == set(range(75)) and min(seen.values()) > 30


@pytest.mark.parametrize("step", [0, 1, 5, 9])
@pytest.mark.parametrize("flip", [False, True])
def test_an_epoch_goes_on_at_any_step(step, flip):
    whole = plain(train_batches(horizontal_flip=flip))
    assert plain(train_batches(horizontal_flip=flip, first_step=step)) == whole[step:]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("first", [0, 2])
def test_chunks_are_the_same_batches(flip, first):
    ends = (4, 5, 9)
    whole = plain(train_batches(horizontal_flip=flip))[first:]
    chunked = train_batches(horizontal_flip=flip, first_step=first, chunk_ends=ends)
    assert [len(chunk.labels) for chunk in chunked] == [4 - first, 1, 4] and len(chunked) == 3
    assert plain(Batch(*batch) for chunk in chunked for batch in zip(*chunk, strict=True)) == whole


def test_processes_share_no_image_and_together_make_the_same_steps():
    alone = numbers(train_batches(batch_size=16))
    ranks = [numbers(train_batches(rank=r, world=2)) for r in range(2)]
    assert len(alone) == len(ranks[0]) == len(ranks[1]) == 4
    for whole, a, b in zip(alone, *ranks, strict=True):
        assert not set(a) & set(b) and set(a) | set(b) == set(whole)


def test_mirroring_flips_about_half_of_them_and_a_new_half_each_epoch():
    lopsided = torch.tensor([0, 1], dtype=torch.uint8).expand(1000, 1, 2, 2)

    def flipped(epoch):
        labels = torch.zeros(1000, dtype=torch.int64)
        batches = TrainBatches(lopsided, labels, np.arange(1000), 100, seed=1, epoch=epoch, horizontal_flip=True)
        return torch.cat([b.inputs[:, 0, 0, 0] for b in batches])

    assert 400 < flipped(0).sum() < 600
    assert not torch.equal(flipped(0), flipped(1)) and torch.equal(flipped(0), flipped(0))
    assert not lopsided[:, 0, 0, 0].any(), "the pixels themselves stay as they are"


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [4, 5, 9, 17, 64, 97])
@pytest.mark.parametrize("batch_size", [2, 8])
def test_evaluation_sees_every_image_once_in_equally_many_batches(world, count, batch_size):
    ranks = [numbers(EvalBatches(NUMBERED, LABELS, np.arange(count), batch_size, r, world)) for r in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) == len(EvalBatches(NUMBERED, LABELS, np.arange(count), batch_size, 0, world))
    assert all(1 <= len(batch) <= batch_size for batches in ranks for batch in batches)
    assert sorted(i for batches in ranks for batch in batches for i in batch) == list(range(count))


@pytest.mark.parametrize(
    "settings",
    [{}, {"horizontal_flip": True}, {"first_step": 3}, {"chunk_ends": (4, 9)}, {"indices": np.arange(99, 10, -2)}],
    ids=["plain", "mirrored", "resumed", "chunks", "some"],
)
@pytest.mark.parametrize("world", [1, 2])
def test_labels_belong_to_their_pixels_in_training(settings, world):
    if "chunk_ends" in settings and world == 2:
        settings = {"chunk_ends": (2, 4)}
    for rank in range(world):
        assert_labels_belong(train_batches(rank=rank, world=world, batch_size=8, **settings))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_labels_belong_to_their_pixels_in_validation(world):
    for rank in range(world):
        assert_labels_belong(EvalBatches(NUMBERED, LABELS, np.arange(99, 10, -2), 8, rank, world))


def test_labels_belong_to_their_pixels_when_copied_ahead(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    for batches in (train_batches(), train_batches(chunk_ends=(4, 9)), EvalBatches(NUMBERED, LABELS, np.arange(9), 4)):
        assert_labels_belong(CopiedAhead(batches, torch.device("cpu")))


def test_images_live_on_a_gpu_that_has_room_for_them(monkeypatch):
    monkeypatch.setattr(batching, "free_memory", lambda device: 1000)
    meta = torch.device("meta")  # stands for a GPU: what is moved there is known by it
    pixels = torch.zeros(500, dtype=torch.uint8)
    assert resident(pixels, meta, 0.5).device == meta
    assert resident(pixels, meta, 0.49).device.type == "cpu"
    assert resident(pixels, meta, 0).device.type == "cpu"


def test_a_cpu_reads_them_where_they_are():
    assert batching.free_memory(torch.device("cpu")) == 0


def test_batches_copied_ahead_are_the_same_batches(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)  # which needs a GPU
    for batches in (train_batches(), train_batches(batch_size=40), EvalBatches(NUMBERED, LABELS, np.arange(9), 4)):
        ahead = CopiedAhead(batches, torch.device("cpu"))
        assert len(ahead) == len(batches) and plain(ahead) == plain(batches)


def test_a_reader_that_fails_is_heard():
    with pytest.raises(IndexError):
        list(CopiedAhead(train_batches(indices=np.arange(200)), torch.device("cpu")))
