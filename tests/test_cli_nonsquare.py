"""Images that are wider than high, through every verb: 16 rows of 24 pixels."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY, draw_pictures, flags
from vae_simpsons import VAE
from vae_simpsons.cli import main
from vae_simpsons.data.decode import decode_image

HEIGHT, WIDTH, GAP = 16, 24, 2
SETTINGS = TINY | {"data.image_size": f"[{HEIGHT}, {WIDTH}]", "model.widths": "[4, 8, 8]", "data.split": "shuffled"}
SETTINGS |= {"trainer.max_epochs": "2", "trainer.evaluate_every": "2", "data.horizontal_flip": "true"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """96 pictures in two classes, some of them wide, high and turned."""
    folder = draw_pictures(tmp_path_factory.mktemp("shapes") / "pics", 96, size=40)
    turned = Image.Exif()
    turned[0x0112] = 6
    for i, path in enumerate(sorted(folder.rglob("*.png"))):
        if i % 4:
            picture = Image.open(path).resize(((60, 40), (40, 60), (32, 48))[i % 3])
            picture.save(path, exif=turned if i % 2 else None)
    return folder


@pytest.fixture(scope="module")
def run(folder, cache, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    kept = f"--data.cache_dir={cache / 'vae-simpsons'}"
    assert main(["train", *flags(SETTINGS), f"--data.path={folder}", f"--out={run}", kept]) == 0
    return run


@pytest.fixture
def ckpt(run) -> str:
    return str(run / "last.ckpt")


@pytest.fixture
def three(folder) -> list[str]:
    return [str(path) for path in sorted(folder.rglob("*.png"))[1:4]]


def shape_of(path: str | Path) -> tuple[int, int]:
    """Height and width of the picture at `path`."""
    with Image.open(path) as picture:
        return picture.height, picture.width


def grid(rows: int, columns: int) -> tuple[int, int]:
    """Height and width of a grid without labels."""
    return rows * (HEIGHT + GAP) + GAP, columns * (WIDTH + GAP) + GAP


def test_train_resumes_and_says_the_shape(run, tmp_path, capfd):
    shutil.copytree(run, tmp_path / "again")
    assert main(["train", "--resume=again", "--trainer.max_epochs=3"]) == 0
    assert f"3x{HEIGHT}x{WIDTH}" in capfd.readouterr().out
    assert (run / "projector" / "sprite.png").is_file()
    sizes = {shape_of(path)[0] % (HEIGHT + GAP) for path in (run / "pictures").rglob("*.png")}
    assert sizes == {GAP}


def test_sample(ckpt):
    assert main(["sample", "--ckpt", ckpt, "-n", "6", "--nrow", "3", "--out", "grid.png"]) == 0
    assert shape_of("grid.png") == grid(2, 3)
    assert main(["sample", "--ckpt", ckpt, "-n", "2", "--out-dir", "singly"]) == 0
    assert {shape_of(path) for path in Path("singly").glob("*.png")} == {(HEIGHT, WIDTH)}
    assert VAE.load(ckpt).sample(2).shape == (2, 3, HEIGHT, WIDTH)


def test_reconstruct(ckpt, three):
    assert main(["reconstruct", "--ckpt", ckpt, *three, "--out", "a.png", "--heatmap", "b.png"]) == 0
    assert shape_of("a.png") == shape_of("b.png") == grid(2, 3)
    shown = np.asarray(Image.open("a.png"))[GAP : GAP + HEIGHT, GAP : GAP + WIDTH].transpose(2, 0, 1)
    model = VAE.load(ckpt)
    assert np.array_equal(shown, decode_image(Path(three[0]), model.settings.data).pixels)
    picture = model.reconstruct(Image.open(three[0]))
    assert picture.size == (WIDTH, HEIGHT)
    assert np.array_equal(np.asarray(picture), np.asarray(model.reconstruct(three[0])))


def test_tensors_of_the_shape_pass_and_others_are_cropped(ckpt):
    model = VAE.load(ckpt)
    x = torch.rand(2, 3, HEIGHT, WIDTH) * 2 - 1
    recon = model.reconstruct(x)
    assert recon.shape == x.shape
    taller = torch.cat([torch.zeros(2, 3, 5, WIDTH), x, torch.zeros(2, 3, 5, WIDTH)], dim=2)
    wider = torch.cat([torch.zeros(2, 3, HEIGHT, 7), x, torch.zeros(2, 3, HEIGHT, 7)], dim=3)
    assert torch.equal(model.reconstruct(taller), recon) and torch.equal(model.reconstruct(wider), recon)
    assert model.reconstruct(x.transpose(2, 3)).shape == x.shape


def test_interpolate(ckpt, three):
    common = ["interpolate", "--ckpt", ckpt, *three[:2], "--steps", "5", "--out"]
    assert main([*common, "strip.png"]) == main([*common, "walk.gif"]) == 0
    assert shape_of("strip.png") == grid(1, 5) and shape_of("walk.gif") == (HEIGHT, WIDTH)


def test_traverse_and_arithmetic(ckpt, folder, three, capsys):
    assert main(["traverse", "--ckpt", ckpt, "--dims", "0,3", "--image", three[0], "--steps", "3"]) == 0
    assert main(["traverse", "--ckpt", ckpt, "--data.path", str(folder), "--dims", "top2", "--out", "b.png"]) == 0
    sets = ["--plus", str(folder / "class_0"), "--minus", str(folder / "class_1")]
    assert main(["arithmetic", "--ckpt", ckpt, *sets, "--image", *three]) == 0
    assert "3 images in arithmetic.png" in capsys.readouterr().out
    for name in ("traversal.png", "b.png", "arithmetic.png"):
        assert shape_of(name) > (2 * 2 * HEIGHT, 2 * 2 * WIDTH), "twice as large, so that labels fit"


def test_neighbors(ckpt, three, capsys):
    assert main(["neighbors", "--ckpt", ckpt, *three, "-k", "2"]) == 0
    assert main(["neighbors", "--ckpt", ckpt, "--samples", "2", "--out", "b.png"]) == 0
    assert "3 images, each with its 2 nearest training images" in capsys.readouterr().out
    assert Path("neighbors.png").is_file() and Path("b.png").is_file()


def test_evaluate_and_compare(run, ckpt, tmp_path, capsys):
    assert main(["evaluate", "--ckpt", ckpt, "--quick", "--samples", "40", "--device", "cpu", "--out", "found"]) == 0
    said = capsys.readouterr().out
    for text in ("SSIM", "sharpness of samples", "kl", "KD-EffNetLite0"):
        assert text in said
    assert f"at {HEIGHT}x{WIDTH} for 2 epochs" in Path("found/report.html").read_text()
    shutil.copytree(run, tmp_path / "other")
    assert main(["compare", str(run), "other", "--out", "both.html"]) == 0
    assert Path("both.html").is_file()


def test_encode_then_decode(ckpt, folder, three):
    assert main(["encode", "--ckpt", ckpt, str(folder)]) == 0
    assert main(["decode", "--ckpt", ckpt, "latents"]) == 0
    model = VAE.load(ckpt)
    for path in three:
        decoded = np.asarray(Image.open(Path("decoded") / Path(path).relative_to(folder)))
        assert decoded.shape == (HEIGHT, WIDTH, 3)
        assert np.array_equal(decoded, np.asarray(model.reconstruct(path)))


def test_export(ckpt):
    assert main(["export", "--ckpt", ckpt, "--out", "passed_on"]) == 0
    assert f"on pictures of {HEIGHT}x{WIDTH} pixels" in Path("passed_on/README.md").read_text()
    assert main(["sample", "--ckpt", "passed_on", "-n", "4", "--out", "a.png"]) == 0
    assert main(["sample", "--ckpt", ckpt, "-n", "4", "--out", "b.png"]) == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_data_check_and_import(folder, tmp_path, capsys):
    shape = f"--data.image_size=[{HEIGHT},{WIDTH}]"
    archive = shutil.make_archive(str(tmp_path / "pics"), "zip", folder)
    assert main(["data", "import", archive, "unpacked"]) == 0
    Image.new("RGB", (23, 400)).save("unpacked/narrow.png")
    Image.new("RGB", (400, 15)).save("unpacked/low.png")
    Image.new("RGB", (24, 16)).save("unpacked/just.png")
    capsys.readouterr()
    assert main(["data", "check", "unpacked", shape, "--model.widths=[4, 8]", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["readable"] == 99 and found["pack_bytes"] == 99 * 3 * HEIGHT * WIDTH and found["smaller"] == 2


def test_toons_of_any_shape_train(capsys):
    toons = flags(SETTINGS | {"data.toons": "40", "data.split": "grouped", "trainer.max_epochs": "1"})
    assert main(["train", *toons, "--data.path=toons", "--out=run"]) == 0
    assert f"-{WIDTH}px" in capsys.readouterr().out
    assert VAE.load("run/last.ckpt").sample(1).shape == (1, 3, HEIGHT, WIDTH)
