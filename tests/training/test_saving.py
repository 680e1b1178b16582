"""Saves that fail, folders that vanish, and two at once: nothing of the user's is lost, and it is said."""

import errno
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from conftest import TINY, flags
from vae_simpsons import checkpoint, images
from vae_simpsons.checkpoint import read
from vae_simpsons.cli import main
from vae_simpsons.files import TEMPORARY
from vae_simpsons.settings import Settings
from vae_simpsons.training import callbacks
from vae_simpsons.training.module import VAEModule
from vae_simpsons.training.runfolder import RunFolder, held
from vae_simpsons.training.saving import KeepCheckpoints


def train(out, pictures, *extra: str) -> int:
    settings = TINY | {"trainer.max_epochs": "4"}
    return main(["train", *flags(settings), f"--data.path={pictures}", f"--out={out}", *extra])


def no_room(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def finish_saving(trainer) -> None:
    """Wait for the thread that writes."""
    next(c for c in trainer.callbacks if isinstance(c, KeepCheckpoints)).writer.finish()


def failing(monkeypatch, owner, name: str, calls: set[int], error=no_room) -> None:
    """Let some calls of a function fail, counted from 1."""
    real, count = getattr(owner, name), 0

    def maybe(*args, **settings):
        nonlocal count
        count += 1
        return error() if count in calls else real(*args, **settings)

    monkeypatch.setattr(owner, name, maybe)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_a_save_that_fails_keeps_the_last_and_is_said_once_and_tried_again(
    pictures, tmp_path, monkeypatch, capsys, code
):
    def error():
        raise OSError(code, "No")

    failing(monkeypatch, checkpoint, "atomic_path", {3, 5}, error)  # those of epochs 2 and 3: last and best each in 1
    kept = []
    end = VAEModule.on_train_epoch_start

    def on_train_epoch_start(self):
        finish_saving(self.trainer)
        last = tmp_path / "run" / "last.ckpt"
        kept.append(read(last).epochs if last.exists() else 0)
        end(self)

    monkeypatch.setattr(VAEModule, "on_train_epoch_start", on_train_epoch_start)
    assert train(tmp_path / "run", pictures) == 0
    said = capsys.readouterr().err
    last = tmp_path / "run" / "last.ckpt"
    assert said.count(f"vae: cannot write {last}: No. Training goes on and tries again") == 1
    assert said.count(f"vae: {last}: written again.") == 1
    assert kept[1] == kept[2] == 1 and read(last).epochs == 4
    assert not list((tmp_path / "run").glob(f"{TEMPORARY}*"))


def test_a_last_save_that_fails_is_an_error(pictures, tmp_path, monkeypatch, capsys):
    failing(monkeypatch, checkpoint, "atomic_path", set(range(3, 99)))
    assert train(tmp_path / "run", pictures) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "collapsed" not in line]
    assert len(said) == 2 and "could not be written at the end: No space left" in said[1] and "--resume" in said[1]
    assert read(tmp_path / "run" / "last.ckpt").epochs == 1


@pytest.mark.parametrize(
    ("owner", "name", "what"),
    [(images, "_write_rows", "pictures"), (callbacks, "atomic_path", "metrics.csv")],
    ids=["pictures", "table"],
)
def test_training_goes_on_without_pictures_and_tables(pictures, tmp_path, monkeypatch, capsys, owner, name, what):
    failing(monkeypatch, owner, name, {1, 2, 3})
    assert train(tmp_path / "run", pictures) == 0
    said = capsys.readouterr().err
    assert (
        f"{what}: No space left on device. Training goes on" in said
        and read(tmp_path / "run" / "last.ckpt").epochs == 4
    )
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 5


def test_training_goes_on_without_tensorboard(pictures, tmp_path, monkeypatch, capsys):
    from torch.utils.tensorboard import SummaryWriter

    failing(monkeypatch, SummaryWriter, "add_scalar", set(range(1, 999)))
    failing(monkeypatch, SummaryWriter, "flush", set(range(1, 999)))
    assert train(tmp_path / "run", pictures) == 0
    assert capsys.readouterr().err.count("cannot write TensorBoard's curves: No space left") == 1


def test_the_curves_are_in_their_file_before_the_checkpoint_that_stands_behind_them(pictures, tmp_path, monkeypatch):
    write, seen, record = checkpoint.write, [], RecordWriter.write

    def record_slowly(self, data):
        time.sleep(0.02)  # TensorBoard writes in a thread of its own, which may be behind
        record(self, data)

    def look_and_write(payload, path):
        shown = EventAccumulator(str(path.parent)).Reload()
        seen.append((payload["epochs_done"], len(shown.Scalars("val/loss"))))
        write(payload, path)

    monkeypatch.setattr(RecordWriter, "write", record_slowly)
    monkeypatch.setattr(checkpoint, "write", look_and_write)
    assert train(tmp_path / "run", pictures) == 0
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_a_run_folder_that_vanishes_is_made_again(pictures, tmp_path, monkeypatch):
    start = VAEModule.on_train_epoch_start

    def on_train_epoch_start(self):
        if self.current_epoch == 2:
            finish_saving(self.trainer)
            shutil.rmtree(tmp_path / "run")
        start(self)

    monkeypatch.setattr(VAEModule, "on_train_epoch_start", on_train_epoch_start)
    assert train(tmp_path / "run", pictures) == 0
    assert read(tmp_path / "run" / "last.ckpt").epochs == 4
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 5


def test_a_second_run_in_a_folder_is_refused_and_leaves_it_alone(pictures, tmp_path, capsys):
    folder = RunFolder(tmp_path / "run")
    with held(folder):
        folder.config.write_text("mine")
        assert main(["train", *flags(TINY), f"--data.path={pictures}", f"--out={folder.path}"]) == 1
        assert "holds another run" in capsys.readouterr().err
        folder.config.unlink()
        assert main(["train", *flags(TINY), f"--data.path={pictures}", f"--out={folder.path}"]) == 1
        assert "another run trains in" in capsys.readouterr().err
        assert [p.name for p in folder.path.iterdir()] == [".lock"]
    assert not folder.path.exists()
    assert main(["train", *flags(TINY), f"--data.path={pictures}", f"--out={folder.path}"]) == 0


def test_what_a_killed_save_left_is_swept_by_the_next_run(run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    halves = [folder / f"{TEMPORARY}1-last.ckpt", folder / "pictures" / f"{TEMPORARY}1-samples_0001.png"]
    for half in halves:
        half.write_bytes(b"half")
    with held(RunFolder(folder)):
        assert not any(half.exists() for half in halves)
    assert (folder / "last.ckpt").exists()


def test_a_run_killed_while_it_notes_that_it_goes_on_can_be_gone_on_with(run_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    resume = ["train", "--resume", str(folder), "--trainer.max_epochs", "3"]

    class Killed(BaseException):
        """As sudden as a test can be."""

    with monkeypatch.context() as patched:
        real = Path.write_text

        def half(self, content, *args, **settings):
            real(self, content[: len(content) // 2], *args, **settings)
            if "environment.json" in self.name:
                raise Killed

        patched.setattr(Path, "write_text", half)
        with pytest.raises(Killed):
            main(resume)
    assert main(resume) == 0


def test_a_checkpoint_that_is_read_while_it_is_saved_is_always_whole(tmp_path):
    path, done = tmp_path / "last.ckpt", threading.Event()
    payload = {"state_dict": {"network.a": torch.zeros(100_000)}}
    checkpoint.stamp(payload, Settings(), 0)
    checkpoint.write(payload, path)

    def save() -> None:
        for epoch in range(60):
            checkpoint.stamp(payload, Settings(), epoch)
            checkpoint.write(payload, path)
        done.set()

    saving = threading.Thread(target=save)
    saving.start()
    epochs = []
    while not done.is_set():
        epochs.append(read(path).epochs)
    saving.join()
    assert epochs == sorted(epochs) and len(epochs) > 3
    assert [p.name for p in Path(tmp_path).iterdir()] == ["last.ckpt"]
