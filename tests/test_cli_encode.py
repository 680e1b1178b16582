"""vae encode, as users type it."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli import refused, vae

from conftest import TINY, draw_pictures, flags
from vae_simpsons import VAE
from vae_simpsons.cli import main
from vae_simpsons.data.decode import decode_block
from vae_simpsons.data.folder import find_files
from vae_simpsons.images import normalise


def paths_in(table: Path) -> list[str]:
    with open(table, newline="", encoding="utf-8") as file:
        return [row["path"] for row in csv.DictReader(file)]


def test_the_runs_own_images_are_encoded_as_the_network_does_it(run_folder, pictures):
    done = vae("encode", "--ckpt", str(run_folder / "last.ckpt"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "40 images in latents: mu.npy, log_var.npy, images.csv\n"
    model, files = VAE.load(run_folder / "last.ckpt"), find_files(pictures)
    assert paths_in(Path("latents/images.csv")) == [file.path for file in files]
    with torch.no_grad():
        expected = model.network.encode(normalise(decode_block(pictures, files, model.config.data).pixels))
    for name, figures in zip(("mu", "log_var"), expected, strict=True):
        found = np.load(f"latents/{name}.npy")
        assert found.dtype == np.float32 and found.shape == (40, 8)
        np.testing.assert_allclose(found, figures, rtol=1e-4, atol=1e-5)


def test_a_folder_and_an_archive_of_it_give_the_same(run_folder, tmp_path, capsys):
    folder = draw_pictures(tmp_path / "pics", 12)
    archive = shutil.make_archive(str(tmp_path / "pics"), "zip", folder)
    (folder / "bad name.jpg").write_text("not a picture")
    for source, out in ((folder, "a"), (archive, "b")):
        assert main(["encode", str(source), "--ckpt", str(run_folder / "best.ckpt"), "--out", out]) == 0
    said = capsys.readouterr().out
    assert "1 left out: 'bad name.jpg': not an image" in said and "12 images in a: " in said
    assert paths_in(Path("a/images.csv")) == paths_in(Path("b/images.csv"))
    assert np.array_equal(np.load("a/mu.npy"), np.load("b/mu.npy"))


def test_images_are_prepared_as_in_training(pictures, capsys):
    grey = flags(TINY | {"data.channels": "1", "data.crop": "none", "model.variational": "false"})
    assert main(["train", *grey, f"--data.path={pictures}", "--trainer.max_epochs=1", "--out=run"]) == 0
    assert main(["encode", "--ckpt", "run/last.ckpt"]) == 0
    assert capsys.readouterr().out.endswith("40 images in latents: mu.npy, images.csv\n")
    assert np.load("latents/mu.npy").shape == (40, 8) and not Path("latents/log_var.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "data.path: no such folder: nowhere"),
        (["file"], "data.path: file is a file, and no zip or tar"),
        (["bad"], "data.path: 1 of 1 images are unreadable, the first 'x.png' (empty)"),
        ([""], "data.path: '' is not accepted"),
        (["--out", "file"], "--out: file is a file. Give a new folder."),
        (["--out", "bad"], "--out: bad is not empty, and nothing of yours is overwritten"),
        (["--out", "file/sub"], "--out: cannot write file/sub"),
        (["--data.cache_dir", "file", "bad"], "data.cache_dir: cannot write file/packs"),
    ],
)
def test_what_cannot_be_done_is_refused(capfd, run_folder, arguments, said):
    Path("file").write_text("x")
    Path("bad").mkdir()
    Path("bad", "x.png").touch()
    assert said in refused(capfd, "encode", "--ckpt", str(run_folder / "last.ckpt"), *arguments)


def test_wrong_usage_and_no_checkpoint(capfd):
    assert "the following arguments are required: --ckpt" in refused(capfd, "encode", status=2)
    assert "Did you mean --out?" in refused(capfd, "encode", "--ckpt", "x", "--outt", "y", status=2)
    assert "--ckpt: no such file: no.ckpt" in refused(capfd, "encode", "--ckpt", "no.ckpt")


def test_a_failure_half_way_leaves_nothing(capfd, run_folder, monkeypatch):
    from vae_simpsons import encoding

    def fails(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(encoding, "write_csv", fails)
    said = refused(capfd, "encode", "--ckpt", str(run_folder / "last.ckpt"))
    assert "--out: cannot write latents: No space left on device" in said
