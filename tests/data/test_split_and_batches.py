import numpy as np
import pytest
import torch

from vae_simpsons.config import Data
from vae_simpsons.data.batches import EvalBatches, TrainBatches
from vae_simpsons.data.split import split
from vae_simpsons.errors import VAEError

NUMBERED = torch.arange(100, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2)


def numbers(batches) -> list[list[int]]:
    """Which images are in each batch."""
    return [batch[:, 0, 0, 0].tolist() for batch in batches]


def test_sorted_takes_the_first_three_quarters():
    train, val = split(18_992, Data(split="sorted", train_fraction=0.75), seed=1)
    assert train.tolist() == list(range(14_244)) and val.tolist() == list(range(14_244, 18_992))


def test_shuffled_is_disjoint_complete_seeded_and_shuffled():
    data = Data(split="shuffled", train_fraction=0.75)
    train, val = split(100, data, seed=1)
    assert sorted([*train, *val]) == list(range(100)) and len(train) == 75
    assert np.array_equal(train, split(100, data, seed=1)[0])
    assert not np.array_equal(train, split(100, data, seed=2)[0])
    assert train.max() > 75


@pytest.mark.parametrize(("count", "fraction", "side"), [(4, 1.0, "validation"), (3, 0.1, "training")])
def test_an_empty_side_is_refused(count, fraction, side):
    with pytest.raises(VAEError, match=f"data.train_fraction: .* of {count} images leaves none for {side}"):
        split(count, Data(train_fraction=fraction), 0)


def train_batches(**settings) -> TrainBatches:
    usual = {"pixels": NUMBERED, "indices": np.arange(75), "batch_size": 8, "seed": 1, "epoch": 0}
    return TrainBatches(**usual | settings)


def test_an_epoch_is_full_batches_without_repetition_in_a_seeded_order():
    first = numbers(train_batches())
    assert [len(b) for b in first] == [8] * 9 and len(train_batches()) == 9
    flat = sum(first, [])
    assert len(set(flat)) == 72 and max(flat) < 75
    assert first == numbers(train_batches())
    assert first != numbers(train_batches(epoch=1))
    assert first != numbers(train_batches(seed=2))


def test_processes_share_no_image_and_together_make_the_same_steps():
    alone = numbers(train_batches(batch_size=16))
    ranks = [numbers(train_batches(rank=r, world=2)) for r in range(2)]
    assert len(alone) == len(ranks[0]) == len(ranks[1]) == 4
    for whole, a, b in zip(alone, *ranks, strict=True):
        assert not set(a) & set(b) and set(a) | set(b) == set(whole)


def test_mirroring_flips_about_half_of_them_and_a_new_half_each_epoch():
    lopsided = torch.tensor([0, 1], dtype=torch.uint8).expand(1000, 1, 2, 2)

    def flipped(epoch):
        batches = TrainBatches(lopsided, np.arange(1000), 100, seed=1, epoch=epoch, horizontal_flip=True)
        return torch.cat([b[:, 0, 0, 0] for b in batches])

    assert 400 < flipped(0).sum() < 600
    assert not torch.equal(flipped(0), flipped(1)) and torch.equal(flipped(0), flipped(0))
    assert not lopsided[:, 0, 0, 0].any(), "the pixels themselves stay as they are"


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [4, 5, 9, 17, 64, 97])
@pytest.mark.parametrize("batch_size", [2, 8])
def test_evaluation_sees_every_image_once_in_equally_many_batches(world, count, batch_size):
    ranks = [numbers(EvalBatches(NUMBERED, np.arange(count), batch_size, r, world)) for r in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) == len(EvalBatches(NUMBERED, np.arange(count), batch_size, 0, world))
    assert all(1 <= len(batch) <= batch_size for batches in ranks for batch in batches)
    assert sorted(i for batches in ranks for batch in batches for i in batch) == list(range(count))
