"""Between two loggings nothing waits for the device: read on paper, and watched.

A chunk is the batches from one logging step to the next. On paper, for trainer.engine graph with the images on the
device, this is all that Python asks of the device in one chunk (src/vae_simpsons/training/engine.py, data/batches.py):

TrainBatches: order[part] is a view, pixels[...] and labels[...] a gather kernel each. Allocates the chunk, at most 64
MiB of pixels, from torch's cache, and twice more where images are mirrored.
CopiedAhead, where the images are not on the device: another thread gathers, pins and copies, on a stream of its own.
Pixels and labels are a copy each from the host a chunk; the training stream waits for their event, Python does not.
Lightning: moves the batch to the device, where it is already. Nothing.
GraphModule.training_step, for each batch: pixels and labels copied into the graph's input, the generator seeded (on the
host; the replay fills its seed and offset on the device), one launch. Inside the graph: forward, backward, guard,
clipping, Adam, sums, in memory that the capture allocated.
after_steps: clones of one number. In an epoch's last chunk: a division for each figure; at the next epoch's start a
fill of the learning rate.
SaveCheckpoints, when it is time: clones of weights and moments (47 MB for the published network) and an event; another
thread copies them to the host on a stream of its own.
Health, in the first chunk after a logging step: WAITS, for the count of bad steps, 8 bytes.
Lightning, after a logging step: WAITS, for train/loss_step, 4 bytes.

Once an epoch, when the last figures have been read and the device has nothing to do anyway: the order of the images
goes to the device (90 kB for 11,250), the mirrored ones too where images are mirrored; the validation's sums come back.
Lightning sets the sums of what it logs to zero, with copies of a few bytes. Once a run: three steps to warm up and the
capture, which waits for the device as often as it likes, and the first use of each logged name.

The eager engine asks for the same, kernel by kernel: Adam is fused, leaves bad steps out by itself, and takes its
learning rate as a number; clipping and the guard compute with tensors. Autocast keeps no copies of weights (Lightning
turns its cache off), which a graph would replay after the weights have changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cuda_runs import BOTH_STAGES, DEVICES, allow_graph, train
from vae_simpsons.training.muon import Muon
from vae_simpsons.training.saving import SaveCheckpoints

READS = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique", "item"}


class Reads(TorchDispatchMode):
    """Notes what a GPU would have to be waited for: results that are a number, or whose size the data decide."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at the operator's name and run it."""
        name = func.overloadpacket.__name__
        if name in READS:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def refusing_to_wait(device: str) -> Iterator[None]:
    """Fail where the block waits for the device; on a CPU, where it would on a GPU."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return
    with Reads() as reads:
        yield
    assert not reads.found


def wait_for_writes(module: pl.LightningModule) -> None:
    """Wait for the thread that brings a checkpoint to the CPU: torch watches every thread, and that one may wait."""
    for callback in module.trainer.callbacks:
        if isinstance(callback, SaveCheckpoints):
            callback.run.writer.finish()


EVERYTHING = ("--trainer.gradient_clip_val=1", "--trainer.on_nonfinite=skip", "--data.horizontal_flip=true")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize("extra", [(), EVERYTHING, BOTH_STAGES], ids=["plain", "all", "flow"])
def test_no_step_waits_for_the_device(pictures, tmp_path, monkeypatch, device, engine, extra):
    """Each training_step of the second epoch, and the plain engine's optimizer's step; the first sets all up."""
    allow_graph(monkeypatch, device)
    watched = []
    step = pl.strategies.Strategy.training_step

    def training_step(self: pl.strategies.Strategy, *args: Any) -> Any:
        module = self.lightning_module
        if module.current_epoch == 0:
            return step(self, *args)
        wait_for_writes(module)
        with refusing_to_wait(device):
            watched.append(module.trainer.global_step)
            return step(self, *args)

    def watched_step(optimizer_step: Any) -> Any:
        def step_and_watch(self: torch.optim.Optimizer, closure: Any = None) -> Any:
            loss = (
                closure() if closure is not None else None
            )  # forward and backward, which training_step's watch covers
            with refusing_to_wait(device) if self.state else nullcontext():
                optimizer_step(self)
            return loss

        return step_and_watch

    monkeypatch.setattr(pl.strategies.Strategy, "training_step", training_step)
    if engine == "eager":
        for kind in (torch.optim.Adam, torch.optim.AdamW, Muon):  # torch wraps the step of each in place, for good
            monkeypatch.setattr(kind, "step", watched_step(kind.step))
    way = [f"--trainer.engine={engine}", "--trainer.log_every_n_steps=2", "--trainer.max_epochs=2"]
    train(tmp_path / "run", pictures, device, *way, *extra)
    expected = [3, 4, 5] if engine == "eager" else [3, 4]
    if extra == BOTH_STAGES:  # of which the flow has three epochs
        expected += [3, 4, 5, 6, 7, 8] if engine == "eager" else [3, 4, 6, 8]
    assert watched == expected
