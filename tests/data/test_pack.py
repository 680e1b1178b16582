import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import draw_pictures
from vae_simpsons.data import pack as packing
from vae_simpsons.data.dataset import load_dataset
from vae_simpsons.data.pack import Pack, open_pack
from vae_simpsons.errors import VAEError
from vae_simpsons.files import TEMPORARY
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import Data, Model, Settings


def view(tmp_path, **settings) -> Data:
    return Data(**{"image_size": 16, "channels": 1, "cache_dir": str(tmp_path / "kept")} | settings)


def greys(folder: Path, *levels: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for level in levels:
        Image.new("L", (20, 20), level).save(folder / f"{level:03d}.png")
    return folder


def packs(tmp_path) -> list[Path]:
    return sorted((tmp_path / "kept" / "packs").iterdir())


def levels_of(pack: Pack) -> list[int]:
    return pack.pixels[:, 0, 0, 0].tolist()


def test_a_pack_holds_every_image_in_the_order_of_their_paths(tmp_path):
    folder = greys(tmp_path / "pics" / "b", 30, 10)
    greys(tmp_path / "pics" / "a", 20)
    pack = open_pack(folder.parent, view(tmp_path), no_progress)
    assert levels_of(pack) == [20, 10, 30] and pack.pixels.shape == (3, 1, 16, 16) and pack.pixels.dtype == torch.uint8
    assert pack.index.paths == ["a/020.png", "b/010.png", "b/030.png"] and pack.index.classes == ["a", "b", "b"]
    assert pack.index.facts[0][1:] == (20, 20, "PNG", "L", "") and len(pack.index.facts[0].sha256) == 64
    assert np.array_equal(np.load(pack.folder / "pixels.npy"), pack.pixels.numpy()), "numpy opens it as it is"


def test_it_is_made_once_and_opened_ever_after(tmp_path, monkeypatch):
    folder = draw_pictures(tmp_path / "pics", 30)
    first = open_pack(folder, view(tmp_path), no_progress)
    monkeypatch.setattr(packing, "write_pack", None)
    again = open_pack(folder, view(tmp_path), no_progress)
    assert again.folder == first.folder and again.index == first.index and torch.equal(again.pixels, first.pixels)


CHANGES = {
    "another image": lambda folder: greys(folder, 3),
    "one less": lambda folder: (folder / "002.png").unlink(),
    "another name": lambda folder: (folder / "002.png").rename(folder / "004.png"),
    "other content": lambda folder: Image.new("L", (20, 20), 77).save(folder / "002.png"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_folder_that_changed_is_packed_anew_and_the_stale_pack_is_gone(tmp_path, change):
    folder = greys(tmp_path / "pics", 1, 2)
    first = open_pack(folder, view(tmp_path), no_progress).folder
    time.sleep(0.01)
    change(folder)
    second = open_pack(folder, view(tmp_path), no_progress)
    assert second.folder != first and packs(tmp_path) == [second.folder]
    assert levels_of(second) == [int(Image.open(p).getpixel((0, 0))) for p in sorted(folder.iterdir())]


def test_each_folder_and_each_way_to_look_at_it_has_its_own_pack(tmp_path):
    one, two = greys(tmp_path / "one" / "pics", 1), tmp_path / "two" / "pics"
    shutil.copytree(one, two)  # names, sizes and times of the files are the same
    settings = ({}, {"image_size": 8}, {"channels": 3}, {"crop": "none"}, {"resize": 18})
    for folder in (one, two):
        for given in settings:
            open_pack(folder, view(tmp_path, **given), no_progress)
    assert len(packs(tmp_path)) == 2 * len(settings)


def test_another_version_of_the_program_packs_anew(tmp_path, monkeypatch):
    folder = greys(tmp_path / "pics", 1)
    first = open_pack(folder, view(tmp_path), no_progress).folder
    monkeypatch.setattr(packing, "PACK_VERSION", packing.PACK_VERSION + 1)
    assert open_pack(folder, view(tmp_path), no_progress).folder != first


DAMAGE = {
    "short pixels": lambda pack: os.truncate(pack / "pixels.npy", 200),
    "no pixels": lambda pack: (pack / "pixels.npy").unlink(),
    "foreign pixels": lambda pack: (pack / "pixels.npy").write_bytes(b"hello"),
    "no index": lambda pack: (pack / "index.json").unlink(),
    "half an index": lambda pack: os.truncate(pack / "index.json", 20),
    "foreign index": lambda pack: (pack / "index.json").write_text("[1]"),
    "other index": lambda pack: (pack / "index.json").write_text('{"paths": [], "facts": [], "groups": []}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_pack_is_made_anew(tmp_path, damage):
    folder = greys(tmp_path / "pics", 1, 2, 3)
    damage(open_pack(folder, view(tmp_path), no_progress).folder)
    assert levels_of(open_pack(folder, view(tmp_path), no_progress)) == [1, 2, 3]


def test_unreadable_images_are_named_and_left_out_every_time(tmp_path):
    folder = draw_pictures(tmp_path / "pics", 30)
    (folder / "class_0" / "bad\nname.jpg").write_bytes(b"this is no picture")
    (folder / "class_1" / "empty.png").write_bytes(b"")
    (folder / "class_1" / "cut.png").write_bytes((folder / "class_1" / "pic_0001.png").read_bytes()[:60])
    for _ in range(2):
        pack = open_pack(folder, view(tmp_path), no_progress)
        assert [u.path for u in pack.index.unreadable] == [
            "class_0/bad\nname.jpg",
            "class_1/cut.png",
            "class_1/empty.png",
        ]
        assert all(u.reason for u in pack.index.unreadable)
        assert len(pack.pixels) == len(pack.index.paths) == 30 and pack.pixels.flatten(1).float().std(1).min() > 0


def test_more_than_a_tenth_unreadable_stops_and_leaves_nothing(tmp_path):
    folder = draw_pictures(tmp_path / "pics", 18)
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"this is no picture")
    assert len(open_pack(folder, view(tmp_path), no_progress).index.unreadable) == 2
    (folder / "c.jpg").write_bytes(b"this is no picture")
    with pytest.raises(VAEError, match=r"data.path: 3 of 21 images are unreadable, the first 'a.jpg' \(.*10%"):
        open_pack(folder, view(tmp_path), no_progress)
    assert len(packs(tmp_path)) == 1


def test_more_images_than_a_block(tmp_path):
    folder = tmp_path / "pics"
    folder.mkdir()
    for i in range(522):
        Image.new("L", (4, 4), i % 256).save(folder / f"{i:04d}.bmp")
    assert levels_of(open_pack(folder, view(tmp_path, image_size=4), no_progress)) == [i % 256 for i in range(522)]


def test_near_duplicates_are_known(tmp_path):
    folder = draw_pictures(tmp_path / "pics", 4, size=64)
    shutil.copy(folder / "class_0" / "pic_0000.png", folder / "copy.png")
    Image.open(folder / "class_0" / "pic_0002.png").save(folder / "again.jpg", quality=70)
    index = open_pack(folder, view(tmp_path, image_size=32, channels=3), no_progress).index
    same = {frozenset(index.paths[i] for i in group) for group in index.near_duplicates() if len(group) > 1}
    assert {"class_0/pic_0000.png", "copy.png"} in same and {"class_0/pic_0002.png", "again.jpg"} in same
    assert [len(found) for found in index.copies()].count(2) == 1


def test_progress_is_told(tmp_path):
    told: dict[str, list[int]] = {}
    folder = greys(tmp_path / "pics", *range(1, 20))
    open_pack(folder, view(tmp_path), lambda title, total: told.setdefault(f"{title} {total}", []).append)
    assert told["reading images 19"][-1] == 19 and told["finding near-duplicates 19"][-1] == 19


def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    folder = greys(tmp_path / "pics", 1, 2)
    with pytest.raises(VAEError, match=r"data.cache_dir: cannot write .*file.*Give a folder .* --data.cache_dir DIR"):
        open_pack(folder, view(tmp_path, cache_dir=str(tmp_path / "file" / "cache")), no_progress)


def test_a_disk_that_runs_full_is_said_in_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    folder = greys(tmp_path / "pics", 1, 2)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing, "sync_file", full)
    with pytest.raises(VAEError, match="data.cache_dir: cannot write .*: No space left on device. Give"):
        open_pack(folder, view(tmp_path), no_progress)
    assert packs(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(packing, "check_free_space", full)
    with pytest.raises(VAEError, match="No space left on device"):
        open_pack(folder, view(tmp_path), no_progress)


def test_of_several_at_once_on_the_same_folder_one_packs_and_all_work(tmp_path, monkeypatch):
    folder = draw_pictures(tmp_path / "pics", 200)
    written, write = [], packing.write_pack

    def slowly(*args):
        written.append(args)
        time.sleep(0.5)  # in which the others come and have to wait
        return write(*args)

    monkeypatch.setattr(packing, "write_pack", slowly)
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: open_pack(folder, view(tmp_path), no_progress), range(3)))
    assert len(packs(tmp_path)) == 1 and len({len(p.pixels) for p in made}) == 1
    assert len(written) == 1


PACK_SLOWLY = """
import sys, time
from pathlib import Path
from vae_simpsons.settings import Data, Model, Settings
from vae_simpsons.data.pack import open_pack

def slowly(title, total):
    def done(count):
        if title == "reading images" and count >= 300:
            print("half way", flush=True)
            time.sleep(60)
    return done

open_pack(Path(sys.argv[1]), Data(image_size=16, channels=1, cache_dir=sys.argv[2]), slowly)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_kill_9_in_the_middle_leaves_no_trap(tmp_path):
    folder = draw_pictures(tmp_path / "pics", 400, size=20)
    command = [sys.executable, "-c", PACK_SLOWLY, str(folder), str(tmp_path / "kept")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "half way\n"
        running.send_signal(signal.SIGKILL)
    (left,) = packs(tmp_path)
    assert left.name.startswith(TEMPORARY) and list(left.rglob("pixels.npy"))
    pack = open_pack(folder, view(tmp_path), no_progress)
    assert len(pack.pixels) == 400 and pack.folder.exists()
    assert json.loads((pack.folder / "index.json").read_text())["unreadable"] == []


def test_an_archive_is_packed_without_unpacking_it_twice(tmp_path):
    folder = draw_pictures(tmp_path / "pics", 20)
    archive = Path(shutil.make_archive(str(tmp_path / "pics"), "zip", folder))
    pack = open_pack(archive, view(tmp_path), no_progress)
    assert len(pack.pixels) == 20 and set(pack.index.classes) == {"class_0", "class_1"}
    assert sorted(p.name for p in pack.folder.iterdir()) == ["index.json", "pixels.npy"], "the unpacked files are gone"
    assert torch.equal(pack.pixels, open_pack(folder, view(tmp_path), no_progress).pixels)
    before = pack.folder.stat().st_mtime_ns
    assert open_pack(archive, view(tmp_path), no_progress).folder.stat().st_mtime_ns == before


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / "a.zip").write_text("hello")
    with pytest.raises(VAEError, match=r"data.path: .*a.zip is a file, and no zip or tar"):
        open_pack(tmp_path / "a.zip", view(tmp_path), no_progress)


def test_another_seed_of_a_run_does_not_change_its_toons(tmp_path):
    data = view(tmp_path, path="toons", toons=12, train_fraction=0.5, batch_size=2, split="shuffled")
    runs = [Settings(seed=seed, data=data, model=Model(widths=(4, 4))) for seed in (1, 2)]
    one, other = (load_dataset(run, 1, no_progress) for run in runs)
    assert one.pack.folder == other.pack.folder and one.train.tolist() != other.train.tolist()
