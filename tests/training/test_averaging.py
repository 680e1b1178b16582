"""Averaged weights: torch's own average, kept beside the raw ones, and used for all that is shown."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from conftest import TINY, flags
from vae_simpsons.checkpoint import AVERAGE, NETWORK, read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.loading import load_network
from vae_simpsons.training.averaging import decay_at, update_average
from vae_simpsons.training.stage import StageModule
from vae_simpsons.training.stages import AutoencoderStage


def train(out: Path, pictures: Path, *extra: str) -> None:
    given = [*flags(TINY), f"--data.path={pictures}", f"--out={out}", "--optimizer.ema=0.5", *extra]
    assert main(["train", *given]) == 0


def test_the_average_is_torchs_with_the_same_decays():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    decays = [decay_at(step, 0.3) for step in range(12)]
    assert decays[0] == 0.1 and decays[1] == 2 / 11 and decays[-1] == 0.3

    def torchs(average, weight, count):  # torch copies the first weights, and counts from there
        kept = decays[int(count) - 1]
        return kept * average + (1 - kept) * weight

    theirs, ours = AveragedModel(network, avg_fn=torchs), AveragedModel(network).requires_grad_(False)
    theirs.update_parameters(network)
    for step in range(12):
        network(torch.randn(5, 3, 4, 4))  # BatchNorm's statistics change too
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn_like(weight))
        update_average(ours, network, step, 0.3)
        theirs.update_parameters(network)
    torch.testing.assert_close(list(ours.module.parameters()), list(theirs.module.parameters()))
    torch.testing.assert_close(list(ours.module.buffers()), list(network.buffers()), rtol=0, atol=0)
    assert not any(weight.requires_grad for weight in ours.parameters())


def test_the_average_validates_draws_and_is_loaded_and_the_raw_weights_are_kept(pictures, tmp_path, monkeypatch):
    steps, shown = [], []
    after_step = StageModule.on_train_batch_end

    def on_train_batch_end(self, *args):
        after_step(self, *args)
        steps.append({name: tensor.clone() for name, tensor in self.stage.network.state_dict().items()})

    def pictures_of(self, originals, columns):
        shown.append(self.final is self.averaged.module and not self.final.training)
        return {}

    monkeypatch.setattr(StageModule, "on_train_batch_end", on_train_batch_end)
    monkeypatch.setattr(AutoencoderStage, "pictures", pictures_of)
    train(tmp_path / "run", pictures)
    last = read_checkpoint(tmp_path / "run" / "last.ckpt")
    raw, average = last.part(NETWORK), last.part(AVERAGE)
    torch.testing.assert_close(raw, steps[-1], rtol=0, atol=0)
    name, statistic = "decoder.to_image.0.weight", "encoder.stages.0.1.running_var"
    first = build_first(last)[name]
    expected = first
    for step, weights in enumerate(steps):
        expected = torch.lerp(expected, weights[name], 1 - min(0.5, (1 + step) / (10 + step)))
    torch.testing.assert_close(average[name], expected)
    assert torch.equal(average[statistic], raw[statistic]) and not torch.equal(average[name], raw[name])
    torch.testing.assert_close(load_network(last).state_dict(), average, rtol=0, atol=0)
    assert shown == [True, True]


def build_first(checkpoint) -> dict[str, torch.Tensor]:
    """The weights that a run begins with."""
    from vae_simpsons.training.stages import build_stage

    return build_stage("autoencoder", checkpoint.settings).network.state_dict()


def test_validation_measures_the_average(pictures, tmp_path, monkeypatch):
    measured = []
    validate = AutoencoderStage.validate

    def validated(self, batch):
        measured.append(self.final.decoder.to_image[0].weight.clone())
        validate(self, batch)

    monkeypatch.setattr(AutoencoderStage, "validate", validated)
    train(tmp_path / "run", pictures, "--trainer.max_epochs=1")
    average = read_checkpoint(tmp_path / "run" / "last.ckpt").part(AVERAGE)
    assert torch.equal(measured[-1], average["decoder.to_image.0.weight"])


def test_validation_runs_the_average_and_nothing_else(pictures, tmp_path, monkeypatch):
    measured = []
    start = AutoencoderStage.start_validation

    def start_validation(self, device, seed):
        start(self, device, seed)
        for network in (self.network, self.averaged.module):
            network.register_forward_hook(lambda layer, *_: measured.append(layer is self.averaged.module))

    monkeypatch.setattr(AutoencoderStage, "start_validation", start_validation)
    train(tmp_path / "run", pictures, "--trainer.max_epochs=1")
    assert measured and all(measured)


@pytest.mark.parametrize("way", ["--trainer.on_nonfinite=skip", "--trainer.precision=bf16-mixed"])
def test_averaging_goes_with_the_other_ways_to_train(pictures, tmp_path, way):
    train(tmp_path / "run", pictures, way, "--trainer.max_epochs=1")
    assert all(t.isfinite().all() for t in read_checkpoint(tmp_path / "run" / "last.ckpt").tensors.values())
