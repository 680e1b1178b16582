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
from vae_simpsons.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.files import TEMPORARY
from vae_simpsons.settings import Settings
from vae_simpsons.training import saving, table
from vae_simpsons.training.runfolder import RunFolder, locked
from vae_simpsons.training.saving import SaveCheckpoints
from vae_simpsons.training.stage import StageModule


def train(out, pictures, *extra: str) -> int:
    settings = TINY | {"trainer.max_epochs": "4"}
    return main(["train", *flags(settings), f"--data.path={pictures}", f"--out={out}", *extra])


def no_room(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def finish_saving(trainer) -> None:
    """Wait for the thread that writes."""
    next(c for c in trainer.callbacks if isinstance(c, SaveCheckpoints)).writer.finish()


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

    failing(monkeypatch, checkpoint, "atomic_path", {2, 3}, error)  # those of epochs 2 and 3
    kept = []
    end = StageModule.on_train_epoch_start

    def on_train_epoch_start(self):
        finish_saving(self.trainer)
        last = tmp_path / "run" / "last.ckpt"
        kept.append(read_checkpoint(last).epochs if last.exists() else 0)
        end(self)

    monkeypatch.setattr(StageModule, "on_train_epoch_start", on_train_epoch_start)
    assert train(tmp_path / "run", pictures) == 0
    said = capsys.readouterr().err
    last = tmp_path / "run" / "last.ckpt"
    assert said.count(f"vae: cannot write {last}: No. Training continues and retries") == 1
    assert said.count(f"vae: {last} can be written again.") == 1
    assert kept[1] == kept[2] == 1 and read_checkpoint(last).epochs == 4
    assert not list((tmp_path / "run").glob(f"{TEMPORARY}*"))


def test_a_last_save_that_fails_is_an_error(pictures, tmp_path, monkeypatch, capsys):
    failing(monkeypatch, checkpoint, "atomic_path", set(range(2, 99)))
    assert train(tmp_path / "run", pictures) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if "collapsed" not in line]
    assert len(said) == 2 and "could not be written at the end: No space left" in said[1] and "--resume" in said[1]
    assert read_checkpoint(tmp_path / "run" / "last.ckpt").epochs == 1


@pytest.mark.parametrize(
    ("owner", "name", "what"),
    [(images, "_write_rows", "pictures"), (table, "atomic_path", "metrics.csv")],
    ids=["pictures", "table"],
)
def test_training_goes_on_without_pictures_and_tables(pictures, tmp_path, monkeypatch, capsys, owner, name, what):
    failing(monkeypatch, owner, name, {1, 2, 3})
    assert train(tmp_path / "run", pictures) == 0
    said = capsys.readouterr().err
    assert (
        f"{what}: No space left on device. Training continues" in said
        and read_checkpoint(tmp_path / "run" / "last.ckpt").epochs == 4
    )
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 5


def test_training_goes_on_without_tensorboard(pictures, tmp_path, monkeypatch, capsys):
    from torch.utils.tensorboard import SummaryWriter

    failing(monkeypatch, SummaryWriter, "add_scalar", set(range(1, 999)))
    failing(monkeypatch, SummaryWriter, "flush", set(range(1, 999)))
    assert train(tmp_path / "run", pictures) == 0
    assert capsys.readouterr().err.count("cannot write TensorBoard's curves: No space left") == 1


def test_the_curves_are_in_their_file_before_the_checkpoint_that_stands_behind_them(pictures, tmp_path, monkeypatch):
    seen, record = [], RecordWriter.write

    def record_slowly(self, data):
        time.sleep(0.02)  # TensorBoard writes in a thread of its own, which may be behind
        record(self, data)

    def count_and_write(checkpoint):
        shown = EventAccumulator(str(checkpoint.path.parent)).Reload()
        seen.append((checkpoint.epochs, len(shown.Scalars("val/loss"))))
        write_checkpoint(checkpoint)

    monkeypatch.setattr(RecordWriter, "write", record_slowly)
    monkeypatch.setattr(saving, "write_checkpoint", count_and_write)
    assert train(tmp_path / "run", pictures) == 0
    assert [epochs for epochs, _ in seen] == [1, 2, 3, 4]
    assert all(points >= epochs for epochs, points in seen)  # training may be ahead of a busy writer


def test_a_run_folder_that_vanishes_is_made_again(pictures, tmp_path, monkeypatch):
    start = StageModule.on_train_epoch_start

    def on_train_epoch_start(self):
        if self.current_epoch == 2:
            finish_saving(self.trainer)
            shutil.rmtree(tmp_path / "run")
        start(self)

    monkeypatch.setattr(StageModule, "on_train_epoch_start", on_train_epoch_start)
    assert train(tmp_path / "run", pictures) == 0
    assert read_checkpoint(tmp_path / "run" / "last.ckpt").epochs == 4
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 5


def test_a_second_run_in_a_folder_is_refused_and_leaves_it_alone(pictures, tmp_path, capsys):
    folder = RunFolder(tmp_path / "run")
    with locked(folder):
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
    with locked(RunFolder(folder)):
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
    tensors = {"network.a": torch.zeros(100_000)}

    def save(epochs: range) -> None:
        for epoch in epochs:
            write_checkpoint(Checkpoint(path, Settings(), tensors, epoch))

    def save_many() -> None:
        save(range(60))
        done.set()

    save(range(1))
    thread = threading.Thread(target=save_many)
    thread.start()
    epochs = []
    while not done.is_set():
        epochs.append(read_checkpoint(path).epochs)
    thread.join()
    assert epochs == sorted(epochs) and len(epochs) > 3
    assert [p.name for p in Path(tmp_path).iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("links", [True, False])
def test_the_best_checkpoint_stays_when_the_next_is_written(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    last, best = tmp_path / "last.ckpt", tmp_path / "best.ckpt"
    for epoch in (1, 2, 3):
        write_checkpoint(Checkpoint(last, Settings(), {"network.a": torch.zeros(3)}, epoch))
        if epoch < 3:
            saving.keep_copy(last, best)
    assert read_checkpoint(best).epochs == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "last.ckpt"]
