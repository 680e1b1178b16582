"""What is not finite is kept from the weights and reported; so is a model that has stopped learning."""

from types import SimpleNamespace

import pytest
import torch
from test_engine import as_graph

from conftest import TINY, flags
from vae_simpsons.checkpoint import read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat
from vae_simpsons.evaluation.sums import ValidationMeans
from vae_simpsons.training.engine import GraphModule
from vae_simpsons.training.health import EPOCHS, Health
from vae_simpsons.training.stage import StageModule
from vae_simpsons.training.stages import AutoencoderStage

SETTINGS = TINY | {"trainer.max_epochs": "3", "trainer.log_every_n_steps": "2"}


def train(out, pictures, *extra: str) -> int:
    return main(["train", *flags(SETTINGS), f"--data.path={pictures}", f"--out={out}", *extra])


def spoil(monkeypatch, calls: set[int], how) -> None:
    """Makes the loss of some training steps, counted from 1, what `how` makes of it."""
    count, measure = 0, StageModule.measure

    def spoiled(self, batch):
        nonlocal count
        count += 1
        loss, figures = measure(self, batch)
        if count not in calls:
            return loss, figures
        loss = how(loss)
        return loss, torch.cat([loss.detach()[None], figures[1:]])

    monkeypatch.setattr(StageModule, "measure", spoiled)


class InfiniteGradient(torch.autograd.Function):
    """The identity, whose gradient is infinite."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")


BAD = {
    "nan": lambda loss: loss * float("nan"),
    "inf": lambda loss: loss + float("inf"),
    "gradient": InfiniteGradient.apply,
}
CLIP = "--trainer.gradient_clip_val=1"


@pytest.mark.parametrize("extra", [(), (CLIP,), ("--trainer.precision=bf16-mixed",)], ids=["plain", "clip", "bf16"])
@pytest.mark.parametrize("how", BAD.values(), ids=BAD.keys())
def test_a_step_that_is_not_finite_stops_the_run_before_it_reaches_the_weights(
    pictures, tmp_path, monkeypatch, capsys, how, extra
):
    spoil(monkeypatch, {5}, how)
    assert train(tmp_path / "run", pictures, "--trainer.save_every_minutes=0", *extra) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "vae: step 5 (epoch 2): the loss or its gradient is not finite; likely the learning rate (0.00475)"
    )
    assert "--optimizer.lr 0.001" in said and said.count("\n") == 1
    assert ("gradient_clip_val" in said) == (CLIP not in extra)
    left = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert left.position.steps == 4
    assert all(w.isfinite().all() for w in left.tensors.values())


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize("how", BAD.values(), ids=BAD.keys())
def test_skipping_leaves_weights_and_statistics_as_they_were(pictures, tmp_path, monkeypatch, capsys, how, engine):
    if engine == "graph":
        as_graph(monkeypatch)
    warm_up = 3 if engine == "graph" else 0
    spoil(monkeypatch, {warm_up + 3}, how)
    states = []

    def on_train_batch_end(self, *args):
        moments = {f"{i} {k}": v.clone() for i, s in enumerate(self.adam.state.values()) for k, v in s.items()}
        network = {k: v.clone() for k, v in self.stage.network.state_dict().items()}
        states.append((self.trainer.global_step, network | moments))

    for kind in (StageModule, GraphModule):
        monkeypatch.setattr(kind, "on_train_batch_end", on_train_batch_end)
    extra = ["--trainer.on_nonfinite=skip", f"--trainer.engine={engine}", "--trainer.max_epochs=2"]
    assert train(tmp_path / "run", pictures, *extra) == 0
    assert "vae: by step 3, 1 steps were left out" in capsys.readouterr().err
    at = dict(states)
    torch.testing.assert_close(at[3], at[2], rtol=0, atol=0)
    assert not all(torch.equal(at[6][k], at[3][k]) for k in at[3])
    table = (tmp_path / "run" / "metrics.csv").read_text()
    assert "nan" not in table and "inf" not in table


def test_an_engine_that_does_many_steps_at_once_stops_at_the_same_one(pictures, tmp_path, monkeypatch, capsys):
    as_graph(monkeypatch)
    spoil(monkeypatch, {3 + 5}, BAD["nan"])  # three steps are for warming up
    assert train(tmp_path / "run", pictures, "--trainer.engine=graph", "--trainer.save_every_minutes=0") == 1
    assert capsys.readouterr().err.startswith("vae: step 5 (epoch 2): ")
    left = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert left.position.steps <= 4 and all(w.isfinite().all() for w in left.tensors.values())


def test_a_validation_that_is_not_finite_ends_in_one_line(pictures, tmp_path, monkeypatch, capsys):
    start = StageModule.on_validation_epoch_start

    def on_validation_epoch_start(self):
        if self.current_epoch == 1:
            self.stage.network.decoder.stages[0][1].running_var.fill_(float("nan"))
        start(self)

    monkeypatch.setattr(StageModule, "on_validation_epoch_start", on_validation_epoch_start)
    assert train(tmp_path / "run", pictures) == 1
    said = capsys.readouterr().err
    assert said.startswith("vae: epoch 2: val/loss is not finite") and said.count("\n") == 1
    left = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert left.epochs == 1 and all(w.isfinite().all() for w in left.tensors.values())


def test_nothing_but_bad_steps_ends_even_a_run_that_skips(pictures, tmp_path, monkeypatch, capsys):
    spoil(monkeypatch, set(range(1, 100)), BAD["nan"])
    assert train(tmp_path / "run", pictures, "--trainer.on_nonfinite=skip") == 1
    assert "every step since step 1 was left out" in capsys.readouterr().err


def test_a_collapsed_posterior_and_a_dead_decoder_are_warned_of_once(capsys):
    stage = AutoencoderStage(from_flat({"data.image_size": 16, "model.widths": [4], "model.latent_dim": 100}))
    trainer, module = SimpleNamespace(is_global_zero=True), SimpleNamespace(stage=stage)

    def warnings_after(*validations: tuple[int, float]) -> str:
        health = Health()
        for active_units, varied in validations:
            stage.means = ValidationMeans(0.1, torch.zeros(100), active_units, varied)
            health.on_validation_end(trainer, module)
        return capsys.readouterr().err

    assert warnings_after(*[(50, 0.8)] * 9) == ""
    collapsed = warnings_after(*[(1, 0.0)] * 9)
    assert collapsed.count("vae: ") == 1 and "collapsed: 1 of 100" in collapsed and "kld_weight" in collapsed
    dead = warnings_after(*[(50, 0.0005)] * 9)
    assert dead.count("vae: ") == 1 and "decoder is dead" in dead
    assert warnings_after(*[(1, 0.0)] * (EPOCHS - 1), (60, 0.5), (1, 0.0)) == ""


def test_reconstructions_of_a_good_run_vary_as_the_pictures_do(pictures, tmp_path, monkeypatch):
    stages = []
    monkeypatch.setattr(Health, "on_validation_end", lambda self, trainer, module: stages.append(module.stage))
    assert train(tmp_path / "run", pictures, "--trainer.max_epochs=1") == 0
    assert 0 < stages[0].means.varied < 2 and "dead decoder" not in stages[0].faults()
