"""A checkpoint that is whole and ours, and that training cannot go on from."""

import copy

import pytest
import torch

from vae_simpsons import checkpoint
from vae_simpsons.errors import VAEError
from vae_simpsons.training.resumable import check_resumable, difference

ADAM = ("optimizer_states", 0)
LOOP = ("loops", "fit_loop")
GONE = object()


PLACE = {"steps": 2, "totals": torch.zeros(1, 5), "random": torch.zeros(1, 9, dtype=torch.uint8)}


@pytest.fixture
def found(run_folder):
    return checkpoint.read(run_folder / "last.ckpt", "--resume")


def test_a_runs_own_checkpoint_is_resumable(found):
    check_resumable(found)
    found.payload["new"] = {"what": "another version keeps"}
    del found.payload["lr_schedulers"][0]["_is_initial"]
    check_resumable(found)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("optimizer_states",), GONE, "holds no optimizer state to go on from"),
        (("optimizer_states",), [], "optimizer_states is no list of 1"),
        (("optimizer_states",), 3, "optimizer_states is no list of 1"),
        ((*ADAM, "state"), None, "state is no mapping"),
        ((*ADAM, "state", 0, "exp_avg"), torch.zeros(1), "exp_avg is a Tensor that cannot be taken over"),
        ((*ADAM, "state", 0, "step"), 3, "step is a int"),
        ((*ADAM, "param_groups", 0, "betas"), GONE, "param_groups has no betas"),
        ((*ADAM, "param_groups", 0, "betas"), "ab", "betas is no list of 2"),
        ((*ADAM, "param_groups", 0, "lr"), "fast", "lr is a str"),
        ((*ADAM, "param_groups", 0, "amsgrad"), True, "amsgrad is True"),
        ((*ADAM, "param_groups", 0, "capturable"), True, "capturable is True"),
        ((*ADAM, "param_groups", 0, "params"), [0], "params is no list of 32"),
        (("state_dict", "network.encoder.mu.bias"), GONE, "state_dict has no network.encoder.mu.bias"),
        (("global_step",), -1, "global_step is a int"),
        (("global_step",), True, "global_step is a bool"),
        (("loops",), {}, "loops has no fit_loop"),
        ((*LOOP, "epoch_progress", "current", "ready"), GONE, "current has no ready"),
        ((*LOOP, "epoch_progress", "current", "ready"), 2**70, "ready is a int"),
        ((*LOOP, "epoch_progress", "current", "started"), 1, "current counts what cannot be"),
        ((*LOOP, "epoch_progress", "current", "ready"), 9, "current counts what cannot be"),
        (("epochs_done",), 1, "it counts 1 epochs, and Lightning 2"),
        ((*LOOP, "epoch_loop.batch_progress", "is_last_batch"), 1, "is_last_batch is a int"),
        (("callbacks", "KeepCheckpoints"), {}, "KeepCheckpoints has no best_loss"),
        (("pytorch-lightning_version",), "1.9.0", "written by Lightning 1.9.0"),
        (("pytorch-lightning_version",), "new", "it does not say by which Lightning"),
        (("interrupted",), 3, "interrupted is no place in an epoch"),
        (("interrupted",), PLACE | {"steps": 0}, "it counts 0 steps of an epoch"),
        (("interrupted",), PLACE | {"steps": 2**40}, "it counts 1099511627776 steps of an epoch"),
        (("interrupted",), PLACE | {"totals": torch.zeros(1, 4)}, "interrupted has no sums"),
        (("interrupted",), PLACE | {"random": torch.zeros(2, 9)}, "interrupted has no sums"),
    ],
)
def test_what_is_missing_or_of_another_kind_is_named(found, place, value, said):
    payload = copy.deepcopy(found.payload)
    holder = payload
    for key in place[:-1]:
        holder = holder[key]
    if value is GONE:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    with pytest.raises(VAEError, match="--resume: .*last.ckpt") as caught:
        check_resumable(checkpoint.Checkpoint(found.path, found.config, payload))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_may_be_any_that_are_of_their_kind():
    assert difference({"a": 7, "b": float("nan"), "c": 2}, {"a": 0, "b": 0.0, "c": 0.5}, "x") is None
    assert difference({"a": None}, {"a": True}, "x") is difference({"a": False}, {"a": None}, "x") is None
    assert difference({"a": 0.5}, {"a": 0}, "x") == "a is a float that cannot be taken over"
