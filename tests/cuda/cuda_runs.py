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
from vae_simpsons.checkpoint import Checkpoint, read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.training import engine, run
from vae_simpsons.training.engine import GraphModule
from vae_simpsons.training.stage import StageModule

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
# Rates that 32 bits hold exactly. A graph reads its learning rate from a tensor of 32 bits: where 0.005 is rounded,
# Adam makes of the eighth digit a difference of 1e-4 in some weights after nine steps, and only loose bounds would do.
EXACT = {"optimizer.lr": "0.00390625", "optimizer.lr_decay": "0.5"}
# A spatial autoencoder, then a flow; averages, schedule and likelihood of the sharp configs.
BOTH_STAGES = tuple(
    flags(
        {
            "model.latent": "spatial", "model.width": "16", "model.blocks": "1", "model.latent_channels": "2",
            "objective.sigma": "optimal", "optimizer.kind": "muon", "optimizer.schedule": "cosine",
            "optimizer.ema": "0.9", "trainer.gradient_clip_val": "1", "prior.kind": "flow", "prior.labels": "true",
            "prior.epochs": "3", "prior.batch_size": "8", "prior.width": "16", "prior.depth": "2", "prior.lr": "0.001",
        }
    )
)  # fmt: skip


def allow_graph(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """Lets trainer.engine graph run on a CPU; on a GPU nothing is changed."""
    if device == "cuda":
        return
    build = run.build_module

    def build_module(stage, settings, chosen, resume):
        if chosen.name == "graph":
            return GraphModule(stage, settings, resume, capture=lambda step: step)
        return build(stage, settings, chosen, resume)

    monkeypatch.setattr(engine, "why_no_graph", lambda *_: None)
    monkeypatch.setattr(run, "build_module", build_module)


def arguments(out: Path, pictures: Path, device: str, *extra: str) -> list[str]:
    """What `vae` is given to train the tiny network on `device`, three steps an epoch."""
    settings = TINY | EXACT | {"trainer.accelerator": device, "data.path": str(pictures), "out": str(out)}
    return ["train", *flags(settings), *extra]


def train(out: Path, pictures: Path, device: str, *extra: str) -> Checkpoint:
    """Trains; returns the checkpoint that it leaves."""
    assert main(arguments(out, pictures, device, *extra)) == 0
    return last(out)


def last(out: Path) -> Checkpoint:
    """Returns the run's last checkpoint."""
    return read_checkpoint(out / "last.ckpt")


def rows(out: Path) -> list[dict[str, float]]:
    """Returns the table of a run's epochs, without their times."""
    with open(out / "metrics.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items() if k != "time_s"} for row in csv.DictReader(file)]


def assert_alike(ours: Checkpoint, theirs: Checkpoint, rtol: float, atol: float) -> None:
    """Weights, BatchNorm's statistics, Adam's moments and steps, and the epoch's sums are close to each other."""
    assert ours.position.steps == theirs.position.steps
    torch.testing.assert_close(ours.tensors, theirs.tensors, rtol=rtol, atol=atol)


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
    """Makes the loss of the run's step `number`, counted from 1, NaN; decided on the device, so a graph captures it."""
    measure = StageModule.measure

    def spoiled(self: StageModule, batch: Any) -> Any:
        loss, figures = measure(self, batch)
        loss = torch.where(self.guard.steps == number - 1, torch.nan, loss)
        return loss, torch.cat([loss.detach()[None], figures[1:]])

    monkeypatch.setattr(StageModule, "measure", spoiled)


def random_state(device: str) -> torch.Tensor:
    """The state of the generator that training on `device` draws its noise from."""
    return torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
