"""The verbs that look at a model, as users type them."""

import csv
import json
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import refused, vae

from conftest import TINY, draw_pictures, flags
from vae_simpsons import VAE, api
from vae_simpsons.cli import main
from vae_simpsons.images import denormalise


@pytest.fixture
def ckpt(run_folder) -> str:
    return str(run_folder / "last.ckpt")


@pytest.fixture
def three(pictures) -> list[str]:
    """The paths of three pictures."""
    return [str(path) for path in sorted(pictures.rglob("*.png"))[:3]]


@pytest.fixture(scope="session")
def plain(pictures, tmp_path_factory) -> str:
    """The checkpoint of an autoencoder that is not variational."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    settings = TINY | {"data.path": str(pictures), "model.variational": "false", "trainer.max_epochs": "1"}
    assert main(["train", *flags(settings), f"--out={folder}"]) == 0
    return str(folder / "last.ckpt")


def pixels_of(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_reconstruct_in_a_process_of_its_own(ckpt, pictures, three):
    done = vae("reconstruct", "--ckpt", ckpt, *three, "--out", "grid.png", "--heatmap", "heat.png", "--csv", "f.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 images in grid.png, above their reconstructions\nmean of 3: mse 0." in done.stdout
    assert "pale yellow" in done.stdout and "f.csv" in done.stdout
    grid = pixels_of("grid.png")
    assert grid.shape == (2 + 2 * 34, 2 + 3 * 34, 3) == pixels_of("heat.png").shape
    for i, picture in enumerate(VAE.load(ckpt).reconstruct(three)):
        assert np.array_equal(grid[36:68, 2 + 34 * i : 34 + 34 * i], np.asarray(picture))


def test_figures_of_a_folder_and_an_archive_are_the_same_worst_first(ckpt, pictures, tmp_path, capsys):
    archive = shutil.make_archive(str(tmp_path / "pics"), "zip", pictures)
    for path, name in ((str(pictures), "a"), (archive, "b")):
        written = ["--out", f"{name}.png", "--csv", f"{name}.csv", "--json", f"{name}.json", "-n", "8"]
        assert main(["reconstruct", "--ckpt", ckpt, path, *written]) == 0
    assert "8 of 40 images in a.png" in capsys.readouterr().out
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    (report, other) = (json.loads(Path(f"{name}.json").read_text()) for name in "ab")
    assert report["mean"] == other["mean"] and set(report["definitions"]) == {"mse", "psnr", "ssim", "elbo"}
    errors = [image["mse"] for image in report["images"]]
    assert len(errors) == 40 and errors == sorted(errors, reverse=True)
    with open("a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [image["path"] for image in report["images"]]
    assert float(rows[0]["elbo"]) == report["images"][0]["elbo"] and Path(rows[0]["path"]).is_file()
    assert main(["reconstruct", "--ckpt", ckpt, str(pictures), "--worst", "-n", "1", "--out", "worst.png"]) == 0
    assert "the 1 worst of 40 images" in capsys.readouterr().out
    worst = Image.open(rows[0]["path"]).resize((32, 32))
    assert np.abs(pixels_of("worst.png")[2:34, 2:34].astype(int) - np.asarray(worst)).mean() < 3


def test_unreadable_files_of_a_folder_are_counted_and_images_of_other_sizes_are_resized(ckpt, tmp_path, capsys):
    folder = draw_pictures(tmp_path / "pics", 20, size=57)
    (folder / "bad.jpg").write_text("not a picture")
    assert main(["reconstruct", "--ckpt", ckpt, str(folder)]) == 0
    said = capsys.readouterr().out
    assert "1 left out: 'bad.jpg'" in said and "20 images in reconstructions.png" in said


def test_interpolate_draws_a_strip_and_animations(ckpt, three, capsys):
    common = ["interpolate", "--ckpt", ckpt, *three, "--steps", "5"]
    assert main([*common, "--out", "strip.png"]) == 0
    assert "2 rows of 5 images in strip.png" in capsys.readouterr().out
    strip = pixels_of("strip.png")
    assert strip.shape == (2 + 2 * 34, 2 + 5 * 34, 3)
    model = VAE.load(ckpt)
    assert np.array_equal(strip[36:68, 138:170], np.asarray(model.reconstruct(three)[2]))
    assert np.array_equal(strip[2:34, 36:68], np.asarray(model.interpolate(three[0], three[1], 5)[1]))
    for name, frames, options in (
        ("a.gif", 9, []),
        ("b.webp", 12, ["--loop"]),
        ("c.gif", 12, ["--loop", "--spherical"]),
    ):
        assert main([*common, "--out", name, *options]) == 0
        assert f"{frames} frames in {name}" in capsys.readouterr().out
        with Image.open(name) as moving:
            assert moving.format == name[2:].upper() and moving.size == (32, 32)
    assert main([*common, "--out", "c.gif"]) == 0, "its own format is overwritten"


def test_traverse_labels_a_row_for_each_dimension(ckpt, three, capsys):
    assert main(["traverse", "--ckpt", ckpt]) == 0
    assert capsys.readouterr().out == "8 of 8 latent dimensions in traversal.png\n"
    height, width, _ = pixels_of("traversal.png").shape
    assert height > 2 + 8 * 34 and width > 2 + 7 * 34
    options = ["--image", three[0], "--dims", "0,3", "--range", "2", "--steps", "3", "--data.path", three[1]]
    assert main(["traverse", "--ckpt", ckpt, *options, "--out", "two.png"]) == 0
    assert "2 of 8" in capsys.readouterr().out and pixels_of("two.png").shape[0] < height


def test_arithmetic_adds_the_difference_of_two_folders(ckpt, pictures, three, capsys):
    sets = ["--plus", str(pictures / "class_0"), "--minus", str(pictures / "class_1")]
    assert main(["arithmetic", "--ckpt", ckpt, *sets, "--image", *three, "--scale=-1,0.5"]) == 0
    assert "3 images in arithmetic.png: image, recon, -1, +0.5" in capsys.readouterr().out
    grid = pixels_of("arithmetic.png")
    top = grid.shape[0] - (2 + 3 * 34)
    model = VAE.load(ckpt)
    vector = model.attribute(pictures / "class_0", pictures / "class_1")
    expected = denormalise(model.decode(model.encode(three)[0] - vector))
    assert np.array_equal(grid[top + 2 : top + 34, 36:68], np.asarray(model.reconstruct(three[0])))
    found = torch.from_numpy(grid[top + 70 : top + 102, 70:102].astype(int))
    assert (found - expected[2].permute(1, 2, 0)).abs().max() <= 1


def test_encode_then_decode_gives_the_very_pixels_of_reconstruct(ckpt, pictures, capsys):
    assert main(["encode", "--ckpt", ckpt, str(pictures)]) == 0
    assert main(["decode", "--ckpt", ckpt, "latents"]) == 0
    assert capsys.readouterr().out.endswith("40 images in decoded\n")
    model = VAE.load(ckpt)
    for path in sorted(pictures.rglob("*.png")):
        decoded = pixels_of(str(Path("decoded") / path.relative_to(pictures)))
        assert np.array_equal(decoded, np.asarray(model.reconstruct(path)))
    assert main(["decode", "--ckpt", ckpt, "latents/mu.npy", "--out-dir", "numbered"]) == 0
    assert len(list(Path("numbered").glob("latent_0000*.png"))) == 40


def test_neighbors_of_training_images_are_themselves(ckpt, run_folder, pictures, capsys):
    with open(run_folder / "split.csv", newline="") as file:
        train = [row["path"] for row in csv.DictReader(file) if row["side"] == "train"]
    asked = str(pictures / train[0])
    assert main(["neighbors", "--ckpt", ckpt, asked, "-k", "3"]) == 0
    said = capsys.readouterr().out
    assert "1 image, each with its 3 nearest training images, in neighbors.png" in said
    assert f"  {asked}: in pixels {train[0]}, in features {train[0]}\n" in said
    assert "in pixels, memorisation ratio: 10 validation images are too few; it needs 20" in said
    height, width, _ = pixels_of("neighbors.png").shape
    assert height > 2 + 2 * 34 and width > 2 + 4 * 34


def test_neighbors_without_the_extra_are_in_pixels_alone(ckpt, monkeypatch, capsys):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("vae_simpsons.evaluation.features.metadata.files", absent)
    assert main(["neighbors", "--ckpt", ckpt, "--samples", "2"]) == 0
    said = capsys.readouterr().out
    assert "2 samples, each with its 7" in said and 'Run: pip install "vae-simpsons[evaluate]"' in said


def test_an_autoencoder_reconstructs_but_has_nothing_to_sample_or_traverse(capfd, plain, three):
    assert main(["reconstruct", "--ckpt", plain, *three]) == 0
    assert "elbo" not in capfd.readouterr().out
    assert main(["interpolate", "--ckpt", plain, *three]) == 0
    capfd.readouterr()
    assert "--ckpt: this is an autoencoder" in refused(capfd, "traverse", "--ckpt", plain)
    assert "--ckpt: this is an autoencoder" in refused(capfd, "neighbors", "--ckpt", plain, "--samples", "2")


def test_an_export_does_not_know_its_pictures_until_they_are_named(capfd, ckpt, pictures, monkeypatch):
    assert main(["export", "--ckpt", ckpt, "--out", "model"]) == 0
    capfd.readouterr()
    assert "data.path: an exported model does not say" in refused(capfd, "traverse", "--ckpt", "model")
    assert main(["traverse", "--ckpt", "model", "--data.path", str(pictures)]) == 0
    monkeypatch.setattr(api, "source_of", lambda data, _: pictures if data.path == "toons" else Path(data.path))
    assert main(["traverse", "--ckpt", "model", "--data.path", "toons"]) == 0
    assert main(["neighbors", "--ckpt", "model", "--data.path", str(pictures), "--samples", "1"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reconstruct", "nowhere"], "PATH: no such file or folder: nowhere"),
        (["reconstruct", "empty"], "PATH: no images under empty"),
        (["reconstruct", "bad.png"], "PATH: cannot read bad.png: not an image"),
        (["reconstruct", "notes.txt"], "PATH: cannot read notes.txt: not an image"),
        (["reconstruct", "IMAGE", "--out", "a.jpg"], "--out: a.jpg does not end in .png"),
        (["reconstruct", "IMAGE", "--out", "bad.png"], "--out: bad.png exists and is no PNG"),
        (["reconstruct", "IMAGE", "--json", "f.txt"], "--json: f.txt does not end in .json"),
        (["reconstruct", "IMAGE", "--csv", "f"], "--csv: f does not end in .csv"),
        (["reconstruct", "IMAGE", "--heatmap", "h.gif"], "--heatmap: h.gif does not end in .png"),
        (["reconstruct", "IMAGE", "-n", "0"], "-n: 0 is not accepted"),
        (["interpolate", "IMAGE"], "IMAGE: 1 picture is no way. Give two or more."),
        (["interpolate", "IMAGE", "IMAGE", "--steps", "1", "--out", "w.gif"], "--steps: 1 is not accepted"),
        (["interpolate", "IMAGE", "IMAGE", "--out", "w.mp4"], "--out: w.mp4 does not end in .png or .gif or .webp"),
        (["interpolate", "IMAGE", "IMAGE", "--out", "bad.gif"], "--out: bad.gif exists and is no GIF"),
        (["interpolate", "IMAGE", "bad.png"], "IMAGE: cannot read bad.png"),
        (["traverse", "--dims", "8"], "--dims: 8 is out of range. Give top8, or numbers from 0 to 7"),
        (["traverse", "--dims", "best"], "--dims: 'best' is not accepted"),
        (["traverse", "--range", "0"], "--range: 0 is not accepted. Give a number > 0."),
        (["traverse", "--range", "nan"], "--range: nan is not accepted"),
        (["traverse", "--image", "nowhere.png"], "--image: no such file or folder: nowhere.png"),
        (["traverse", "--data.path", "empty"], "data.path: no images under empty"),
        (["arithmetic", "--plus", "empty", "--minus", "IMAGE", "--image", "IMAGE"], "--plus: no images under empty"),
        (["arithmetic", "--plus", "IMAGE", "--minus", "no", "--image", "IMAGE"], "--minus: no such file or folder: no"),
        (["arithmetic", "--plus", "IMAGE", "--minus", "IMAGE", "--image", "no"], "--image: no such file or folder: no"),
        (["decode", "no.npy"], "LATENTS: no such file: no.npy"),
        (["decode", "wrong.npy"], "LATENTS: wrong.npy has the shape (4, 9). The model decodes floats of (N, 8)"),
        (["decode", "right.npy", "--out-dir", "wrong.npy"], "--out-dir: wrong.npy is a file. Give a new folder."),
        (["neighbors", "--samples", "0"], "--samples: 0 is not accepted"),
        (["neighbors", "IMAGE", "-k", "0"], "-k: 0 is not accepted"),
        (["neighbors", "empty"], "IMAGE: no images under empty"),
        (["neighbors", "IMAGE", "--data.path", "empty"], "data.path: no images under empty"),
    ],
)
def test_what_cannot_be_done_is_refused(capfd, ckpt, three, arguments, said):
    Path("empty").mkdir()
    for name in ("bad.png", "bad.gif", "notes.txt"):
        Path(name).write_text("a letter")
    np.save("wrong.npy", np.zeros((4, 9)))
    np.save("right.npy", np.zeros((4, 8)))
    verb, *rest = [three[0] if argument == "IMAGE" else argument for argument in arguments]
    assert said in refused(capfd, verb, "--ckpt", ckpt, *rest)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reconstruct", "x"], "the following arguments are required: --ckpt"),
        (["reconstruct", "--ckpt", "x"], "the following arguments are required: PATH"),
        (["neighbors", "--ckpt", "x"], "give images or --samples INT, one of them"),
        (["neighbors", "--ckpt", "x", "y", "--samples", "3"], "give images or --samples INT, one of them"),
        (
            ["arithmetic", "--ckpt", "x", "--plus", "a", "--minus", "b", "--image", "c", "--scale", "big"],
            "--scale: 'big' is not accepted. Give numbers",
        ),
        (["traverse", "--ckpt", "x", "--dim", "3"], "Did you mean --dims?"),
    ],
)
def test_wrong_usage(capfd, arguments, said):
    assert said in refused(capfd, *arguments, status=2)


def test_a_moving_gif_is_read_by_its_first_frame_and_one_with_one_frame_too(ckpt, three, capsys):
    frames = [Image.open(path) for path in three]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save("still.gif")
    assert main(["reconstruct", "--ckpt", ckpt, "moving.gif", "still.gif"]) == 0
    grid = pixels_of("reconstructions.png").astype(int)
    assert np.abs(grid[2:34, 2:34] - grid[2:34, 36:68]).mean() < 4
