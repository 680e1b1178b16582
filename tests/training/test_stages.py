"""Two stages of one run: ended anywhere and resumed, it is the run that was left alone."""

import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_engine import as_graph, small_module
from test_health import BAD, spoil
from test_resuming import Killed, killed_after, signal_in_validation, soak
from torch.nn.parallel import DistributedDataParallel

from conftest import TINY, draw_pictures, flags
from vae_simpsons.checkpoint import read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.errors import VAEError
from vae_simpsons.files import read_csv
from vae_simpsons.loading import load_network
from vae_simpsons.training import fitting, run
from vae_simpsons.training.resuming import check_resumable, check_resume
from vae_simpsons.training.saving import SaveCheckpoints
from vae_simpsons.training.stage import StageModule
from vae_simpsons.training.stages import PriorStage

SMALL_FLOW = {"prior.epochs": "2", "prior.batch_size": "8", "prior.width": "16", "prior.depth": "1"}
FLOW = TINY | SMALL_FLOW | {"prior.kind": "flow", "optimizer.ema": "0.9", "trainer.log_every_n_steps": "2"}
SPATIAL = {"model.latent": "spatial", "model.width": "8", "model.blocks": "1", "model.latent_channels": "2"}
SAVED_OFTEN = "--trainer.save_every_minutes=0"


def train(out: Path, pictures: Path, *extra: str) -> int:
    """Trains three steps an epoch, two epochs a stage."""
    return main(["train", *flags(FLOW), f"--data.path={pictures}", f"--out={out}", *extra])


@pytest.fixture(scope="module")
def undisturbed(pictures, cache, tmp_path_factory) -> dict[str, Path]:
    """The folder of a run of both stages, for each engine."""
    found = {}
    for engine in ("eager", "graph"):
        found[engine] = tmp_path_factory.mktemp(engine) / "run"
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("XDG_CACHE_HOME", str(cache))
            if engine == "graph":
                as_graph(patched)
            assert train(found[engine], pictures, f"--trainer.engine={engine}") == 0
    return found


def assert_equal_runs(one: Path, other: Path) -> None:
    """Tensors, position, tables, curves and pictures of two runs are the same bits."""
    a, b = soak.fingerprint(one), soak.fingerprint(other)
    assert [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)] == []


def test_both_stages_leave_their_tensors_tables_pictures_and_curves(undisturbed):
    folder = undisturbed["eager"]
    last = read_checkpoint(folder / "last.ckpt")
    kinds = {name.split(".")[0] for name in last.tensors}
    assert kinds == {"network", "average", "prior", "prior_average", "optimizer", "epoch_sums"}
    assert {name.split(".")[1] for name in last.tensors if name.startswith("optimizer.")} == {"velocity", "weak"}
    for trained in ("prior.weak.to_velocity.weight", "prior_average.weak.to_velocity.weight"):
        assert last.tensors[trained].abs().sum() > 0  # it starts as zero
    assert (last.position.stage, last.position.epochs, last.position.steps, last.epochs) == ("prior", 2, 6, 2)
    assert [row["step"] for row in read_csv(folder / "metrics.csv")] == ["3", "6"]
    (_, row) = read_csv(folder / "prior_metrics.csv")
    assert list(row) == ["epoch", "step", "train/loss", "val/loss", "train/lr", "time_s"]
    assert float(row["train/loss"]) < 3  # of one network: that of a velocity of zero is 2
    assert last.figures["prior_val/loss"] == pytest.approx(float(row["val/loss"])) and "val/mse" in last.figures
    assert (folder / "pictures" / "prior_samples_0002.png").exists()
    shown = soak.curves(folder / "prior")
    assert [step for step, _ in shown["curve prior_val/loss"]] == [2, 5]
    curves = [f"curve prior_{name}" for name in ("train/loss_step", "train/loss", "val/loss", "train/lr")]
    assert shown.keys() == {*curves, "images pictures/samples"}
    assert load_network(last).prior.class_count == 0


@pytest.mark.parametrize(
    ("engine", "steps", "where"),
    [
        ("eager", 4, "training_step"),  # within the first stage
        ("eager", 6, "on_validation_epoch_end"),  # its last epoch is not saved yet
        ("eager", 6, "training_step"),  # the second stage has not begun
        ("eager", 8, "training_step"),  # within its first epoch
        ("eager", 9, "on_validation_epoch_end"),
        ("graph", 5, "training_step"),
        ("graph", 6, "training_step"),
        ("graph", 10, "training_step"),
    ],
)
def test_a_run_killed_in_either_stage_ends_as_if_it_had_not_been(
    undisturbed, pictures, tmp_path, monkeypatch, engine, steps, where
):
    if engine == "graph":
        as_graph(monkeypatch)
    with monkeypatch.context() as patched:
        killed_after(patched, steps, where)
        with pytest.raises(Killed):
            train(tmp_path / "run", pictures, SAVED_OFTEN, f"--trainer.engine={engine}")
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert_equal_runs(tmp_path / "run", undisturbed[engine])


def test_a_run_killed_while_it_encodes_or_after_an_epoch_that_is_not_saved_leaves_no_trace(
    undisturbed, pictures, tmp_path, monkeypatch
):
    """The first epoch of the second stage has its row and its points, and no checkpoint."""
    with monkeypatch.context() as patched:
        patched.setattr(SaveCheckpoints, "on_train_epoch_end", in_second_stage(raise_killed))
        with pytest.raises(Killed):
            train(tmp_path / "run", pictures)
    assert len(read_csv(tmp_path / "run" / "prior_metrics.csv")) == 1
    with monkeypatch.context() as patched:
        patched.setattr(PriorStage, "start", raise_killed)
        with pytest.raises(Killed):
            main(["train", f"--resume={tmp_path / 'run'}"])
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert_equal_runs(tmp_path / "run", undisturbed["eager"])


def raise_killed(*_) -> None:
    raise Killed


def in_second_stage(do, method=SaveCheckpoints.on_train_epoch_end):
    """A callback's method that does something else in the second stage."""
    return lambda self, trainer, module: (do if module.stage.number else method)(self, trainer, module)


def test_a_signal_in_the_last_epoch_of_the_first_stage_stops_before_the_second(
    undisturbed, pictures, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as patched:
        signal_in_validation(patched, 6)
        assert train(tmp_path / "run", pictures) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM, and saved. Resume with: vae train --resume" in capsys.readouterr().err
    left = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert (left.position.stage, left.position.epochs) == ("autoencoder", 2) and not left.prior_weights()
    assert (tmp_path / "run" / "projector" / "tensors.tsv").exists()
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert_equal_runs(tmp_path / "run", undisturbed["eager"])


def test_gaussians_are_fitted_at_the_end_however_often_that_is_interrupted(pictures, tmp_path, monkeypatch):
    way = ["--prior.kind=gaussian", "--prior.components=2"]
    assert train(tmp_path / "whole", pictures, *way) == 0
    fit, calls = fitting.write_checkpoint, []

    def killed_at_second(checkpoint):
        calls.append(checkpoint.path.name)
        if len(calls) == 2:
            raise Killed
        fit(checkpoint)

    with monkeypatch.context() as patched:
        patched.setattr(run, "fit_gaussians", raise_killed)
        with pytest.raises(Killed):
            train(tmp_path / "run", pictures, *way)
    with monkeypatch.context() as patched:
        patched.setattr(fitting, "write_checkpoint", killed_at_second)
        with pytest.raises(Killed):
            main(["train", f"--resume={tmp_path / 'run'}"])
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    for name in ("last.ckpt", "best.ckpt"):
        whole, resumed = (read_checkpoint(tmp_path / path / name) for path in ("whole", "run"))
        assert whole.part("prior.") and whole.tensors.keys() == resumed.tensors.keys()
        assert all(torch.equal(whole.tensors[n], resumed.tensors[n]) for n in whole.tensors)
    assert_equal_runs(tmp_path / "run", tmp_path / "whole")
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 1  # nothing is left to do


def test_a_run_with_gaussians_trains_on_and_fits_them_anew(pictures, tmp_path):
    way = ["--prior.kind=gaussian"]
    assert train(tmp_path / "whole", pictures, *way, "--trainer.max_epochs=3") == 0
    assert train(tmp_path / "run", pictures, *way) == 0
    assert main(["train", f"--resume={tmp_path / 'run'}", "--trainer.max_epochs=3"]) == 0
    whole, resumed = (read_checkpoint(tmp_path / path / "last.ckpt").tensors for path in ("whole", "run"))
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_loss_of_the_second_stage_that_is_not_finite_names_its_rate_and_saves_nothing(
    pictures, tmp_path, monkeypatch, capsys
):
    spoil(monkeypatch, {6 + 2}, BAD["nan"])
    assert train(tmp_path / "run", pictures, SAVED_OFTEN) == 1
    said = capsys.readouterr().err
    assert said.startswith("vae: step 2 (epoch 1): the loss or its gradient is not finite") and said.count("\n") == 1
    assert "--prior.lr 0.002" in said and "gradient_clip_val" not in said
    left = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert (left.position.stage, left.position.steps) == ("prior", 1)
    assert all(tensor.isfinite().all() for tensor in left.tensors.values())


def test_more_epochs_of_the_autoencoder_under_its_prior_are_refused(undisturbed, tmp_path, capsys):
    last = read_checkpoint(undisturbed["eager"] / "last.ckpt")
    more = replace(last.settings, trainer=replace(last.settings.trainer, max_epochs=9))
    with pytest.raises(VAEError, match="trainer.max_epochs: 9 here, 2 in .*, and a prior is trained on its model"):
        check_resume(more, last)
    with pytest.raises(VAEError, match="prior.epochs: 2, and .*last.ckpt has 2 epochs already. Begin another run"):
        check_resume(last.settings, last)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("prior.mean", torch.zeros(3), "prior.mean is 3 float32, and should be 8 float32"),
        ("prior.velocity.embed.bias", None, "prior.velocity.embed.bias is missing, and should be 16 float32"),
        ("prior_average.std", None, "prior_average.std is missing, and should be 8 float32"),
        ("average.encoder.mu.bias", None, "average.encoder.mu.bias is missing, and should be 8 float32"),
        ("optimizer.encoder.mu.bias.step", torch.zeros(()), "step is one float32, and should be missing"),
        ("epoch_sums", torch.zeros(1, 5), "epoch_sums is 1x5 float32, and should be 1x2"),
    ],
)
def test_a_second_stage_that_cannot_resume_is_refused_in_one_line(undisturbed, name, change, reason):
    resume = read_checkpoint(undisturbed["eager"] / "last.ckpt")
    check_resumable(resume)
    resume.tensors.pop(name, None)
    if change is not None:
        resume.tensors[name] = change
    with pytest.raises(VAEError, match="path: .*last.ckpt is damaged") as caught:
        check_resumable(resume)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_prior_of_other_settings_is_refused_in_one_line(undisturbed):
    good = read_checkpoint(undisturbed["eager"] / "last.ckpt")
    normal = replace(good, settings=replace(good.settings, prior=replace(good.settings.prior, kind="normal")))
    with pytest.raises(VAEError, match="saved in an unknown stage, 'prior'"):
        check_resumable(normal)
    with pytest.raises(VAEError, match="tensors do not fit its settings") as caught:
        load_network(normal)
    assert "\n" not in str(caught.value)
    bare = replace(good, tensors={n: t for n, t in good.tensors.items() if not n.startswith("prior")})
    with pytest.raises(VAEError, match="prior.mean is missing"):
        check_resumable(bare)
    with pytest.raises(VAEError, match="is 1x16 float32, and should be 3x16 float32"):
        check_resumable(replace(good, class_names=["a", "b"]))


WAYS = {
    "tall": ["--data.image_size=[32,16]", *flags(SPATIAL)],
    "one channel": ["--data.channels=1", *flags(SPATIAL | {"model.latent_channels": "1", "model.factor": "4"})],
    "bf16": ["--trainer.precision=bf16-mixed", *flags(SPATIAL), "--objective.sigma=learned"],
    "large batch": ["--prior.batch_size=500", "--data.horizontal_flip=true"],
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_other_ways_train_through_both_stages(pictures, tmp_path, way):
    assert train(tmp_path / "run", pictures, *way) == 0
    last = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert last.position.stage == "prior" and all(tensor.isfinite().all() for tensor in last.tensors.values())
    network = load_network(last)
    assert last.part("prior.")["mean"].shape == network.latent_shape[:1] + (1,) * (len(network.latent_shape) - 1)
    assert main(["sample", f"--ckpt={tmp_path / 'run' / 'last.ckpt'}", "-n", "2"]) == 0


def test_a_plain_autoencoder_may_have_a_map_as_its_latent(pictures, tmp_path):
    given = ["--model.variational=false", "--prior.kind=normal", *flags(SPATIAL)]
    assert train(tmp_path / "run", pictures, *given) == 0
    last = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert load_network(last).latent_shape == (2, 4, 4) and "network.encoder.log_var.weight" not in last.tensors


def test_four_pictures_are_enough(tmp_path):
    pictures = draw_pictures(tmp_path / "pictures", 4)
    few = ["--data.batch_size=2", "--data.split=sorted", "--data.train_fraction=0.5", "--prior.labels=true"]
    assert train(tmp_path / "run", pictures, *few) == 0
    assert read_checkpoint(tmp_path / "run" / "last.ckpt").position.steps == 2


def test_rates_and_the_kls_share_are_those_of_the_step_also_in_a_resumed_epoch(pictures, tmp_path, monkeypatch):
    seen: list[tuple[float, float]] = []
    measure = StageModule.measure

    def recorded(self, batch):
        share = getattr(self.stage, "kl_share", torch.ones(()))
        seen.append((self.adam.param_groups[0]["lr"], share.item()))
        return measure(self, batch)

    monkeypatch.setattr(StageModule, "measure", recorded)
    way = ["--objective.warmup_epochs=1.5", "--optimizer.schedule=cosine", "--optimizer.warmup_steps=2", SAVED_OFTEN]
    with monkeypatch.context() as patched:
        killed_after(patched, 4, "training_step")
        with pytest.raises(Killed):
            train(tmp_path / "run", pictures, *way)
    with monkeypatch.context() as patched:
        killed_after(patched, 4, "training_step")
        with pytest.raises(Killed):
            main(["train", f"--resume={tmp_path / 'run'}"])
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    rates, shares = zip(*seen, strict=True)
    cosine = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert rates[:6] == pytest.approx([0.0025, 0.005, *(0.005 * part for part in cosine)])
    assert shares[:6] == pytest.approx([0, 2 / 9, 4 / 9, 6 / 9, 8 / 9, 1])
    cosine = [0.5 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    assert rates[6:] == pytest.approx([0.01 * part for part in cosine])


def test_each_process_adds_up_its_own_figures(tmp_path):
    module = small_module(graph=False)
    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        shared = dict(DistributedDataParallel(module).named_module_buffers)
    finally:
        torch.distributed.destroy_process_group()
    assert "sums" not in shared and "guard.steps" in shared


def processes(*arguments: str) -> subprocess.Popen:
    """Starts two processes that train together."""
    command = [sys.executable, "-m", "vae_simpsons", "train", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def stop_at(folder: Path, table: str, rows: int, given: list[str]) -> None:
    """Starts two processes that train in `folder`, and stops them by a signal to the first at a row of a table."""
    run, path = processes(*given, f"--out={folder}"), folder / table
    while not (path.exists() and len(read_csv(path)) >= rows) and run.poll() is None:
        time.sleep(0.02)
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=500)
    assert run.returncode


def test_two_processes_train_both_stages_and_resume_within_the_second_and_before_it(pictures, tmp_path):
    """BatchNorm's statistics differ between processes; what they encode must not."""
    both = FLOW | {"trainer.devices": "2", "trainer.strategy": "ddp", "data.batch_size": "4", "prior.epochs": "60"}
    both |= {"prior.batch_size": "4", "prior.lr": "0.0001", "data.path": str(pictures)}
    both["trainer.log_every_n_steps"] = "1"
    alone = processes(*flags(both), f"--out={tmp_path / 'alone'}")
    said, errors = alone.communicate(timeout=500)
    assert (alone.returncode, errors) == (0, ""), errors
    assert "2 processes" in said and said.count("epoch 1/2 ") == said.count("epoch 1/60 ") == 1
    losses = [float(row["val/loss"]) for row in read_csv(tmp_path / "alone" / "prior_metrics.csv")]
    assert len(losses) == 60 and max(losses) - min(losses) < 0.1  # two processes, the same images and noise each time
    for name, table, rows in (("within", "prior_metrics.csv", 1), ("between", "metrics.csv", 2)):
        stop_at(tmp_path / name, table, rows, flags(both))
        left = read_checkpoint(tmp_path / name / "last.ckpt").position
        assert left.processes == 2 and (name == "between" or left.stage == "prior") and left.epochs < 60
        resumed = processes(f"--resume={tmp_path / name}")
        assert (resumed.communicate(timeout=500)[1], resumed.returncode) == ("", 0)
        assert_equal_runs(tmp_path / name, tmp_path / "alone")
