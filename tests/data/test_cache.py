import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vae_simpsons.configfile import from_flat
from vae_simpsons.data import cache
from vae_simpsons.data.cache import cache_folder, cannot_write_cache, make_cached
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import Data


def make(root: Path, fill) -> Path:
    folder = root / "packs" / "a"
    make_cached(root, folder, (folder / "whole").exists, fill, no_progress)
    return folder


def fill_whole(folder: Path) -> None:
    (folder / "whole").write_text("x")


def test_a_folder_is_made_once_and_a_damaged_one_is_replaced(tmp_path):
    folder = make(tmp_path, fill_whole)
    assert make(tmp_path, None) == folder, "a second call does not fill it"
    (folder / "whole").rename(folder / "damaged")
    make(tmp_path, fill_whole)
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_of_several_at_once_one_makes_it(tmp_path):
    filled = []

    def fill(folder):
        filled.append(folder)
        fill_whole(folder)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: make(tmp_path, fill), range(8)))
    assert len(filled) == 1


def test_what_fails_leaves_nothing_and_is_an_error_that_names_the_setting(tmp_path):
    def fill(folder):
        fill_whole(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(VAEError, match=r"^data.cache_dir: cannot write .*packs: No space left on device"):
        make(tmp_path, fill)
    assert not list((tmp_path / "packs").iterdir())


def test_errors_name_the_setting_the_place_and_what_to_do(tmp_path):
    said = str(cannot_write_cache(tmp_path, OSError(errno.ENOSPC, "No space left on device")))
    assert said.startswith(f"data.cache_dir: cannot write {tmp_path}: No space left on device. Give")


def test_where_it_is(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/there")
    monkeypatch.setattr(cache.sys, "platform", "linux")
    assert cache_folder(Data()) == Path("/there/vae-simpsons")
    assert cache_folder(from_flat({"data.cache_dir": "~/mine"}).data) == Path.home() / "mine"
    monkeypatch.setattr(cache.sys, "platform", "darwin")
    assert cache_folder(Data()) == Path.home() / "Library" / "Caches" / "vae-simpsons"
