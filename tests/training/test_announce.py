"""What is said before a stage starts: its time, its memory, its classes; saying it changes nothing."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from test_stages import FLOW, assert_equal_runs
from test_stages import train as train_both

from conftest import flags
from vae_simpsons.checkpoint import read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat
from vae_simpsons.data.batches import Batch
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.index import Index
from vae_simpsons.data.pack import Pack
from vae_simpsons.data.split import Split
from vae_simpsons.errors import VAEError
from vae_simpsons.loading import load_network
from vae_simpsons.models import check_prior_size
from vae_simpsons.progress import format_about, no_progress
from vae_simpsons.training import announce, stages
from vae_simpsons.training.announce import classes_in_words
from vae_simpsons.training.stages import build_stage
from vae_simpsons.training.trial import bytes_of_weights, make_step, measure_step

CPU = torch.device("cpu")


def numbered_images(paths: list[str]) -> Dataset:
    """Images of 16x16 pixels that all train but the last."""
    pixels = torch.randint(0, 256, (len(paths), 3, 16, 16), dtype=torch.uint8)
    split = Split(np.arange(len(paths) - 1), np.arange(len(paths) - 1, len(paths)))
    return Dataset(Path(), Pack(Path(), pixels, Index(paths)), split)


def test_a_trial_step_changes_neither_the_stage_nor_the_random_numbers():
    settings = from_flat({"data.image_size": 16, "model.widths": [4], "model.latent_dim": 3, "optimizer.ema": 0.9})
    stage, dataset = build_stage("autoencoder", settings), numbered_images([f"{i}.png" for i in range(9)])
    stage.start(None, dataset, CPU, 1, no_progress)
    stage.average_weights()
    before, state = copy.deepcopy(stage.state_dict()), torch.get_rng_state()
    seconds, memory = measure_step(stage, Batch(stage.inputs[:4], stage.labels[:4]), CPU)
    assert 0 < seconds < 10 and memory > bytes_of_weights(stage)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(stage.state_dict(), before, rtol=0, atol=0)
    assert all(weight.grad is None for weight in stage.parameters())


def test_the_memory_is_that_of_the_saved_activations_the_weights_and_adam():
    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(10, 20, bias=False)  # 200 weights
            self.frozen = torch.nn.Linear(2, 3, bias=False).requires_grad_(False)

        def loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            loss = self.layer(batch.inputs).exp().sum()  # keeps exp's 8 x 20 values; the inputs are there anyway
            return loss, loss.detach()[None]

    stage = Small()
    batch = Batch(torch.randn(8, 10), torch.zeros(8, dtype=torch.int64))
    assert make_step(stage, batch, torch.optim.Adam(stage.parameters())) == 4 * 8 * 20
    assert bytes_of_weights(stage) == 4 * (200 + 6 + 3 * 200)


def test_saying_it_leaves_every_bit_as_it_was(pictures, tmp_path, monkeypatch, capsys):
    assert train_both(tmp_path / "said", pictures) == 0
    monkeypatch.setattr(announce, "measure_step", lambda *_: (60.0, 2 * 10**9))
    capsys.readouterr()
    assert train_both(tmp_path / "unsaid", pictures) == 0
    assert_equal_runs(tmp_path / "said", tmp_path / "unsaid")
    first, second = (part for part in capsys.readouterr().out.split("\n\n") if "takes" in part)
    # 2 epochs of 3 steps, and a validation of 10 images in batches of 8, a third of a step each: 60 * 2 * 3.42 s
    assert "       takes  about 7 minutes and 2 GB\n" in first
    assert "        then  a flow is trained on its latents, 2 epochs\n" in first
    assert [line.split()[0] for line in second.splitlines()] == ["prior", "training", "takes"]


def test_a_resumed_second_stage_says_all_of_it(pictures, tmp_path, monkeypatch, capsys):
    class Killed(Exception):
        """As sudden as a test can be."""

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(stages.PriorStage, "start", killed)
        with pytest.raises(Killed):
            train_both(tmp_path / "run", pictures)
    capsys.readouterr()
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    said = capsys.readouterr().out.split("\n\n")[0]
    names = [line.split()[0] for line in said.splitlines()]
    assert [name for name in names if name != "hint"] == [
        *("device", "engine", "images", "split", "packed", "prior", "training", "takes", "run", "watch")
    ]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.1, "1 s"), (45, "45 s"), (100, "2 minutes"), (3601, "60 minutes"), (9000, "2.5 hours")]
)
def test_a_duration_is_said_as_roughly_as_it_is_known(seconds, said):
    assert format_about(seconds) == said


def test_the_classes_that_are_too_small_are_named():
    paths = [
        f"{name}/{i}.png" for name, count in zip("abcdefg", (5, 4, 1, 1, 1, 1, 1), strict=True) for i in range(count)
    ]
    dataset = numbered_images([*paths, "loose.png"])
    assert dataset.large_classes(4) == ["a", "b"]
    assert classes_in_words(["a", "b", "c", "d", "e", "f", "g"], dataset) == "7 are told to the prior"
    said = classes_in_words(["a"], dataset)
    assert said == "1 are told to the prior; fewer than 100 training images each: b, c, d, e, f and 1 more"
    said = classes_in_words([], numbered_images(["one.png", "two.png"]))
    assert said == "none is told to the prior: the images are in no sub-folders"


def test_a_run_with_classes_that_are_all_too_small_says_so_first_and_trains(pictures, tmp_path, capsys):
    assert train_both(tmp_path / "run", pictures, "--prior.labels=true") == 0
    first = capsys.readouterr().out.split("\n\n")[0]
    assert "classes  none is told to the prior; fewer than 100 training images each: class_0, class_1" in first
    assert read_checkpoint(tmp_path / "run" / "last.ckpt").class_names == []


def test_classes_that_are_large_enough_are_told_and_kept(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "MIN_IMAGES", 10)
    assert main(["train", *flags(FLOW), "--prior.labels=true", f"--data.path={pictures}", "--out=run"]) == 0
    last = read_checkpoint(Path("run", "last.ckpt"))
    assert last.class_names == ["class_0", "class_1"] and load_network(last).prior.class_count == 2
    label = last.tensors["optimizer.velocity.conditioning.label.weight.exp_avg"]
    assert label.abs().sum(1).gt(0).tolist() == [True, True, True]  # no class too, for a tenth of the images


def test_a_prior_too_large_to_fit_is_refused_before_training(pictures, tmp_path, capsys):
    given = ["--prior.kind=gaussian", "--model.latent_dim=20000"]
    assert train_both(tmp_path / "run", pictures, *given) == 1
    said = capsys.readouterr().err
    assert said.startswith("vae: prior.kind: 1 gaussian on latents of 20000, 400,020,001 numbers; 268,435,456")
    assert not (tmp_path / "run").exists()
    with pytest.raises(VAEError, match="prior.width: 60000, 9 layers on latents of 128, .* Give smaller ones"):
        check_prior_size(from_flat({"prior.kind": "flow", "prior.width": 60000, "prior.depth": 9}), 0)
