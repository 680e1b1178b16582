"""What Lightning is served: each process its own share, each epoch its own order, each epoch its own noise."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import TINY, flags
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat
from vae_simpsons.data.batches import CopiedAhead
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.index import Index
from vae_simpsons.data.pack import Pack
from vae_simpsons.data.split import Split
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import Data, Settings
from vae_simpsons.training.datamodule import ImagesDataModule
from vae_simpsons.training.engine import Engine, build_module
from vae_simpsons.training.stage import StageModule
from vae_simpsons.training.stages import build_stage

TINY_SETTINGS = {"data.image_size": 16, "model.widths": [4], "model.latent_dim": 2}
PATHS = [f"class_{i // 10}/{i % 10}.png" for i in range(100)]
PIXELS = torch.arange(100, dtype=torch.uint8)[:, None, None, None].repeat(1, 3, 2, 2)


def served(epoch=0, rank=0, world=1, device="cpu", **data) -> ImagesDataModule:
    """A DataModule of 80 numbered images that train and 20 that validate."""
    dataset = Dataset(Path(), Pack(Path(), PIXELS, Index(PATHS)), Split(np.arange(80), np.arange(80, 100)))
    settings = Settings(data=Data(batch_size=4, **data))
    stage, strategy = build_stage("autoencoder", settings), SimpleNamespace(root_device=torch.device(device))
    stage.start(None, dataset, strategy.root_device, world, no_progress)
    module = ImagesDataModule(stage, dataset, settings)
    module.trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank, world_size=world, strategy=strategy)
    return module


def numbers(batches) -> list[int]:
    return [int(i) for batch in batches for i in batch.inputs[:, 0, 0, 0]]


def test_each_process_trains_on_its_own_share_and_validates_its_own():
    ranks = [served(rank=rank, world=2) for rank in range(2)]
    trained = [numbers(module.train_dataloader()) for module in ranks]
    validated = [numbers(module.val_dataloader()) for module in ranks]
    assert sorted(trained[0] + trained[1]) == list(range(80)) and not set(trained[0]) & set(trained[1])
    assert sorted(validated[0] + validated[1]) == list(range(80, 100)) and len(validated[0]) == 10


def test_labels_belong_to_their_pixels_in_every_process():
    for module in (served(rank=rank, world=2) for rank in range(2)):
        for batch in [*module.train_dataloader(), *module.val_dataloader()]:
            assert batch.labels.tolist() == [int(i) // 10 for i in batch.inputs[:, 0, 0, 0]]


def test_each_epoch_has_its_order_and_the_seed_and_mirroring_are_the_configs():
    assert numbers(served(epoch=0).train_dataloader()) != numbers(served(epoch=1).train_dataloader())
    assert served(epoch=3).train_dataloader().epoch == 3 and served().train_dataloader().seed == Settings().seed
    assert served(horizontal_flip=True).train_dataloader().horizontal_flip
    assert not served().train_dataloader().horizontal_flip


def test_images_go_to_a_gpu_that_has_room_and_are_copied_ahead_where_it_has_not(monkeypatch):
    monkeypatch.setattr("vae_simpsons.data.batches.free_memory", lambda device: 2 * PIXELS.nbytes)
    roomy, full = served(device="meta", gpu_share=0.5), served(device="meta", gpu_share=0.4)
    for module in (roomy, full):
        module.setup("fit")
    assert roomy.inputs.device.type == roomy.labels.device.type == "meta"
    assert full.inputs.device.type == full.labels.device.type == "cpu"
    cuda = served(device="cuda")  # named, never used: there may be none
    assert isinstance(cuda.train_dataloader(), CopiedAhead) and isinstance(cuda.val_dataloader(), CopiedAhead)
    assert not isinstance(served().train_dataloader(), CopiedAhead)


@pytest.fixture
def recorded(pictures, monkeypatch):
    """Of each step of a run of three epochs, three steps each: what its batch adds up to, and its noise's seed."""
    steps: dict[int, list] = {}
    measure = StageModule.measure

    def recorded_measure(self, batch):
        steps.setdefault(len(steps), [batch.inputs.sum().item(), torch.initial_seed()])
        return measure(self, batch)

    monkeypatch.setattr(StageModule, "measure", recorded_measure)
    arguments = ["train", *flags(TINY), f"--data.path={pictures}", "--trainer.max_epochs=3", "--out=run"]
    assert main(arguments) == 0
    return list(steps.values())


def test_every_step_of_a_real_run_has_another_batch_and_other_noise(recorded):
    assert len(recorded) == 9
    assert len({total for total, _ in recorded}) == len({seed for _, seed in recorded}) == 9


def noise_seeds(monkeypatch, epoch: int = 0, rank: int = 0, stage: int = 0, **settings) -> list[int]:
    """The seeds of an epoch of five steps."""
    monkeypatch.setattr(StageModule, "current_epoch", epoch)
    monkeypatch.setattr(StageModule, "global_rank", rank)
    monkeypatch.setattr(StageModule, "steps_per_epoch", 5)
    monkeypatch.setattr(StageModule, "log", lambda *args, **kwargs: None)
    monkeypatch.setattr(StageModule, "adam", SimpleNamespace(param_groups=[{"lr": 1.0}]))
    settings = from_flat(TINY_SETTINGS | settings)
    first = build_stage("autoencoder", settings)
    first.number = stage
    module = build_module(first, settings, Engine("eager", ""), None)
    module.on_train_epoch_start()
    return module.noise_seeds


def test_the_noise_of_a_step_follows_from_seed_stage_epoch_step_and_process(monkeypatch):
    first = noise_seeds(monkeypatch)
    assert first == noise_seeds(monkeypatch) and len(set(first)) == 5
    others = [{"seed": 7}, {"stage": 1}, {"epoch": 1}, {"rank": 1}]
    assert not any(set(noise_seeds(monkeypatch, **other)) & set(first) for other in others)


def test_validation_draws_no_noise_that_training_would_have_had(pictures, monkeypatch):
    states = []
    step = StageModule.validation_step

    def validation_step(self, batch, batch_idx):
        states.append(torch.get_rng_state())
        step(self, batch, batch_idx)
        states.append(torch.get_rng_state())

    monkeypatch.setattr(StageModule, "validation_step", validation_step)
    assert main(["train", *flags(TINY), f"--data.path={pictures}", "--trainer.max_epochs=1", "--out=run"]) == 0
    assert len(states) >= 2 and all(torch.equal(a, b) for a, b in zip(states[::2], states[1::2], strict=True))
