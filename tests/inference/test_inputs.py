import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import draw_pictures
from vae_simpsons import VAE
from vae_simpsons.data.decode import decode_image
from vae_simpsons.errors import VAEError
from vae_simpsons.images import denormalise, normalise
from vae_simpsons.inference.grids import Grid
from vae_simpsons.inference.inputs import read_inputs, read_latents, read_one
from vae_simpsons.settings import Data

DATA = Data(image_size=32)


@pytest.fixture
def png(tmp_path) -> Path:
    """A picture that is wider than high."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def prepared(path: Path, data: Data = DATA) -> torch.Tensor:
    return normalise(decode_image(path, data).pixels)[None]


@pytest.mark.parametrize("data", [DATA, Data(image_size=32, channels=1, crop="none")])
def test_paths_pictures_and_arrays_are_prepared_as_in_training(png, data):
    picture = Image.open(png)
    array = np.array(picture)
    for x in (png, str(png), picture, array, array.astype(np.float32) / 255):
        inputs = read_inputs("x", x, data)
        assert torch.equal(inputs.x, prepared(png, data))
        assert inputs.single and not inputs.are_tensors


def test_a_picture_is_turned_upright_and_loses_its_transparency(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 32, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert torch.equal(read_inputs("x", Image.open(tmp_path / "a.png"), DATA).x, prepared(tmp_path / "a.png"))


def test_lists_folders_and_archives_give_all_their_pictures(png, tmp_path):
    folder = draw_pictures(tmp_path / "pics", 3)
    archive = shutil.make_archive(str(tmp_path / "pics"), "zip", folder)
    one, many = read_inputs("x", png, DATA), read_inputs("x", folder, DATA)
    assert many.x.shape == (3, 3, 32, 32) and not many.single
    assert torch.equal(read_inputs("x", archive, DATA).x, many.x)
    mixed = read_inputs("x", [png, folder, Image.open(png)], DATA)
    assert torch.equal(mixed.x, torch.cat([one.x, many.x, one.x])) and not mixed.single
    batch = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    assert torch.equal(read_inputs("x", batch, DATA).x, normalise(torch.from_numpy(batch).permute(0, 3, 1, 2)))


def test_tensors_pass_and_of_another_size_are_resized(png):
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    inputs = read_inputs("x", x, DATA)
    assert torch.equal(inputs.x, x) and inputs.are_tensors and not inputs.single
    assert read_inputs("x", x[0], DATA).single
    large = torch.from_numpy(np.array(Image.open(png))).permute(2, 0, 1)
    assert torch.equal(read_inputs("x", large, DATA).x, prepared(png))
    found = read_inputs("x", normalise(large), DATA).x
    assert (found - prepared(png)).abs().mean() < 1 / 127.5  # not rounded between the two passes


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (3, "x: int is not accepted. Give paths"),
        (None, "x: NoneType is not accepted"),
        ([], "x: an empty list"),
        ("nowhere.png", "x: no such file or folder: nowhere.png"),
        (torch.zeros(1, 32, 32), r"x: a tensor of shape \(1, 32, 32\). Give \(n, 3, H, W\)"),
        (torch.zeros(3, 32, 32, dtype=torch.int64), "x: a tensor of torch.int64"),
        (torch.full((3, 32, 32), 255.0), "x: a tensor from 255 to 255. Give values from -1 to 1"),
        (torch.full((3, 32, 32), float("nan")), "x: a tensor from nan"),
        (np.zeros((32, 32, 2), np.uint8), r"x: an array of shape \(32, 32, 2\)"),
        (np.zeros((0, 32, 3), np.uint8), "x: an array of shape"),
        (np.zeros((32, 32, 3), np.int64), "x: an array of int64. Give uint8"),
        (np.full((32, 32, 3), 255.0), "x: an array of floats from 255 to 255. Give values from 0 to 1"),
        ([torch.zeros(3, 32, 32), np.zeros((32, 32), np.uint8)], "x: tensors and other pictures in one list"),
    ],
)
def test_what_is_no_picture_is_refused_by_the_arguments_name(x, said):
    with pytest.raises(VAEError, match=f"^{said}"):
        read_inputs("x", x, DATA)


def test_files_that_are_no_pictures_are_refused(tmp_path):
    (tmp_path / "a.png").write_text("a letter")
    (tmp_path / "notes.txt").write_text("a letter")
    (tmp_path / "empty").mkdir()
    for name, said in (("a.png", "not an image"), ("notes.txt", "not an image"), ("empty", "no images under")):
        with pytest.raises(VAEError, match=f"^x: .*{said}"):
            read_inputs("x", tmp_path / name, DATA)
    Image.new("RGB", (200, 200)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:700])
    with pytest.raises(VAEError, match="^x: cannot read"):
        read_inputs("x", Image.open(tmp_path / "cut.jpg"), DATA)
    with pytest.raises(VAEError, match="^a: 2 pictures. Give one."):
        read_one("a", torch.zeros(2, 3, 32, 32), DATA)


def test_latents_come_as_tensors_arrays_or_files(tmp_path):
    z = np.random.default_rng(0).normal(size=(4, 8))
    np.save(tmp_path / "z.npy", z)
    for given in (z, torch.from_numpy(z), tmp_path / "z.npy"):
        assert torch.equal(read_latents(given, (8,)).x, torch.from_numpy(z).float())
    assert read_latents(z[0], (8,)).single and read_latents(z[0], (8,)).x.shape == (1, 8)
    for wrong, said in ((z[:, :3], r"shape \(4, 3\)"), (z.astype(int), "no floats"), (3, "int is not accepted")):
        with pytest.raises(VAEError, match=f"^z: .*{said}"):
            read_latents(wrong, (8,))


def test_tensors_give_tensors_and_everything_else_pictures(run_folder, pictures):
    model = VAE.load(run_folder / "last.ckpt")
    paths = sorted(pictures.rglob("*.png"))[:3]
    x = read_inputs("x", paths, model.settings.data).x
    recon = model.reconstruct(x)
    assert isinstance(recon, torch.Tensor) and recon.shape == (3, 3, 32, 32)
    assert torch.equal(model.reconstruct(x[0]), recon[0])
    grid = model.reconstruct(paths)
    assert isinstance(grid, Grid) and len(grid) == 3
    for picture, pixels in zip(grid, denormalise(recon), strict=True):
        assert np.array_equal(np.array(picture), pixels.permute(1, 2, 0))
    assert isinstance(model.reconstruct(paths[0]), Image.Image)
    z = model.encode(paths)[0]
    assert torch.equal(model.decode(z), recon) and torch.equal(model.decode(z[0]), recon[0])
    assert np.array_equal(np.array(model.decode(z.numpy())[1]), np.array(grid[1]))


def test_interpolate_goes_from_one_reconstruction_to_the_other(run_folder, pictures):
    model = VAE.load(run_folder / "last.ckpt")
    a, b = sorted(pictures.rglob("*.png"))[:2]
    x = read_inputs("x", [a, b], model.settings.data).x
    for spherical in (False, True):
        way = model.interpolate(x[0], x[1], 5, spherical)
        assert way.shape == (5, 3, 32, 32)
        torch.testing.assert_close(way[[0, -1]], model.reconstruct(x))
    strip = model.interpolate(a, b, 5)
    assert isinstance(strip, Grid) and len(strip) == 5
    assert np.array_equal(np.array(strip[0]), np.array(model.reconstruct(a)))
    with pytest.raises(VAEError, match="^b: no such file"):
        model.interpolate(a, "nowhere")
    with pytest.raises(VAEError, match="^steps: 1 is not accepted"):
        model.interpolate(a, b, 1)


def test_traverse_and_samples_show_themselves(run_folder, pictures):
    model = VAE.load(run_folder / "last.ckpt")
    grid = model.traverse(dims="top3", steps=5)
    assert len(grid) == 15 and grid._repr_png_().startswith(b"\x89PNG")
    assert model.traverse(torch.zeros(3, 32, 32), dims=[0], steps=5).shape == (1, 5, 3, 32, 32)
    samples = model.sample_images(3)
    pixels = denormalise(model.sample(3))
    assert np.array_equal(np.array(samples[2]), pixels[2].permute(1, 2, 0)) and samples._repr_png_()
    measured = model.traverse(dims="top3", steps=5, measured_on=pictures)
    assert len(measured) == 15 and measured.row_labels != grid.row_labels
