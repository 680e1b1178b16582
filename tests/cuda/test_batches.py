"""The batches that reach the device, and what is drawn on it."""

import numpy as np
import pytest
import torch
from PIL import Image

from cuda_runs import DEVICES, allow_graph, train
from vae_simpsons import VAE
from vae_simpsons.cli import main
from vae_simpsons.data.batches import Batch, CopiedAhead, EvalBatches, TrainBatches

PIXELS = torch.randint(0, 256, (150, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
ONE_GREY_LEVEL = 1 / 127.5  # of pixels in [-1, 1]


def on_cpu(batch: Batch) -> Batch:
    return Batch(*(part.cpu() for part in batch))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("chunk_ends", [None, [4, 8, 9]], ids=["batches", "chunks"])
def test_pixels_on_the_device_and_pixels_copied_ahead_are_the_same_batches(monkeypatch, device, chunk_ends):
    if device == "cpu":
        monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    settings = {"batch_size": 16, "seed": 3, "epoch": 2, "horizontal_flip": True, "chunk_ends": chunk_ends}
    order = np.arange(149)
    labels = torch.arange(150)
    for make, given in ((TrainBatches, settings), (EvalBatches, {"batch_size": 32})):
        there = [on_cpu(batch) for batch in make(PIXELS.to(device), labels.to(device), order, **given)]
        ahead = CopiedAhead(make(PIXELS, labels, order, **given), torch.device(device))
        for _ in range(3):  # buffers are used again
            copied = [Batch(batch.inputs + 0, batch.labels + 0) for batch in ahead]
            assert all(part.device.type == device for batch in copied for part in batch)
            assert len(copied) == len(there)
            for ours, theirs in zip(copied, there, strict=True):
                torch.testing.assert_close(on_cpu(ours), theirs, rtol=0, atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_is_the_same_wherever_its_pixels_are(pictures, tmp_path, monkeypatch, device):
    allow_graph(monkeypatch, device)
    way = ["--trainer.deterministic=true", "--trainer.engine=graph", "--data.horizontal_flip=true"]
    resident = train(tmp_path / "resident", pictures, device, *way)
    copied = train(tmp_path / "copied", pictures, device, *way, "--data.gpu_share=0")
    torch.testing.assert_close(resident.tensors, copied.tensors, rtol=0, atol=0)
    assert copied.position.steps == 6


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_draws_and_encodes_what_a_cpu_does(run_folder, device):
    """To within one grey level: a GPU's convolutions may round to TF32."""
    here, there = (VAE.load(run_folder / "last.ckpt", on) for on in ("cpu", device))
    x = torch.rand(70, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert next(there.network.parameters()).device.type == device
    for ours, theirs in (
        (there.sample(300, seed=7), here.sample(300, seed=7)),
        (there.reconstruct(x), here.reconstruct(x)),
        (there.encode(x)[0], here.encode(x)[0]),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=ONE_GREY_LEVEL)


@pytest.mark.parametrize("device", DEVICES)
def test_the_command_draws_the_same_grid_on_a_device(run_folder, tmp_path, device):
    grids = []
    for on in ("cpu", device):
        out = tmp_path / f"{on}.png"
        ckpt = run_folder / "last.ckpt"
        assert main(["sample", f"--ckpt={ckpt}", "-n", "16", f"--device={on}", f"--out={out}"]) == 0
        with Image.open(out) as picture:
            grids.append(np.asarray(picture).astype(int))
    assert np.abs(grids[0] - grids[-1]).max() <= 2
