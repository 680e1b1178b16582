"""Runs on a device for the tests beside this file; all that these know of the package's inside is here.

Most test bodies run on a CPU too, where they show that the test itself is right. There a graph replays by calling the
step that it would have captured: everything that a graph does but its capture.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from conftest import TINY, flags
from vae_simpsons.cli import main
from vae_simpsons.training import engine, run
from vae_simpsons.training.engine import GraphModule
from vae_simpsons.training.module import VAEModule

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
Payload = dict[str, Any]
# Rates that 32 bits hold exactly. A graph reads its learning rate from a tensor of 32 bits: where 0.005 is rounded,
# Adam makes of the eighth digit a difference of 1e-4 in some weights after nine steps, and only loose bounds would do.
EXACT = {"optimizer.lr": "0.00390625", "optimizer.lr_decay": "0.5"}


def allow_graph(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """Let trainer.engine graph run on a CPU; on a GPU nothing is changed."""
    if device == "cpu":
        monkeypatch.setattr(engine, "no_graph", lambda *_: None)
        graph = lambda settings: GraphModule(settings, lambda step: step)  # noqa: E731
        build = run.build_module
        monkeypatch.setattr(run, "build_module", lambda s, way: graph(s) if way.name == "graph" else build(s, way))


def arguments(out: Path, pictures: Path, device: str, *extra: str) -> list[str]:
    """What `vae` is given to train the tiny network on `device`, three steps an epoch."""
    settings = TINY | EXACT | {"trainer.accelerator": device, "data.path": str(pictures), "out": str(out)}
    return ["train", *flags(settings), *extra]


def train(out: Path, pictures: Path, device: str, *extra: str) -> Payload:
    """Train; what last.ckpt holds then."""
    assert main(arguments(out, pictures, device, *extra)) == 0
    return last(out)


def last(out: Path) -> Payload:
    """What the run's last.ckpt holds, on the CPU."""
    return torch.load(out / "last.ckpt", weights_only=True)


def rows(out: Path) -> list[dict[str, float]]:
    """The table of a run's epochs, without their times."""
    with open(out / "metrics.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items() if k != "time_s"} for row in csv.DictReader(file)]


def assert_alike(ours: Payload, theirs: Payload, rtol: float, atol: float) -> None:
    """Weights, BatchNorm's statistics, Adam's moments and steps, learning rate: close to each other."""
    assert ours["global_step"] == theirs["global_step"]
    torch.testing.assert_close(ours["state_dict"], theirs["state_dict"], rtol=rtol, atol=atol)
    a, b = ours["optimizer_states"][0], theirs["optimizer_states"][0]
    torch.testing.assert_close(a["state"], b["state"], rtol=rtol, atol=atol)
    assert float(a["param_groups"][0]["lr"]) == pytest.approx(float(b["param_groups"][0]["lr"]), rel=1e-6)


def call_after_steps(monkeypatch: pytest.MonkeyPatch, call: Callable[[pl.Trainer, pl.LightningModule], None]) -> None:
    """Have every run call `call` after each batch, or each chunk of batches."""
    fit = pl.Trainer.fit

    class Caller(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
            call(trainer, module)

    def fit_and_call(self: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        self.callbacks.append(Caller())
        fit(self, *args, **kwargs)

    monkeypatch.setattr(pl.Trainer, "fit", fit_and_call)


def spoil_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make the loss of the run's step `number`, counted from 1, NaN; decided on the device, so a graph captures it."""
    terms = VAEModule.terms

    def spoiled(self: VAEModule, *parts: Any) -> Any:
        found = terms(self, *parts)
        return found._replace(loss=torch.where(self.guard.steps == number - 1, torch.nan, found.loss))

    monkeypatch.setattr(VAEModule, "terms", spoiled)


def random_state(device: str) -> torch.Tensor:
    """The state of the generator that training on `device` draws its noise from."""
    return torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
