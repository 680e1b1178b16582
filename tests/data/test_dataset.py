"""What a run trains on: images, labels, and what is refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import draw_pictures
from vae_simpsons.data.dataset import load_dataset
from vae_simpsons.data.index import Facts, Index, Unreadable, check_readable
from vae_simpsons.data.split import Split, check_count
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import Data, Model, Settings

LEVELS = {"zoe/b.png": 10, "zoe/a.png": 20, "abe/c.png": 30, "top.png": 40, "season 1/abe/d.png": 50}


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, level in LEVELS.items():
        path = tmp_path / "pics" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), level).save(path)
    return tmp_path / "pics"


def loaded(source, tmp_path, **given):
    data = Data(path=str(source), image_size=16, channels=1, batch_size=2, cache_dir=str(tmp_path / "kept"), **given)
    return load_dataset(Settings(data=data, model=Model(widths=(4, 4))), 1, no_progress)


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_each_image_has_the_label_of_its_sub_folder(folder, tmp_path, packed):
    source = shutil.make_archive(str(tmp_path / "pics"), "zip", folder) if packed else folder
    for _ in range(2):  # packed, then opened
        dataset = loaded(source, tmp_path, split="sorted")
        assert dataset.class_names == ["", "abe", "season 1/abe", "zoe"]
        assert str(dataset.labels.dtype) == "torch.int64" and dataset.labels.shape == (5,)
        by_level = {
            int(p[0, 0, 0]): dataset.class_names[i] for p, i in zip(dataset.pack.pixels, dataset.labels, strict=True)
        }
        assert by_level == {10: "zoe", 20: "zoe", 30: "abe", 40: "", 50: "season 1/abe"}


def test_an_empty_index_has_no_labels():
    assert Index().class_names == [] and Index().labels.shape == (0,) and Index().labels.dtype == np.int64


def index_with(readable: int, unreadable: int) -> Index:
    facts = [Facts("", 1, 1, "PNG", "L")] * readable
    return Index([f"{i}.png" for i in range(readable)], facts, [], [Unreadable("a.jpg", "empty")] * unreadable)


def test_a_tenth_may_be_unreadable_and_not_more():
    check_readable(index_with(18, 2))
    with pytest.raises(
        VAEError, match=r"^data.path: 3 of 21 images are unreadable, the first 'a.jpg' \(empty\). Up to 10%"
    ):
        check_readable(index_with(18, 3))


@pytest.mark.parametrize(
    ("train", "val", "processes", "said"),
    [
        (7, 9, 1, r"data.batch_size: 8 is more than the 7 training images \(16 found.*--data.batch_size 7."),
        (15, 9, 2, r"data.batch_size: 8 in each of 2 processes is more than the 15 training images"),
        (24, 2, 3, "trainer.devices: 3 processes, but 2 images to validate"),
    ],
)
def test_too_few_images_are_refused(train, val, processes, said):
    with pytest.raises(VAEError, match=f"^{said}"):
        check_count(Split(np.arange(train), np.arange(val)), Data(batch_size=8), processes)
    check_count(Split(np.arange(8 * processes), np.arange(processes)), Data(batch_size=8), processes)


def test_an_archive_that_is_damaged_is_named_as_the_setting(tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "pics"), "gztar", draw_pictures(tmp_path / "pics", 20)))
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(VAEError, match="^data.path: .* is cut short"):
        loaded(archive, tmp_path)


def test_nothing_is_installed_by_an_import():
    code = (
        "import logging, ctypes\n"
        "ctypes.CDLL = None\n"
        "import vae_simpsons.data.decode, vae_simpsons.data.pack\n"
        "assert not logging.getLogger('PIL').handlers"
    )
    code = "import numpy, torch, PIL.Image, simplejpeg, filelock\n" + code
    subprocess.run([sys.executable, "-c", code], check=True)
