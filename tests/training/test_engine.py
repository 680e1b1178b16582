"""The fast engine against the plain loop, which is its reference."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import TINY, flags
from vae_simpsons.checkpoint import OPTIMIZER, Checkpoint, read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.index import Index
from vae_simpsons.data.pack import Pack
from vae_simpsons.data.split import Split
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import no_progress
from vae_simpsons.training import engine, run
from vae_simpsons.training.datamodule import ImagesDataModule
from vae_simpsons.training.engine import Engine, GraphModule, choose_engine, chunk_ends, chunk_steps
from vae_simpsons.training.stage import StageModule
from vae_simpsons.training.stages import build_stage

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def as_graph(monkeypatch, capture=lambda step: step) -> None:
    """Lets trainer.engine graph run on a CPU: everything that a graph does but its capture."""
    monkeypatch.setattr(engine, "why_no_graph", lambda *_: None)
    monkeypatch.setattr(
        run, "build_module", lambda stage, settings, _, resume: GraphModule(stage, settings, resume, capture)
    )


def train(out: Path, pictures: Path, name: str, *extra: str) -> Checkpoint:
    """Trains with the tiny settings; returns the checkpoint that it leaves."""
    given = [*flags(TINY), f"--data.path={pictures}", f"--out={out}", f"--trainer.engine={name}", *extra]
    assert main(["train", *given]) == 0
    return read_checkpoint(out / "last.ckpt")


@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("--trainer.gradient_clip_val=0.01",),
        ("--trainer.log_every_n_steps=2", "--data.horizontal_flip=true"),
        ("--model.variational=false", "--optimizer.weight_decay=0.1"),
        ("--trainer.precision=bf16-mixed",),
    ],
)
def test_fast_steps_are_the_plain_loops(pictures, tmp_path, monkeypatch, extra):
    plain = train(tmp_path / "plain", pictures, "eager", "--trainer.max_epochs=3", *extra)
    as_graph(monkeypatch)
    fast = train(tmp_path / "fast", pictures, "graph", "--trainer.max_epochs=3", *extra)
    are_alike(tmp_path, fast, plain, rtol=1e-5, atol=1e-6)


def are_alike(folder: Path, fast: Checkpoint, plain: Checkpoint, **close: float) -> None:
    """Weights, statistics, optimizer, steps and curves (the learning rate's too) of the runs in fast/ and plain/."""
    assert fast.part(OPTIMIZER)
    torch.testing.assert_close(fast.tensors, plain.tensors, **close)
    assert fast.position.steps == plain.position.steps == 9
    assert curves(folder / "fast") == curves(folder / "plain")
    assert [value for _, value in curves(folder / "fast")["train/lr"]] == [0.005 * 0.95**epoch for epoch in range(3)]


def curves(folder: Path) -> dict[str, list]:
    """Every curve's steps, and its values to five digits."""
    shown = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(e.step, pytest.approx(e.value, rel=1e-4)) for e in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]
    }


@pytest.mark.parametrize(("first", "second"), [("graph", "eager"), ("eager", "graph")])
def test_a_run_resumes_with_the_other_engine(pictures, tmp_path, monkeypatch, first, second):
    with monkeypatch.context() as patched:
        if first == "graph":
            as_graph(patched)
        train(tmp_path / "run", pictures, first, "--trainer.max_epochs=1")
    if second == "graph":
        as_graph(monkeypatch)
    more = [f"--resume={tmp_path / 'run'}", f"--trainer.engine={second}", "--trainer.max_epochs=3"]
    assert main(["train", *more]) == 0
    monkeypatch.undo()
    whole = train(tmp_path / "whole", pictures, "eager", "--trainer.max_epochs=3")
    resumed = read_checkpoint(tmp_path / "run" / "last.ckpt")
    torch.testing.assert_close(resumed.tensors, whole.tensors, rtol=1e-5, atol=1e-6)
    assert resumed.position.steps == whole.position.steps == 9


def test_steps_between_logging_and_max_steps_are_chunks():
    assert chunk_ends(222, 0, 50, 100) == [50, 100, 150, 200, 222]
    assert chunk_ends(222, 222, 50, 100) == [28, 78, 128, 178, 222]
    assert chunk_ends(10, 0, 50, 4) == [4, 8, 10]
    assert chunk_ends(10, 3, 1, 100) == list(range(1, 11))
    assert chunk_ends(20, 100, 50, 100, limit=107) == [7, 20]
    assert chunk_ends(20, 100, 50, 100, limit=90) == [20]


@pytest.mark.parametrize(
    ("steps", "done", "every", "most", "limit"), [(97, 13, 7, 5, 50), (5, 0, 1, 1, 3), (9, 8, 4, 2, -1)]
)
def test_chunks_cover_the_epoch_and_none_crosses_a_boundary(steps, done, every, most, limit):
    ends = chunk_ends(steps, done, every, most, limit)
    assert ends[-1] == steps and ends == sorted(set(ends))
    boundaries = {step - done for step in range(done + 1, done + steps + 1) if step % every == 0 or step == limit}
    assert boundaries <= set(ends)
    assert max(b - a for a, b in zip([0, *ends], ends, strict=False)) <= most


def test_a_chunk_is_bounded_in_bytes():
    images = torch.empty(1000, 3, 64, 64, dtype=torch.uint8, device="meta")
    assert chunk_steps(images, 64) == 85
    assert chunk_steps(images.float(), 64) == 21
    assert chunk_steps(images, 100_000) == 1


@pytest.mark.parametrize(
    ("asked", "device", "precision", "expected"),
    [
        ("auto", CPU, "32-true", "eager"),
        ("auto", CUDA, "32-true", "graph"),
        ("auto", CUDA, "16-mixed", "eager"),
        ("auto", MPS, "32-true", "eager"),
        ("eager", CUDA, "32-true", "eager"),
        ("graph", CUDA, "tf32", "graph"),
        ("graph", CUDA, "bf16-mixed", "graph"),
    ],
)
def test_the_engine_is_chosen_by_what_the_machine_can(asked, device, precision, expected):
    settings = from_flat({"trainer.engine": asked, "trainer.precision": precision})
    chosen = choose_engine(settings, device, 1)
    assert chosen.name == expected and chosen.why


@pytest.mark.parametrize(
    ("device", "processes", "precision", "why"),
    [
        (CPU, 1, "32-true", "trains on cpu"),
        (CUDA, 2, "32-true", "processes exchange"),
        (CUDA, 1, "16-mixed", "16-mixed reads"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(device, processes, precision, why):
    settings = from_flat({"trainer.engine": "graph", "trainer.precision": precision})
    with pytest.raises(VAEError, match=f"trainer.engine: graph, but .*{why}.* Give auto"):
        choose_engine(settings, device, processes)


def test_without_a_compiler_training_is_eager_and_says_so(monkeypatch):
    def missing(function):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", missing)
    chosen = choose_engine(from_flat({"trainer.engine": "compile"}), CPU, 1)
    assert chosen == Engine("eager", chosen.why) and "No working C++ compiler" in chosen.why


def test_the_start_says_which_engine_runs_and_why(pictures, tmp_path, capsys):
    train(tmp_path / "run", pictures, "auto", "--trainer.max_epochs=1")
    assert "engine  eager, 32-true (the plain loop)" in capsys.readouterr().out


def test_max_steps_stops_a_chunked_run_where_it_stops_a_plain_one(tmp_path):
    module, trainer = fitted(small_module(), tmp_path, max_steps=7)
    assert trainer.global_step == 7
    assert float(module.adam.state[module.stage.network.encoder.mu.bias]["step"]) == 7


@pytest.mark.parametrize("graph", [False, True])
def test_early_stopping_ends_every_engine_at_the_same_step(tmp_path, graph):
    stop = pl.callbacks.EarlyStopping("val/loss", patience=1, min_delta=1e9)
    _, trainer = fitted(small_module(graph), tmp_path, max_epochs=9, callbacks=[stop])
    assert (trainer.current_epoch, trainer.global_step) == (2, 10)


def test_a_step_is_captured_once_and_warming_up_leaves_no_trace(tmp_path):
    captured = []

    def capture(step):
        captured.append({name: value.clone() for name, value in module.stage.network.state_dict().items()})
        captured.append([value.clone() for state in module.adam.state.values() for value in state.values()])
        return step

    module = small_module(capture=capture)
    start = {name: value.clone() for name, value in module.stage.network.state_dict().items()}
    fitted(module, tmp_path, max_steps=12)
    assert len(captured) == 2
    torch.testing.assert_close(captured[0], start, rtol=0, atol=0)
    assert captured[1] and not any(value.any() for value in captured[1])


def small_module(graph: bool = True, capture=lambda step: step) -> StageModule:
    given = {"data.image_size": 16, "data.batch_size": 4, "model.widths": [4, 4], "model.latent_dim": 2}
    settings = from_flat(given | {"trainer.log_every_n_steps": 4, "trainer.accelerator": "cpu"})
    stage = build_stage("autoencoder", settings)
    return GraphModule(stage, settings, None, capture) if graph else StageModule(stage, settings)


def fitted(module: StageModule, folder: Path, **settings) -> tuple[StageModule, pl.Trainer]:
    """The module after a Trainer with `settings` has trained it on noise, five steps an epoch."""
    noise = torch.randint(0, 256, (30, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    index = Index([f"{i}.png" for i in range(30)])
    dataset = Dataset(Path(), Pack(Path(), noise, index), Split(np.arange(20), np.arange(20, 30)))
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        log_every_n_steps=4,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        **settings,
    )
    module.stage.start(None, dataset, CPU, 1, no_progress)
    chunked = isinstance(module, GraphModule)
    trainer.fit(module, ImagesDataModule(module.stage, dataset, module.settings, chunked))
    return module, trainer
