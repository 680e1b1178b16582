import errno
import os
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vae_simpsons.data import cache
from vae_simpsons.data.cache import UNFINISHED, cache_folder, cannot_keep, check_space, in_bytes, publishing
from vae_simpsons.settings import Data


def fill(folder: Path, text: str = "x") -> None:
    with publishing(folder) as beside:
        (beside / "file").write_text(text)


def test_a_folder_appears_whole_with_what_was_put_into_it(tmp_path):
    folder = tmp_path / "a" / "b"
    with publishing(folder) as beside:
        (beside / "file").write_text("x")
        assert not folder.exists()
    assert (folder / "file").read_text() == "x" and list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_what_fails_leaves_nothing(tmp_path, error):
    with pytest.raises(error), publishing(tmp_path / "a") as beside:
        (beside / "half").write_text("x")
        raise error
    assert not list(tmp_path.iterdir())


def test_of_two_at_once_the_first_stays(tmp_path):
    with publishing(tmp_path / "a") as slow:
        (slow / "file").write_text("slow")
        fill(tmp_path / "a", "fast")
    assert (tmp_path / "a" / "file").read_text() == "fast" and len(list(tmp_path.iterdir())) == 1
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: fill(tmp_path / "b", str(i)), range(20)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_what_killed_processes_left_is_swept_when_old_and_left_alone_when_not(tmp_path):
    old, under_way = tmp_path / f"{UNFINISHED}old", tmp_path / f"{UNFINISHED}new"
    for folder in (old, under_way):
        (folder / "a").mkdir(parents=True)
        (folder / "a" / "pixels").write_text("half")
    long_ago = (time.time() - 2 * cache.ABANDONED_S,) * 2
    for path in (old / "a" / "pixels", old / "a", old, under_way / "a", under_way):
        os.utime(path, long_ago)
    fill(tmp_path / "mine")
    assert not old.exists(), "nothing in it has changed for long"
    assert under_way.exists(), "a file in it was written just now"


def test_a_full_disk_is_noticed_before_the_work(tmp_path, monkeypatch):
    check_space(tmp_path / "not" / "there" / "yet", 1)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda p: namedtuple("U", "free")(5 * 10**6))
    with pytest.raises(OSError, match=r"it takes 6 MB, and 5 MB are free"):
        check_space(tmp_path, 6 * 10**6)


def test_errors_name_the_setting_the_place_and_what_to_do(tmp_path):
    said = str(cannot_keep(tmp_path, OSError(errno.ENOSPC, "No space left on device")))
    assert said.startswith(f"data.cache_dir: cannot write {tmp_path}: No space left on device. Give")


def test_where_it_is(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    monkeypatch.setattr(cache.sys, "platform", "linux")
    assert cache_folder(Data()) == Path("/there/vae-simpsons")
    assert cache_folder(Data(cache_dir="~/mine")) == Path.home() / "mine"
    monkeypatch.setattr(cache.sys, "platform", "darwin")
    assert cache_folder(Data()) == Path.home() / "Library" / "Caches" / "vae-simpsons"


def test_bytes_in_words():
    assert [in_bytes(n) for n in (5, 1234, 2.5e8, 3e13)] == ["5 bytes", "1.23 kB", "250 MB", "30 TB"]
