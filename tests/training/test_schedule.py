"""The learning rate and the weight of the KL term, step by step."""

import math

import pytest

from vae_simpsons.settings import Optimizer
from vae_simpsons.training.schedule import kl_share, learning_rate


def rates(steps_per_epoch: int, epochs: int, **settings) -> list[float]:
    chosen = Optimizer(**settings)
    return [learning_rate(chosen, step, steps_per_epoch, epochs) for step in range(steps_per_epoch * epochs)]


def test_exponential_is_the_published_rate_of_each_epoch():
    assert rates(3, 4, lr=0.005, lr_decay=0.95) == [0.005 * 0.95**epoch for epoch in range(4) for _ in range(3)]


def test_constant_stays():
    assert set(rates(3, 4, schedule="constant", lr=0.1)) == {0.1}


def test_cosine_begins_at_lr_has_half_of_it_in_the_middle_and_ends_near_zero():
    found = rates(10, 10, schedule="cosine", lr=2.0)
    assert found[0] == 2.0 and found[50] == pytest.approx(1.0)
    assert 0 < found[-1] < 0.001 and found[-1] == pytest.approx(1 - math.cos(math.pi / 100))
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("schedule", ["exponential", "cosine", "constant"])
def test_warm_up_grows_to_lr_step_by_step_and_every_schedule_follows(schedule):
    found = rates(100, 2, schedule=schedule, lr=1.0, warmup_steps=4)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0] and found[4] == 1.0
    assert max(found) == 1.0


def test_a_warm_up_longer_than_the_run_never_ends():
    assert rates(2, 1, schedule="cosine", lr=1.0, warmup_steps=10) == pytest.approx([0.1, 0.2])


def test_the_share_of_the_kl_grows_to_one_over_the_warm_up_epochs():
    assert [kl_share(2.0, step, 4) for step in range(10)] == [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8, 1, 1]
    assert [kl_share(0.5, step, 4) for step in range(4)] == [0, 0.5, 1, 1]
    assert kl_share(0.0, 0, 4) == 1.0
