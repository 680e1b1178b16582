from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import build_network
from vae_simpsons.errors import VAEError
from vae_simpsons.files import write_csv
from vae_simpsons.images import denormalise
from vae_simpsons.inference import latents
from vae_simpsons.inference.decode import decode_to_folder, open_latents, read_names
from vae_simpsons.progress import no_progress


def folder_of(tmp_path: Path, count: int, paths: list[str] | None = None) -> Path:
    folder = tmp_path / "latents"
    folder.mkdir()
    np.save(folder / "mu.npy", np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32))
    if paths is not None:
        write_csv(folder / "images.csv", ("path", "class"), [(path, "") for path in paths])
    return folder


def test_each_latent_has_its_picture_under_its_name(tmp_path):
    network = build_network().eval()
    paths = [f"class_{i % 2}/{i}.jpeg" for i in range(300)]  # more than a block
    opened = open_latents(folder_of(tmp_path, 300, paths), (8,))
    decode_to_folder(network, opened, tmp_path / "out", no_progress)
    expected = denormalise(latents.decode(network, torch.from_numpy(np.array(opened.z))))
    for i in (0, 7, 255, 256, 299):
        read = np.asarray(Image.open(tmp_path / "out" / f"class_{i % 2}" / f"{i}.png"))
        assert np.array_equal(read, expected[i].permute(1, 2, 0))
    assert len(list((tmp_path / "out").rglob("*.png"))) == 300


def test_without_a_table_pictures_are_numbered(tmp_path):
    folder = folder_of(tmp_path, 2)
    for given in (folder, folder / "mu.npy", str(folder / "mu.npy")):
        assert open_latents(given, (8,)).names == ["latent_000000.png", "latent_000001.png"]


def test_names_that_differ_in_the_ending_alone_keep_it(tmp_path):
    folder = folder_of(tmp_path, 3, ["a.jpg", "a.png", "b.jpg"])
    assert read_names(folder / "images.csv") == ["a.jpg.png", "a.png.png", "b.png"]


@pytest.mark.parametrize("path", ["../a.png", "/etc/a.png", "a/../../b.png", "", "a\0.png"])
def test_a_table_leads_nowhere_else(tmp_path, path):
    folder = folder_of(tmp_path, 1, [path])
    with pytest.raises(VAEError, match="^z: .*(no path inside a folder|cannot read)"):
        open_latents(folder, (8,))


def test_tables_that_do_not_fit_are_refused(tmp_path):
    folder = folder_of(tmp_path, 2, ["a.png"])
    with pytest.raises(VAEError, match="^z: .*names 1 images, and .* has 2 latents"):
        open_latents(folder, (8,))
    write_csv(folder / "images.csv", ("path", "class"), [("a.png", ""), ("a.png", "")])
    with pytest.raises(VAEError, match="names an image twice"):
        open_latents(folder, (8,))
    write_csv(folder / "images.csv", ("name",), [("a.png",), ("b.png",)])
    with pytest.raises(VAEError, match="should have a column path"):
        open_latents(folder, (8,))


def test_files_that_hold_no_latents_are_refused(tmp_path):
    network = build_network().eval()

    def refused(path, said):
        with pytest.raises(VAEError, match=f"^z: {said}"):
            open_latents(path, (8,))

    refused(tmp_path / "no.npy", "no such file")
    refused(tmp_path, "no such file: .*mu.npy")
    (tmp_path / "text.npy").write_text("hello")
    refused(tmp_path / "text.npy", "cannot read .*text.npy")
    np.save(tmp_path / "code.npy", np.array([{}, {}], dtype=object))
    refused(tmp_path / "code.npy", "cannot read .*code.npy")
    np.savez(tmp_path / "many.npz", a=np.zeros((2, 8)))
    refused(tmp_path / "many.npz", ".*is an archive of arrays")
    for array in (np.zeros((2, 9)), np.zeros((2, 8), int), np.zeros((0, 8)), np.zeros(8)):
        np.save(tmp_path / "z.npy", array)
        refused(tmp_path / "z.npy", r".*z.npy has the shape .* The model decodes floats of \(N, 8\)")
    z = np.zeros((3, 8))
    z[1, 4] = np.nan
    np.save(tmp_path / "z.npy", z)
    with pytest.raises(VAEError, match="^z: latent 1 is not finite"):
        decode_to_folder(network, open_latents(tmp_path / "z.npy", (8,)), tmp_path, no_progress)
