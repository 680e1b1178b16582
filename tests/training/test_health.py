"""What is not finite is kept from the weights and said; so is a model that has stopped to learn."""

from types import SimpleNamespace

import pytest
import torch
from test_engine import as_graph

from conftest import TINY, flags
from vae_simpsons import objective
from vae_simpsons.cli import main
from vae_simpsons.training.health import EPOCHS, Health, faults
from vae_simpsons.training.module import VAEModule

SETTINGS = TINY | {"trainer.max_epochs": "3", "trainer.log_every_n_steps": "2"}


def train(out, pictures, *extra: str) -> int:
    return main(["train", *flags(SETTINGS), f"--data.path={pictures}", f"--out={out}", *extra])


def spoil(monkeypatch, calls: set[int], how) -> None:
    """Make the loss of some training steps, counted from 1, what `how` makes of it."""
    count, terms = 0, VAEModule.terms

    def spoiled(self, recon, x, mu, log_var):
        nonlocal count
        count += 1
        loss, mse, kl = terms(self, recon, x, mu, log_var)
        return objective.Terms(how(loss) if count in calls else loss, mse, kl)

    monkeypatch.setattr(VAEModule, "terms", spoiled)


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
    left = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert left["global_step"] == 4
    assert all(w.isfinite().all() for w in left["state_dict"].values())


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize("how", BAD.values(), ids=BAD.keys())
def test_skipping_leaves_weights_and_statistics_as_they_were(pictures, tmp_path, monkeypatch, capsys, how, engine):
    if engine == "graph":
        as_graph(monkeypatch)
    warm_up = 3 if engine == "graph" else 0
    spoil(monkeypatch, {warm_up + 3}, how)
    states = []
    end = VAEModule.on_train_batch_end

    def on_train_batch_end(self, *args):
        adam = self.optimizers(use_pl_optimizer=False)
        moments = {f"{i} {k}": v.clone() for i, s in enumerate(adam.state.values()) for k, v in s.items()}
        network = {k: v.clone() for k, v in self.network.state_dict().items()}
        states.append((self.trainer.global_step, network | moments))
        return end(self, *args)

    monkeypatch.setattr(VAEModule, "on_train_batch_end", on_train_batch_end)
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
    left = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert left["global_step"] <= 4 and all(w.isfinite().all() for w in left["state_dict"].values())


def test_a_validation_that_is_not_finite_ends_in_one_line(pictures, tmp_path, monkeypatch, capsys):
    start = VAEModule.on_validation_epoch_start

    def on_validation_epoch_start(self):
        if self.current_epoch == 1:
            self.network.decoder.stages[0][1].running_var.fill_(float("nan"))
        start(self)

    monkeypatch.setattr(VAEModule, "on_validation_epoch_start", on_validation_epoch_start)
    assert train(tmp_path / "run", pictures) == 1
    said = capsys.readouterr().err
    assert said.startswith("vae: epoch 2: val/loss is not finite") and said.count("\n") == 1
    left = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert left["epochs_done"] == 1 and all(w.isfinite().all() for w in left["state_dict"].values())


def test_nothing_but_bad_steps_ends_even_a_run_that_skips(pictures, tmp_path, monkeypatch, capsys):
    spoil(monkeypatch, set(range(1, 100)), BAD["nan"])
    assert train(tmp_path / "run", pictures, "--trainer.on_nonfinite=skip") == 1
    assert "every step since step 1 was left out" in capsys.readouterr().err


def test_a_collapsed_posterior_and_a_dead_decoder_are_warned_of_once(capsys):
    network = SimpleNamespace(latent_dim=100, variational=True)
    trainer = SimpleNamespace(is_global_zero=True)

    def validated(*found: tuple[int, float]) -> str:
        health = Health()
        for active, varied in found:
            health.on_validation_end(trainer, SimpleNamespace(network=network, active_units=active, varied=varied))
        return capsys.readouterr().err

    assert validated(*[(50, 0.8)] * 9) == ""
    collapsed = validated(*[(1, 0.0)] * 9)
    assert collapsed.count("vae: ") == 1 and "collapsed: 1 of 100" in collapsed and "kld_weight" in collapsed
    dead = validated(*[(50, 0.0005)] * 9)
    assert dead.count("vae: ") == 1 and "decoder is dead" in dead
    assert validated(*[(1, 0.0)] * (EPOCHS - 1), (60, 0.5), (1, 0.0)) == ""


def test_what_validation_finds_varies_as_the_pictures_do(pictures, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Health, "on_validation_end", lambda self, trainer, module: seen.append(module))
    assert train(tmp_path / "run", pictures, "--trainer.max_epochs=1") == 0
    assert 0 < seen[0].varied < 2 and not faults(seen[0])["dead decoder"]
