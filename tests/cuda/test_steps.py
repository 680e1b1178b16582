"""The captured step against the plain one, on the device it is for."""

import pytest
import torch

from conftest import draw_pictures
from cuda_runs import (
    BOTH_STAGES,
    DEVICES,
    allow_graph,
    arguments,
    assert_alike,
    call_after_steps,
    last,
    random_state,
    rows,
    spoil_step,
    train,
)
from vae_simpsons.cli import main

DETERMINISTIC = "--trainer.deterministic=true"
# How far captured steps may be from plain ones after nine of them: the same kernels, perhaps not in the same order. A
# bfloat16 product rounds at 2^-8, and Adam's first steps have the full learning rate in whatever direction it says.
CLOSE = {"32-true": (1e-4, 1e-5), "tf32": (1e-3, 1e-3), "bf16-mixed": (0.0, 0.03), "muon": (1e-3, 1e-3)}
MUON = "--optimizer.kind=muon"  # whose products are bfloat16 where that is fast
GPU_ONLY = pytest.mark.cuda
WAYS = {
    "plain": ("32-true",),
    "clipped": ("32-true", "--trainer.gradient_clip_val=0.01", "--data.horizontal_flip=true"),
    "logged": ("32-true", "--trainer.log_every_n_steps=2", "--trainer.on_nonfinite=skip"),
    "autoencoder": ("32-true", "--model.variational=false", "--optimizer.weight_decay=0.1"),
    "bf16": ("bf16-mixed",),
    "flow": ("32-true", *BOTH_STAGES, "--data.horizontal_flip=true", "--prior.dropout=0.1"),
    "flow-bf16": ("bf16-mixed", *BOTH_STAGES),
}
CASES = [pytest.param("cpu", *WAYS[name], id=f"cpu-{name}") for name in ("plain", "clipped", "flow")]
CASES += [pytest.param("cuda", *way, marks=GPU_ONLY, id=f"cuda-{name}") for name, way in WAYS.items()]
CASES += [pytest.param("cuda", "tf32", marks=GPU_ONLY, id="cuda-tf32")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Hand each case's flags over as one tuple."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", [pytest.param(c.values, marks=c.marks, id=c.id) for c in CASES])


def test_a_captured_step_is_the_plain_one(pictures, tmp_path, monkeypatch, case):
    """Weights, statistics, Adam, learning rate, table and the generator's state agree after nine steps a stage."""
    device, precision, *extra = case
    extra += [DETERMINISTIC, "--trainer.max_epochs=3", f"--trainer.precision={precision}"]
    plain = train(tmp_path / "plain", pictures, device, "--trainer.engine=eager", *extra)
    drawn_from = random_state(device)
    allow_graph(monkeypatch, device)
    fast = train(tmp_path / "fast", pictures, device, "--trainer.engine=graph", *extra)
    assert torch.equal(random_state(device), drawn_from)
    rtol, atol = CLOSE["muon" if MUON in extra and precision == "32-true" else precision]
    assert_alike(fast, plain, rtol, atol)
    for ours, theirs in zip(rows(tmp_path / "fast"), rows(tmp_path / "plain"), strict=True):
        shown = [key for key in theirs if key == "train/lr" or key.endswith(("loss", "mse"))]
        assert [ours[key] for key in shown] == pytest.approx([theirs[key] for key in shown], rel=10 * rtol, abs=atol)


EVERY_PRECISION = [("eager", p) for p in ("32-true", "tf32", "bf16-mixed", "16-mixed")]
EVERY_PRECISION += [("graph", p) for p in ("32-true", "tf32", "bf16-mixed")]


@pytest.mark.parametrize(
    ("device", "engine", "precision"),
    [("cpu", "eager", "bf16-mixed"), *(pytest.param("cuda", *way, marks=GPU_ONLY) for way in EVERY_PRECISION)],
)
def test_every_precision_learns(pictures, tmp_path, device, engine, precision):
    """The error on drawn discs falls; in float16 the first steps are lost to finding the loss's scale."""
    way = [f"--trainer.engine={engine}", f"--trainer.precision={precision}", "--trainer.max_epochs=12"]
    way.append("--optimizer.lr_decay=1")
    train(tmp_path / "run", pictures, device, *way)
    table = rows(tmp_path / "run")
    assert table[-1]["train/mse"] < 0.7 * table[0]["train/mse"]


@pytest.mark.cuda
def test_the_compiled_network_learns_what_the_plain_one_does(pictures, tmp_path):
    for engine in ("eager", "compile"):
        train(tmp_path / engine, pictures, "cuda", f"--trainer.engine={engine}", "--trainer.max_epochs=2")
    ours, theirs = rows(tmp_path / "compile"), rows(tmp_path / "eager")
    assert ours[0]["train/loss"] == pytest.approx(theirs[0]["train/loss"], rel=1e-2)


@pytest.mark.parametrize(
    ("device", "size", "channels", "batch"),
    [("cpu", 24, 1, 5), *(pytest.param("cuda", *odd, marks=GPU_ONLY) for odd in ((24, 3, 7), (40, 1, 2), (104, 3, 5)))],
)
def test_odd_sizes_train_alike(tmp_path, monkeypatch, device, size, channels, batch):
    """Sizes and batches that are no powers of two, of which the last one of validation is smaller still."""
    pictures = draw_pictures(tmp_path / "pictures", 19, size)
    extra = [f"--data.image_size={size}", f"--data.channels={channels}", f"--data.batch_size={batch}", DETERMINISTIC]
    plain = train(tmp_path / "plain", pictures, device, "--trainer.engine=eager", *extra)
    allow_graph(monkeypatch, device)
    fast = train(tmp_path / "fast", pictures, device, "--trainer.engine=graph", *extra)
    assert_alike(fast, plain, *CLOSE["32-true"])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_step_that_is_not_finite_is_skipped(pictures, tmp_path, monkeypatch, capsys, device, engine):
    """Step 3 leaves weights, statistics and Adam as step 2 did, and training continues."""
    allow_graph(monkeypatch, device)
    spoil_step(monkeypatch, 3)
    states: dict[int, dict[str, torch.Tensor]] = {}

    def remember(trainer, module) -> None:
        adam = trainer.optimizers[0].state.values()
        moments = {f"{i} {key}": value.clone() for i, state in enumerate(adam) for key, value in state.items()}
        weights = {key: value.clone() for key, value in module.stage.network.state_dict().items()}
        states[trainer.global_step] = weights | moments

    call_after_steps(monkeypatch, remember)
    way = [f"--trainer.engine={engine}", "--trainer.on_nonfinite=skip", "--trainer.log_every_n_steps=2"]
    train(tmp_path / "run", pictures, device, *way)
    assert "by step 3, 1 steps were left out" in capsys.readouterr().err
    torch.testing.assert_close(states[3], states[2], rtol=0, atol=0)
    assert not any(torch.equal(states[6][key], states[3][key]) for key in ("encoder.mu.weight", "encoder.mu.bias"))
    assert "nan" not in (tmp_path / "run" / "metrics.csv").read_text()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_step_that_is_not_finite_stops_the_run(pictures, tmp_path, monkeypatch, capsys, device, engine):
    """The run ends in one line that names the step, and nothing of it is saved."""
    allow_graph(monkeypatch, device)
    spoil_step(monkeypatch, 5)
    way = [f"--trainer.engine={engine}", "--trainer.save_every_minutes=0", "--trainer.max_epochs=3"]
    assert main(arguments(tmp_path / "run", pictures, device, *way)) == 1
    said = capsys.readouterr().err
    assert said.startswith("vae: step 5 (epoch 2): the loss or its gradient is not finite") and said.count("\n") == 1
    left = last(tmp_path / "run")
    assert left.position.steps < 5 and all(w.isfinite().all() for w in left.tensors.values())
