import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import draw_pictures
from vae_simpsons.data.decode import decode_block, decode_image
from vae_simpsons.data.folder import find_files
from vae_simpsons.data.pictures import open_pictures
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import Data

DATA = Data(image_size=32)


def opened(*paths):
    return open_pictures("PATH", paths, DATA, no_progress)


def test_files_folders_and_archives_come_in_the_order_given(tmp_path):
    folder = draw_pictures(tmp_path / "pics", 5)
    (folder / "bad name.jpg").write_text("not a picture")
    for i in range(10):  # so that the bad one is no tenth of them
        shutil.copy(folder / "class_0" / "pic_0000.png", folder / f"copy_{i}.png")
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", folder)
    single = folder / "class_1" / "pic_0001.png"
    found = opened(single, folder, archive)
    files = [file for file in find_files(folder) if file.path != "bad name.jpg"]
    assert found.names[0] == str(single) and found.names[1:16] == [str(folder / file.path) for file in files]
    assert found.names[16] == f"{archive}/{files[0].path}" and len(found) == 31
    assert len(found.left_out) == 2 and "bad name.jpg" in found.left_out[0]
    expected = decode_block(folder, files, DATA).pixels
    everything = torch.cat([decode_image(single, DATA).pixels[None], expected, expected])
    assert torch.equal(torch.cat(list(found.blocks(7))), everything)
    assert [len(block) for block in found.blocks(7)] == [7, 7, 7, 7, 3]
    assert torch.equal(found.take([20, 0, 3]), everything[[20, 0, 3]])


def test_a_file_is_read_only_when_it_is_asked_for(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    found = opened(tmp_path / "a.png", tmp_path / "b.png")
    assert found.take([0]).shape == (1, 3, 32, 32)
    with pytest.raises(VAEError, match=r"^PATH: cannot read .*b.png: empty. Give an image \(JPEG, PNG"):
        found.take([1])


def test_a_picture_without_an_ending_is_one_by_its_content(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "photo", "PNG")
    assert opened(tmp_path / "photo").take([0]).shape == (1, 3, 32, 32)


def test_what_is_not_there_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VAEError, match="^PATH: no such file or folder: nowhere"):
        opened("nowhere")
    with pytest.raises(VAEError, match="^PATH: no images under .* Give a folder of images."):
        opened(tmp_path / "empty")
