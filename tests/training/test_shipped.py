"""Every config that is shipped trains two steps of each of its stages, with few pictures and a small network."""

import csv
from pathlib import Path

import pytest

from conftest import CONFIGS, flags
from vae_simpsons.checkpoint import read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat, read_yaml
from vae_simpsons.loading import load_network

SHRUNK = {
    "data.toons": "24",
    "data.train_fraction": "0.75",
    "data.batch_size": "8",
    "model.width": "8",
    "model.blocks": "1",
    "model.latent_dim": "8",
    "prior.epochs": "1",
    "prior.batch_size": "8",
    "prior.width": "8",
    "prior.depth": "1",
    "trainer.max_epochs": "1",
    "trainer.accelerator": "cpu",
    "trainer.engine": "eager",
    "trainer.evaluate_every": "null",
}


@pytest.mark.parametrize("config", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_a_shipped_config_trains_two_steps_of_each_stage(pictures, config):
    settings = from_flat(read_yaml(config))
    shrunk = SHRUNK | {"model.widths": str([4] * len(settings.model.widths)), "out": "run"}
    if settings.data.path != "toons":
        shrunk |= {"data.path": str(pictures), "data.train_fraction": "0.5"}
    if settings.trainer.precision in ("16-mixed", "tf32"):
        shrunk["trainer.precision"] = "bf16-mixed"
    assert main(["train", f"--config={config}", *flags(shrunk)]) == 0
    last = read_checkpoint(Path("run", "last.ckpt"))
    assert all(tensor.isfinite().all() for tensor in last.tensors.values())
    tables = ["metrics.csv"] + ["prior_metrics.csv"] * (settings.prior.kind == "flow")
    for table in tables:
        with open(Path("run", table), newline="") as file:
            assert [row["step"] for row in csv.DictReader(file)] == ["2"]
    assert load_network(last).prior.latent_shape
