"""Files and folders that appear complete or not at all, whoever writes and whatever fails."""

import csv
import errno
import os
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import Timeout

from vae_simpsons import files
from vae_simpsons.errors import VAEError
from vae_simpsons.files import (
    ABANDONED_S,
    TEMPORARY,
    atomic_path,
    check_free_space,
    format_bytes,
    link_or_copy,
    npy_writer,
    output_folder,
    publish_folder,
    remove_temporary,
    sync_file,
    sync_folder,
    write_csv,
)

every_error = pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])


def fill(folder: Path, text: str = "x") -> None:
    with publish_folder(folder) as temporary:
        (temporary / "file").write_text(text)


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    for text in ("one", "two"):
        with atomic_path(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent and temporary.name.startswith(TEMPORARY)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@every_error
def test_a_failed_write_keeps_the_file_and_leaves_nothing(tmp_path, error):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(error), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_folder_appears_whole_with_what_was_put_into_it(tmp_path):
    folder = tmp_path / "a" / "b"
    with publish_folder(folder) as temporary:
        (temporary / "file").write_text("x")
        assert not folder.exists()
    assert (folder / "file").read_text() == "x" and list(folder.parent.iterdir()) == [folder]


@every_error
def test_a_folder_that_fails_leaves_nothing(tmp_path, error):
    with pytest.raises(error), publish_folder(tmp_path / "a") as temporary:
        (temporary / "half").write_text("x")
        raise error
    assert not list(tmp_path.iterdir())


def test_of_two_at_once_the_first_stays(tmp_path):
    with publish_folder(tmp_path / "a") as slow:
        (slow / "file").write_text("slow")
        fill(tmp_path / "a", "fast")
    assert (tmp_path / "a" / "file").read_text() == "fast" and len(list(tmp_path.iterdir())) == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: fill(tmp_path / "b", str(i)), range(20)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_what_killed_processes_left_is_removed_when_old_and_left_alone_when_not(tmp_path):
    old, under_way, old_file = (tmp_path / f"{TEMPORARY}{name}" for name in ("old", "new", "file"))
    for folder in (old, under_way):
        (folder / "a").mkdir(parents=True)
        (folder / "a" / "pixels").write_text("half")
    old_file.write_text("half")
    long_ago = (time.time() - 2 * ABANDONED_S,) * 2
    for path in (old / "a" / "pixels", old / "a", old, under_way / "a", under_way, old_file):
        os.utime(path, long_ago)
    fill(tmp_path / "mine")
    assert not old.exists() and not old_file.exists(), "nothing in it has changed for long"
    assert under_way.exists(), "a file in it was written just now"
    remove_temporary(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_output_folder_is_new_or_empty_and_appears_whole(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new/sub", "empty"):
        with output_folder("--out", tmp_path / name) as temporary:
            (temporary / "file").write_text("x")
        assert [p.name for p in (tmp_path / name).iterdir()] == ["file"]


def test_an_output_folder_with_something_in_it_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    for name, text in (("file", "is a file. Give a new folder."), (".", "is not empty, and nothing of yours is over")):
        with pytest.raises(VAEError, match=f"^--out: .* {text}"), output_folder("--out", tmp_path / name):
            pytest.fail("the block must not begin")
    assert (tmp_path / "file").read_text() == "x"


def test_an_output_folder_that_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(VAEError, match="^--out: cannot write .*file/sub: .*. Give another folder."),
        output_folder("--out", tmp_path / "file" / "sub"),
    ):
        pytest.fail("the block must not begin")
    with pytest.raises(VAEError, match="^--out: cannot write .*new: Full"), output_folder("--out", tmp_path / "new"):
        raise OSError(errno.ENOSPC, "Full")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_system_that_cannot_sync_is_accepted_and_a_full_one_is_not(tmp_path, monkeypatch):
    def failing(code):
        def fsync(handle):
            raise OSError(code, "no")

        return fsync

    with open(tmp_path / "a", "w") as file:
        file.write("x")
        monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
        sync_file(file)
        assert (tmp_path / "a").read_text() == "x", "it is flushed"
        monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
        with pytest.raises(OSError):
            sync_file(file)
        with pytest.raises(OSError):
            sync_folder(tmp_path)


def test_a_link_or_where_there_are_none_a_copy(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("x")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")

    def no_links(*_):
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", no_links)
    link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_text() == "x" and not (tmp_path / "a").samefile(tmp_path / "c")


def test_a_full_disk_is_noticed_before_the_work(tmp_path, monkeypatch):
    check_free_space(tmp_path / "not" / "there" / "yet", 1)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda p: namedtuple("U", "free")(5 * 10**6))
    with pytest.raises(OSError, match=r"it takes 6 MB, and 5 MB are free"):
        check_free_space(tmp_path, 6 * 10**6)


def test_bytes_in_words():
    assert [format_bytes(n) for n in (5, 1234, 2.5e8, 3e13)] == ["5 bytes", "1.23 kB", "250 MB", "30 TB"]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("blocks", [[5], [2, 3], [1, 1], []])
def test_an_array_is_written_block_by_block_and_numpy_opens_it(tmp_path, dtype, blocks):
    array = np.arange(30).reshape(5, 3, 2).astype(dtype)
    with npy_writer(tmp_path / "a.npy", (5, 3, 2), dtype) as append:
        for block in np.split(array[: sum(blocks)], np.cumsum(blocks)[:-1]) if blocks else []:
            append(block)
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == dtype and np.array_equal(found, array[: sum(blocks)]), "with as many rows as came"
    assert np.load(tmp_path / "a.npy", mmap_mode="r" if blocks else None).shape == found.shape


def test_an_array_that_is_not_contiguous_or_of_another_type_is_written_as_asked(tmp_path):
    with npy_writer(tmp_path / "a.npy", (2, 3), np.float32) as append:
        append(np.arange(6, dtype=np.float64).reshape(3, 2).T)
    assert np.load(tmp_path / "a.npy").tolist() == [[0, 2, 4], [1, 3, 5]]


def test_a_table_keeps_any_file_name(tmp_path):
    names = ["a,b", 'quo"ted', "line\nbreak", "é", os.fsdecode(b"\xff\xfe")]
    write_csv(tmp_path / "a.csv", ("path", "n"), zip(names, range(5), strict=True))
    with open(tmp_path / "a.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert list(csv.reader(file)) == [["path", "n"], *([name, str(i)] for i, name in enumerate(names))]
    assert b"\xff\xfe" in (tmp_path / "a.csv").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="flock is POSIX's")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_warned_of_once(tmp_path, monkeypatch, capsys, number):
    def flock(file: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    files.warn_of_no_locks.cache_clear()
    for name in ("a", "b"):
        with files.lock_file(tmp_path / name):
            pass
    assert capsys.readouterr().err.count("vae: this file system has no locks: nothing keeps two processes") == 1


def test_a_lock_that_is_held_is_waited_for_or_refused(tmp_path):
    with files.lock_file(tmp_path / "a"):
        with pytest.raises(Timeout):
            files.lock_file(tmp_path / "a")
        with pytest.raises(ZeroDivisionError):  # before it waits
            files.lock_file(tmp_path / "a", lambda: 1 / 0)
