"""Whole runs on a device: the same twice, saved while they train, killed and resumed, two at a time."""

import signal
import subprocess
import sys
import threading
import time

import pytest
import pytorch_lightning as pl
import torch

import soak
from cuda_runs import BOTH_STAGES, DEVICES, allow_graph, arguments, call_after_steps, last, train
from vae_simpsons.cli import main
from vae_simpsons.training.saving import snapshot

DETERMINISTIC = "--trainer.deterministic=true"
ENGINES = ["eager", "graph"]


class Killed(Exception):
    """Ends a run as suddenly as a test can."""


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_seed_gives_the_same_run_and_saving_changes_nothing(pictures, tmp_path, monkeypatch, device, engine):
    """Two runs are the same to the bit, though one saves after every step and the other after epochs alone."""
    allow_graph(monkeypatch, device)
    way = [f"--trainer.engine={engine}", DETERMINISTIC, "--trainer.log_every_n_steps=1"]
    train(tmp_path / "one", pictures, device, *way)
    train(tmp_path / "two", pictures, device, *way, "--trainer.save_every_minutes=0")
    assert soak.fingerprint(tmp_path / "one") == soak.fingerprint(tmp_path / "two")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("stage", "extra"), [("autoencoder", ()), ("prior", BOTH_STAGES)], ids=["vector", "flow"])
def test_a_run_killed_in_an_epoch_and_resumed_is_the_run_that_was_not(
    pictures, tmp_path, monkeypatch, device, engine, stage, extra
):
    """It is killed in the second epoch of `stage`."""
    allow_graph(monkeypatch, device)
    way = [f"--trainer.engine={engine}", DETERMINISTIC, "--trainer.log_every_n_steps=2", "--trainer.max_epochs=3"]
    way += ["--trainer.save_every_minutes=0", "--data.horizontal_flip=true", *extra]
    train(tmp_path / "whole", pictures, device, *way)

    def kill(trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if module.stage.name == stage and trainer.global_step >= 6:
            raise Killed

    with monkeypatch.context() as patched:
        call_after_steps(patched, kill)
        with pytest.raises(Killed):
            main(arguments(tmp_path / "run", pictures, device, *way))
    position = last(tmp_path / "run").position
    assert position.stage == stage and 3 < position.steps < 6
    assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == soak.fingerprint(tmp_path / "whole")


@pytest.mark.cuda
def test_a_run_killed_with_sigkill_and_resumed_is_the_run_that_was_not(pictures, tmp_path):
    way = [DETERMINISTIC, "--trainer.max_epochs=40", "--trainer.save_every_minutes=0"]
    train(tmp_path / "whole", pictures, "cuda", *way)
    command = [sys.executable, "-m", "vae_simpsons", *arguments(tmp_path / "run", pictures, "cuda", *way)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as killed:
        while not (tmp_path / "run" / "last.ckpt").exists() and killed.poll() is None:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    if last(tmp_path / "run").epochs < 40:  # else it was through before it was killed
        assert main(["train", f"--resume={tmp_path / 'run'}"]) == 0
    assert soak.fingerprint(tmp_path / "run") == soak.fingerprint(tmp_path / "whole")


@pytest.mark.cuda
@pytest.mark.parametrize(("first", "second"), [("graph", "eager"), ("eager", "graph")])
def test_a_run_is_resumed_with_the_other_engine(pictures, tmp_path, first, second):
    train(tmp_path / "run", pictures, "cuda", DETERMINISTIC, f"--trainer.engine={first}", "--trainer.max_epochs=1")
    resumed = [f"--resume={tmp_path / 'run'}", f"--trainer.engine={second}", "--trainer.max_epochs=3"]
    assert main(["train", *resumed]) == 0
    whole = train(tmp_path / "whole", pictures, "cuda", DETERMINISTIC, "--trainer.max_epochs=3")
    torch.testing.assert_close(last(tmp_path / "run").tensors, whole.tensors, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_a_checkpoint_is_the_state_at_the_time_it_was_asked_for(device):
    """What another thread brings to the CPU, on a stream of its own, is not what training has made of it since."""
    weights = {"a": torch.zeros(1000, 1000, device=device), "b": torch.ones(5, device=device)}
    bring = snapshot(weights)
    found = []
    thread = threading.Thread(target=lambda: found.append(bring()))
    thread.start()
    for _ in range(200):  # training goes on meanwhile
        weights["a"].add_(1.0)
        weights["b"].mul_(2.0)
    thread.join()
    assert found[0]["a"].device.type == "cpu" and not found[0]["a"].any()
    assert torch.equal(found[0]["b"], torch.ones(5))


@pytest.mark.parametrize("device", DEVICES)
def test_two_runs_on_one_device_at_the_same_time_do_not_disturb_each_other(pictures, tmp_path, cache, device):
    way = [DETERMINISTIC, f"--data.cache_dir={cache / 'vae-simpsons'}"]
    commands = [arguments(tmp_path / name, pictures, device, *way) for name in ("one", "two")]
    runs = [subprocess.Popen([sys.executable, "-m", "vae_simpsons", *command]) for command in commands]
    assert [run.wait() for run in runs] == [0, 0]
    assert soak.fingerprint(tmp_path / "one") == soak.fingerprint(tmp_path / "two")
