"""A run that is ended at any step and gone on with is the run that never was."""

import importlib.util
import os
import signal

import pytest
import torch
from test_engine import as_graph

from conftest import ROOT, TINY, flags
from vae_simpsons import checkpoint
from vae_simpsons.cli import main
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Settings
from vae_simpsons.training.engine import GraphModule
from vae_simpsons.training.module import VAEModule
from vae_simpsons.training.run import check_processes


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
    for cls in (GraphModule, VAEModule):
        step, method = cls.training_step, getattr(cls, where)

        def training_step(self, batch, batch_idx, step=step, chunked=cls is GraphModule):
            nonlocal behind
            if where == "training_step" and behind >= steps:
                raise Killed
            behind += len(batch.pixels) if chunked else 1
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
    left = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    most = steps if engine == "eager" else steps + 1  # the graph's chunks end after steps 2 and 3 of each epoch
    assert 0 < left["global_step"] <= most and (left["interrupted"] is None) == (left["global_step"] % 3 == 0)
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed[engine]


def test_a_run_killed_after_every_step_ends_as_if_it_had_not_been(undisturbed, pictures, tmp_path, monkeypatch):
    begin = [f"--data.path={pictures}", *flags(SETTINGS), f"--out={tmp_path / 'run'}", "--trainer.save_every_minutes=0"]
    for step in range(1, 9):
        with monkeypatch.context() as patched:
            killed_after(patched, 1, "training_step")
            with pytest.raises(Killed):
                main(["train", *(begin if step == 1 else [f"--resume={tmp_path / 'run'}"])])
        assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == step
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed["eager"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_stops_between_steps(undisturbed, pictures, tmp_path, monkeypatch, capsys, signum):
    step = VAEModule.training_step

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step == 4:
            os.kill(os.getpid(), signum)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(VAEModule, "training_step", training_step)
        patched.setattr(signal, "getsignal", lambda signum: signal.SIG_DFL)  # a test runner may ignore some
        assert train(tmp_path / "run", pictures) == 128 + signum
    said = capsys.readouterr().err
    assert said == f"vae: stopped by {signum.name}, and saved. Go on with: vae train --resume {tmp_path / 'run'}\n"
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 5
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed["eager"]


def test_in_the_middle_of_an_epoch_the_number_of_processes_must_be_the_same(tmp_path):
    place = {"steps": 1, "totals": torch.zeros(2, 5), "random": torch.zeros(2, 9)}
    middle, between = (checkpoint.Checkpoint(tmp_path / "x", Settings(), {"interrupted": p}) for p in (place, None))
    with pytest.raises(VAEError, match="trainer.devices: 1 processes, .* was shared among 2. Go on with as many"):
        check_processes(middle, 1)
    check_processes(middle, 2)
    check_processes(between, 1)


def test_a_signal_before_the_first_step_says_that_nothing_is_saved(pictures, tmp_path, monkeypatch, capsys):
    begin = VAEModule.on_train_epoch_start

    def on_train_epoch_start(self):
        os.kill(os.getpid(), signal.SIGTERM)
        begin(self)

    monkeypatch.setattr(VAEModule, "on_train_epoch_start", on_train_epoch_start)
    assert train(tmp_path / "run", pictures) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "vae: stopped by SIGTERM. Nothing had been saved yet.\n"


def test_a_signal_in_the_last_validation_lets_the_run_end(undisturbed, pictures, tmp_path, monkeypatch):
    end = VAEModule.on_validation_epoch_end

    def on_validation_epoch_end(self):
        if self.trainer.global_step == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        end(self)

    monkeypatch.setattr(VAEModule, "on_validation_epoch_end", on_validation_epoch_end)
    assert train(tmp_path / "run", pictures) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed["eager"]


def test_a_signal_during_validation_waits_for_its_end(undisturbed, pictures, tmp_path, monkeypatch):
    end = VAEModule.on_validation_epoch_end

    def on_validation_epoch_end(self):
        if self.trainer.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        end(self)

    with monkeypatch.context() as patched:
        patched.setattr(VAEModule, "on_validation_epoch_end", on_validation_epoch_end)
        assert train(tmp_path / "run", pictures) == 128 + signal.SIGTERM
    left = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert (left["epochs_done"], left["interrupted"]) == (1, None)
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == undisturbed["eager"]
