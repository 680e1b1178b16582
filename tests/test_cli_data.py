"""vae data check, import and toons, as users type them."""

import csv
import json
import shutil
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import refused

from conftest import TINY, draw_pictures, flags
from vae_simpsons import VAE
from vae_simpsons.cli import main
from vae_simpsons.training import trial


def messy(folder: Path) -> Path:
    """40 pictures in two classes, one of them a copy, one saved again, one greyscale, two unreadable."""
    draw_pictures(folder, 40)
    shutil.copy(folder / "class_0" / "pic_0000.png", folder / "class_1" / "copy.png")
    Image.open(folder / "class_0" / "pic_0004.png").save(folder / "class_0" / "again.jpg", quality=80)
    Image.new("L", (10, 20), 77).save(folder / "grey.GIF")
    (folder / "empty.png").write_bytes(b"")
    (folder / "te\nxt.jpg").write_text("hello")
    return folder


def test_check_says_what_was_found_dropped_and_why(tmp_path, capsys):
    assert main(["data", "check", str(messy(tmp_path / "pics")), "--data.image_size=32", "--data.batch_size=8"]) == 0
    said = capsys.readouterr().out
    for expected in (
        "45 files, 43 readable, 2 not",
        "unreadable  'empty.png': empty",
        r"'te\nxt.jpg': not an image (JPEG, PNG",
        "formats  PNG 41, JPEG 1, GIF 1",
        "RGB 42, P 1",
        "sizes  40x40 42, 10x20 1",
        "1 are smaller than what is trained on",
        "class_0 21, class_1 21, (no sub-folder) 1",
        "1 files are byte for byte another one",
        "'class_0/pic_0000.png' = 'class_1/copy.png'",
        "near-duplicates",
        "grouped split",
        "1 left out (copies)",
        "images a second) and 132 kB of disk",
        "MB of memory, for the autoencoder of these settings on this machine",
    ):
        assert expected in said, expected
    assert not Path("runs").exists()


def test_check_for_machines(tmp_path, capsys):
    assert main(["data", "check", str(messy(tmp_path / "pics")), "--json", "--data.split=sorted"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["files"], found["readable"], found["split"]) == (45, 43, "sorted")
    assert found["unreadable"][1]["path"] == "te\nxt.jpg"
    assert found["copies"] == [["class_0/pic_0000.png", "class_1/copy.png"]]
    assert any({"class_0/again.jpg", "class_0/pic_0004.png"} <= set(group) for group in found["near_duplicates"])
    assert found["train"] + found["validate"] == 43 and found["pack_bytes"] == 43 * 3 * 64 * 64
    assert found["epoch_seconds"] is None, "no epoch would be trained"
    assert found["problem"].startswith("data.batch_size: 64 is more than the 32 training images (43 found")


@pytest.mark.parametrize("said", ["DefaultCPUAllocator: can't allocate memory", "CUDA out of memory.", "a bug"])
def test_a_step_too_large_for_the_memory_is_one_line_below_the_report(pictures, said, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError(said)

    monkeypatch.setattr(trial, "make_step", fail)
    with pytest.raises(RuntimeError) if said == "a bug" else nullcontext():
        assert main(["data", "check", str(pictures), *flags(TINY)]) == 1
    out, err = capsys.readouterr()
    assert "30 would train, 10 validate" in out and ("not enough memory" in err) == (said != "a bug")


def test_levels_profiles_single_colours_and_other_files_are_said_and_the_levels_stay_with_the_run(tmp_path, capsys):
    folder = draw_pictures(tmp_path / "pics", 40)
    for i, path in enumerate(sorted(folder.rglob("*.png"))):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(grey * (i % 2 * 10 + 2)).save(path)
    Image.new("RGB", (9, 9), "red").save(folder / "red.png", icc_profile=b"no profile")
    (folder / "a.txt").write_text("hello")
    assert main(["data", "check", str(folder)]) == 0
    said = capsys.readouterr().out
    for expected in (
        "ignored  1 other file: .txt 1",
        "levels  uint16 0 4095: black and white of more than 8 bits, found in this folder",
        "profiles  1 ignored: broken",
        "one value  1 images are of a single colour",
        "'red.png'",
    ):
        assert expected in said, expected
    assert main(["train", *flags(TINY), f"--data.path={folder}", "--data.channels=1", "--out=run"]) == 0
    said = capsys.readouterr().out
    assert "ignored  1 other file: .txt 1" in said and "levels  uint16 0 4095" in said
    model = VAE.load("run/last.ckpt")
    assert model.settings.data.levels == "uint16 0 4095"
    dark = sorted(folder.rglob("*.png"))[0]
    alone, packed = (model.open_pictures("x", [path]).take([0]) for path in (dark, folder))
    assert torch.equal(alone, packed) and alone.max() < 100, "a picture alone is read like those that trained"
    config = Path("run/config.yaml").read_text().replace("uint16 0 4095", "null")
    Path("own.yaml").write_text(config)
    more = ["--resume=run", "--trainer.max_epochs=3"]
    assert main(["train", "--config=own.yaml", *more]) == 0


@pytest.mark.parametrize(("bad", "status"), [(2, 0), (20, 1)])
def test_a_damaged_zip_is_named_and_counted_by_every_verb(tmp_path, capsys, run_folder, bad, status):
    archive = Path(shutil.make_archive(str(tmp_path / "pics"), "zip", draw_pictures(tmp_path / "pics", 40)))
    raw = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        for entry in [entry for entry in opened.infolist() if not entry.is_dir()][:bad]:
            raw[entry.header_offset + 30 + len(entry.filename) + 50] ^= 0xFF
    archive.write_bytes(raw)
    ckpt = f"--ckpt={run_folder / 'last.ckpt'}"
    verbs = (
        ["data", "check", str(archive)],
        ["data", "import", str(archive), "out"],
        ["train", *flags(TINY), f"--data.path={archive}", "--out=run"],
        ["encode", str(archive), ckpt, "--out=latents"],
        ["reconstruct", str(archive), ckpt, "--out=r.png"],
    )
    for verb in verbs:
        assert main(verb) == (status if verb[1] != "check" else 0), verb
        said = "".join(capsys.readouterr())
        wanted = "2 left out" if status == 0 and verb[1] != "check" else f"{bad} of 40 images are unreadable, the first"
        assert verb[1] == "check" or (wanted in said and "damaged in the archive" in said), verb
        assert verb[1] != "check" or f"40 files, {40 - bad} readable, {bad} not" in said
    assert Path("out").exists() == (status == 0)


def test_check_says_why_training_would_not_start_and_status_1_when_nothing_is_usable(tmp_path, capsys):
    folder = tmp_path / "pics"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.jpg").write_text("hello")
    assert main(["data", "check", str(folder)]) == 1
    assert "would not start: data.path: 5 of 5 images are unreadable, the first '0.jpg'" in capsys.readouterr().out
    Image.new("L", (8, 8)).save(folder / "5.png")
    assert main(["data", "check", str(folder)]) == 0


def test_check_reads_the_config_the_toons_and_archives(tmp_path, capsys):
    Path("my.yaml").write_text("data: {path: toons, toons: 30, image_size: 32, batch_size: 4}\n")
    assert main(["data", "check", "--config", "my.yaml"]) == 0
    assert "30 files, 30 readable" in capsys.readouterr().out
    archive = shutil.make_archive(str(tmp_path / "pics"), "gztar", messy(tmp_path / "pics"))
    assert main(["data", "check", archive]) == 0
    assert f"{archive}: 45 files, 43 readable, 2 not" in capsys.readouterr().out


def test_import_then_train_on_the_folder_and_on_the_archive_itself(tmp_path, capsys):
    source = draw_pictures(tmp_path / "a" / "simpsons_dataset", 40)
    shutil.copytree(source, source / "simpsons_dataset")
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "a")
    assert main(["data", "import", archive, "clean"]) == 0
    said = capsys.readouterr().out
    assert "40 images in clean; left out: 40 copies of a name" in said and "--data.path clean/characters" in said
    assert main(["train", *flags(TINY), "--data.path=clean/characters", "--trainer.max_epochs=1", "--out=a"]) == 0
    assert main(["train", *flags(TINY), f"--data.path={archive}", "--trainer.max_epochs=1", "--out=b"]) == 0
    assert Path("a/split.csv").read_text() == Path("b/split.csv").read_text()
    assert Path("a/metrics.csv").read_text().split(",")[:12] == Path("b/metrics.csv").read_text().split(",")[:12]


def test_toons_are_written_by_hairstyle_with_their_factors(capsys):
    assert main(["data", "toons", "drawn", "-n", "5", "--seed", "3", "--size", "32"]) == 0
    said = capsys.readouterr().out
    assert f"5 toons in drawn, a sub-folder for each hairstyle; factors in {Path('drawn/factors.csv')}" in said
    with open("drawn/factors.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"{row['hair']}/toon_{i:05d}.png" for i, row in enumerate(rows)]
    assert all(Image.open(Path("drawn") / row["file"]).size == (32, 32) for row in rows) and len(rows) == 5
    Path("empty").mkdir()
    assert main(["data", "toons", "empty", "-n", "1"]) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["data"], 2, "the following arguments are required: {check,import,toons}"),
        (["data", "chekc"], 2, "no such verb: chekc. Did you mean check?"),
        (["data", "check", "x", "--jsn"], 2, "no such option: jsn. Did you mean --json?"),
        (["data", "check", "nowhere"], 1, "data.path: no such folder: nowhere"),
        (["data", "check", "file"], 1, "data.path: file is a file, and no zip or tar"),
        (["data", "check", "empty", "--data.image_size", "0"], 1, "data.image_size: 0 is not accepted"),
        (["data", "check", "empty", "--data.resize", "32"], 1, "data.resize: 32 is less than data.image_size 64"),
        (["data", "check", "empty"], 1, "data.path: no images under empty (1 folder searched for .jpg"),
        (["data", "import", "x"], 2, "the following arguments are required: DEST"),
        (["data", "import", "nowhere.zip", "dest"], 1, "ARCHIVE: no such file: nowhere.zip"),
        (["data", "import", "file", "dest"], 1, "ARCHIVE: file is a file, and no zip or tar"),
        (
            ["data", "import", "empty", "dest"],
            1,
            "ARCHIVE: empty is a folder. Give it to vae train as it is: --data.path empty.",
        ),
        (["data", "toons", "dest", "-n", "0"], 1, "-n: 0 is not accepted. Give a whole number >= 1."),
        (["data", "toons", "dest", "--seed", "-1"], 1, "--seed: -1 is not accepted"),
        (["data", "toons", "file"], 1, "DEST: file is a file. Give a new folder."),
        (["data", "toons", "full"], 1, "DEST: full is not empty, and nothing of yours is overwritten"),
        (["data", "toons", "file/sub", "-n", "1"], 1, "DEST: cannot write file/sub"),
    ],
)
def test_what_cannot_be_done_is_refused(capfd, arguments, status, said):
    Path("file").write_text("x")
    Path("empty").mkdir()
    Path("full").mkdir()
    Path("full", "mine.txt").write_text("x")
    assert said in refused(capfd, *arguments, status=status)


def test_resuming_takes_the_split_of_the_run_and_not_a_new_draw(tmp_path, capsys):
    folder = draw_pictures(tmp_path / "pics", 40)
    common = ["train", *flags(TINY), f"--data.path={folder}", "--data.split=shuffled"]
    assert main([*common, "--out=run"]) == 0
    manifest = Path("run/split.csv").read_text()
    Image.new("L", (40, 40)).save(folder / "a_new_one.png")  # would change a draw
    assert main(["train", "--resume", "run", "--trainer.max_epochs", "3"]) == 0
    assert Path("run/split.csv").read_text() == manifest
    assert "30 train, 10 validate, 1 left out" in capsys.readouterr().out
    (folder / "class_0" / "pic_0000.png").unlink()
    assert main(["train", "--resume", "run", "--trainer.max_epochs", "4"]) == 1
    assert "1 of the 40 images of run/split.csv are gone" in capsys.readouterr().err
    Path("run/split.csv").unlink()
    assert main(["train", "--resume", "run", "--trainer.max_epochs", "4"]) == 1
    assert "cannot read the run's split" in capsys.readouterr().err


def test_two_runs_that_start_at_once_on_the_same_folder_both_work(tmp_path):
    folder = draw_pictures(tmp_path / "pics", 60)
    command = [sys.executable, "-m", "vae_simpsons", "train", *flags(TINY), f"--data.path={folder}"]
    both = [subprocess.Popen([*command, f"--out=run{i}"], stdout=subprocess.DEVNULL) for i in range(2)]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
    assert Path("run0/split.csv").read_text() == Path("run1/split.csv").read_text()
