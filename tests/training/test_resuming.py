"""A run that is ended at any step and gone on with is the run that never was."""

import importlib.util
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from test_engine import as_graph

from conftest import ROOT, TINY, flags
from vae_simpsons.checkpoint import Checkpoint, Position, read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Settings
from vae_simpsons.training.engine import GraphModule
from vae_simpsons.training.resuming import check_position, check_resumable
from vae_simpsons.training.stage import StageModule


def load_script(name: str):
    """The module that is scripts/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


soak = load_script("soak")
SETTINGS = TINY | {"trainer.max_epochs": "3", "trainer.log_every_n_steps": "2", "data.horizontal_flip": "true"}


def train(out, pictures, *extra: str) -> int:
    return main(["train", *flags(SETTINGS), f"--data.path={pictures}", f"--out={out}", *extra])


class Killed(Exception):
    """As sudden as a test can be."""


def killed_after(monkeypatch, steps: int, where: str) -> None:
    """Have training end with Killed when `steps` steps have been trained, at the next call of a method of a module."""
    behind = 0
    for cls in (GraphModule, StageModule):
        step, method = cls.training_step, getattr(cls, where)

        def training_step(self, batch, batch_idx, step=step, chunked=cls is GraphModule):
            nonlocal behind
            if where == "training_step" and behind >= steps:
                raise Killed
            behind += len(batch.inputs) if chunked else 1
            return step(self, batch, batch_idx)

        def killed(self, *args, method=method):
            if behind >= steps:
                raise Killed
            return method(self, *args)

        monkeypatch.setattr(cls, "training_step", training_step)
        if where != "training_step":
            monkeypatch.setattr(cls, where, killed)


@pytest.fixture(scope="module")
def undisturbed(pictures, cache, tmp_path_factory):
    """The fingerprint of a run of nine steps, for each engine."""
    found = {}
    for engine in ("eager", "graph"):
        folder = tmp_path_factory.mktemp(engine) / "run"
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("XDG_CACHE_HOME", str(cache))
            if engine == "graph":
                as_graph(patched)
            assert train(folder, pictures, f"--trainer.engine={engine}") == 0
        found[engine] = soak.fingerprint(folder)
    return found


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize(
    ("steps", "where"),
    [(1, "training_step"), (4, "training_step"), (5, "training_step"), (6, "on_validation_epoch_end")],
)
def test_a_run_killed_at_any_step_ends_as_if_it_had_not_been(
    undisturbed, pictures, tmp_path, monkeypatch, engine, steps, where
):
    if engine == "graph":
        as_graph(monkeypatch)
    with monkeypatch.context() as patched:
        killed_after(patched, steps, where)
        with pytest.raises(Killed):
            train(tmp_path / "run", pictures, "--trainer.save_every_minutes=0", f"--trainer.engine={engine}")
    left = read_checkpoint(tmp_path / "run" / "last.ckpt").position
    most = steps if engine == "eager" else steps + 1  # the graph's chunks end after steps 2 and 3 of each epoch
    assert 0 < left.steps <= most and left.epoch_steps == left.steps % 3
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed[engine]


def test_a_run_killed_after_every_step_ends_as_if_it_had_not_been(undisturbed, pictures, tmp_path, monkeypatch):
    begin = [f"--data.path={pictures}", *flags(SETTINGS), f"--out={tmp_path / 'run'}", "--trainer.save_every_minutes=0"]
    for step in range(1, 9):
        with monkeypatch.context() as patched:
            killed_after(patched, 1, "training_step")
            with pytest.raises(Killed):
                main(["train", *(begin if step == 1 else [f"--resume={tmp_path / 'run'}"])])
        assert read_checkpoint(tmp_path / "run" / "last.ckpt").position.steps == step
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed["eager"]


def test_what_was_added_since_is_left_out_and_what_is_gone_is_named(pictures, tmp_path, capsys):
    folder, run = shutil.copytree(pictures, tmp_path / "pics"), tmp_path / "run"
    assert train(run, folder) == 0
    first = min(folder.rglob("*.png"))
    shutil.copy(first, folder / "added.png")
    for path in (first, *run.iterdir()):
        os.utime(path, (2**31, 2**31))  # as if the clock had been set back since
    assert main(["train", f"--resume={run}", "--trainer.max_epochs=4"]) == 0
    assert "30 train, 10 validate, 1 left out (copies, or added since)" in capsys.readouterr().out
    first.unlink()
    assert main(["train", f"--resume={run}", "--trainer.max_epochs=5"]) == 1
    assert "are gone, the first 'class_0/pic_0000.png'. Put them back" in capsys.readouterr().err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_saves_and_stops_between_steps(undisturbed, pictures, tmp_path, monkeypatch, capsys, signum):
    step = StageModule.training_step

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == 4:
            os.kill(os.getpid(), signum)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(StageModule, "training_step", training_step)
        patched.setattr(signal, "getsignal", lambda signum: signal.SIG_DFL)  # a test runner may ignore some
        assert train(tmp_path / "run", pictures) == 128 + signum
    said = capsys.readouterr().err
    assert said == f"vae: stopped by {signum.name}, and saved. Resume with: vae train --resume {tmp_path / 'run'}\n"
    assert read_checkpoint(tmp_path / "run" / "last.ckpt").position.steps == 5
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed["eager"]


def test_in_the_middle_of_an_epoch_the_number_of_processes_must_be_the_same(tmp_path):
    def saved(epoch_steps: int) -> Checkpoint:
        position = Position("autoencoder", epochs=1, steps=4, epoch_steps=epoch_steps, processes=2)
        return Checkpoint(tmp_path / "x", Settings(), {}, epochs=1, position=position)

    with pytest.raises(VAEError, match="trainer.devices: 1 processes, .* was shared among 2. Resume with as many"):
        check_position(saved(1), processes=1, steps=3)
    check_position(saved(1), processes=2, steps=3)
    check_position(saved(0), processes=1, steps=3)


def test_a_position_behind_the_end_of_its_epoch_is_refused(tmp_path):
    position = Position("autoencoder", epochs=0, steps=5, epoch_steps=4)
    resume = Checkpoint(tmp_path / "x", Settings(), {}, epochs=0, position=position)
    check_position(resume, processes=1, steps=4)
    with pytest.raises(VAEError, match="path: .*x is damaged: it is at step 4 of an epoch of 3. Copy it again"):
        check_position(resume, processes=1, steps=3)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("optimizer.encoder.mu.bias.exp_avg", None, "encoder.mu.bias.exp_avg is missing"),
        ("optimizer.encoder.mu.bias.exp_avg", torch.zeros(3), "exp_avg is 3 float32, and should be 8 float32"),
        ("optimizer.encoder.mu.bias.step", torch.zeros(1), "step is 1 float32, and should be one float32"),
        ("optimizer.encoder.mu.bias.other", torch.zeros(1), "other is 1 float32, and should be missing"),
        ("epoch_sums", torch.zeros(2, 5), "epoch_sums is 2x5 float32, and should be 1x5"),
        ("epoch_sums", None, "epoch_sums is missing"),
        ("network.encoder.mu.bias", None, "network.encoder.mu.bias is missing, and should be 8 float32"),
        ("network.encoder.mu.bias", torch.zeros(3), "network.encoder.mu.bias is 3 float32, and should be 8 float32"),
        ("something", torch.zeros(1), "something is 1 float32, and should be missing"),
    ],
)
def test_a_checkpoint_that_training_cannot_resume_from_is_refused(run_folder, name, change, reason):
    resume = read_checkpoint(run_folder / "last.ckpt")
    check_resumable(resume)
    resume.tensors.pop(name, None)
    if change is not None:
        resume.tensors[name] = change
    with pytest.raises(VAEError, match="path: .*last.ckpt is damaged") as caught:
        check_resumable(resume)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_checkpoint_of_an_unknown_stage_is_refused(run_folder):
    resume = read_checkpoint(run_folder / "last.ckpt")
    with pytest.raises(VAEError, match="saved in an unknown stage, 'prior'"):
        check_resumable(replace(resume, position=replace(resume.position, stage="prior")))


def test_a_signal_before_the_first_step_says_that_nothing_is_saved(pictures, tmp_path, monkeypatch, capsys):
    begin = StageModule.on_train_epoch_start

    def on_train_epoch_start(self):
        os.kill(os.getpid(), signal.SIGTERM)
        begin(self)

    monkeypatch.setattr(StageModule, "on_train_epoch_start", on_train_epoch_start)
    assert train(tmp_path / "run", pictures) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "vae: stopped by SIGTERM. Nothing had been saved yet.\n"


def signal_in_validation(patched: pytest.MonkeyPatch, step: int) -> None:
    """Has this process get SIGTERM as the validation after `step` steps ends."""
    end = StageModule.on_validation_epoch_end

    def on_validation_epoch_end(self):
        if self.trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        end(self)

    patched.setattr(StageModule, "on_validation_epoch_end", on_validation_epoch_end)


def test_a_signal_in_the_last_validation_lets_the_run_end(undisturbed, pictures, tmp_path, monkeypatch):
    signal_in_validation(monkeypatch, 9)
    assert train(tmp_path / "run", pictures) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed["eager"]


def test_a_signal_during_validation_waits_for_its_end(undisturbed, pictures, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        signal_in_validation(patched, 3)
        assert train(tmp_path / "run", pictures) == 128 + signal.SIGTERM
    left = read_checkpoint(tmp_path / "run" / "last.ckpt").position
    assert (left.epochs, left.epoch_steps) == (1, 0)
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed["eager"]
