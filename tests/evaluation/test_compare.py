"""`vae compare`: what differs, the same inputs, epochs that fit, and folders that are no runs."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from test_report import EVIL, checked

from conftest import TINY, draw_pictures, flags
from vae_simpsons.cli import main
from vae_simpsons.evaluation import epochs
from vae_simpsons.evaluation.epochs import epoch_slider, evenly
from vae_simpsons.evaluation.runs import FinishedRun, read_runs
from vae_simpsons.progress import no_progress


@pytest.fixture(scope="module")
def other_run(pictures, cache, tmp_path_factory):
    """A run on the same pictures with another weight of the KL term."""
    folder = tmp_path_factory.mktemp("runs") / "other"
    settings = TINY | {"objective.kld_weight": "0.001", "trainer.max_epochs": "3"}
    kept = f"--data.cache_dir={cache / 'vae-simpsons'}"
    assert main(["train", *flags(settings), f"--data.path={pictures}", f"--out={folder}", kept]) == 0
    return folder


def compare(*words: object) -> int:
    return main(["compare", *map(str, words)])


def page(path="compare.html") -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def test_two_runs_beside_each_other(run_folder, other_run, capsys):
    assert compare(run_folder, other_run) == 0
    assert re.fullmatch(r"2 runs in compare.html \([\d.]+ kB\)\n", capsys.readouterr().out)
    text = page()
    assert checked(text).ids == ["settings", "figures", "curves", "inputs", "epochs"]
    settings = text[text.index('id="settings"') : text.index('id="figures"')]
    assert "objective.kld_weight" in settings and "trainer.max_epochs" in settings and "optimizer.lr" not in settings
    assert "has the lowest validation mse: 0." in text and "loss and ELBO do not compare" in text
    assert "8 images that no run has trained on" in text and 'alt="image 8 through other"' in text
    assert 'data-epochs="[1, 2, 3]"' in text and "No evaluation was found" in text
    assert text.count('alt="other, epoch ') == 3 * 3 and text.count('alt="run, epoch ') == 3 * 2


def test_a_copy_of_a_run_is_no_better(run_folder, tmp_path):
    assert compare(run_folder, shutil.copytree(run_folder, tmp_path / "copy")) == 0
    assert "The validation mse of all is 0." in page() and "lowest" not in page()


def test_the_page_is_the_same_each_time(run_folder, other_run):
    assert compare(run_folder, other_run, "--out", "a.html") == compare(run_folder, other_run, "--out", "b.html") == 0
    assert page("a.html") == page("b.html")


def test_the_same_inputs_are_those_that_every_run_validates_on(run_folder, other_run):
    from vae_simpsons import VAE
    from vae_simpsons.data.dataset import load_dataset
    from vae_simpsons.evaluation.same_inputs import _positions, _shared

    settings = VAE.load(run_folder / "last.ckpt").settings
    ours, others = (load_dataset(settings, 1, no_progress, folder / "split.csv") for folder in (run_folder, other_run))
    shared = _shared([ours, others])
    assert len(shared) == 8 and set(_positions(ours, shared)) <= set(ours.val)


def test_runs_on_other_images_show_their_own_pictures(run_folder, tmp_path):
    images = draw_pictures(tmp_path / "images", 48, size=36)  # drawn smaller: other files
    assert main(["train", *flags(TINY), f"--data.path={images}", "--out=far"]) == 0
    assert compare(run_folder, "far") == 0
    text = page()
    assert "The runs validate on different images, so each shows its own" in text
    assert "do not validate on the same images" in text


def test_a_run_whose_images_are_gone_is_still_compared(run_folder, tmp_path):
    images = draw_pictures(tmp_path / "images", 40)
    assert main(["train", *flags(TINY), f"--data.path={images}", "--out=gone"]) == 0
    shutil.rmtree(images)
    assert compare(run_folder, "gone") == 0
    assert "one cannot be opened again" in page()


def test_an_evaluation_is_shown_where_there_is_one(run_folder, tmp_path):
    one, other = (shutil.copytree(run_folder, tmp_path / name) for name in ("one", "other"))
    figures = [{"name": EVIL, "value": 0.5, "error": 0.01, "count": 10}, {"name": "lost", "value": None}, 3]
    (one / "evaluation").mkdir()
    (one / "evaluation" / "evaluation.json").write_text(json.dumps({"groups": {"samples": figures, "x": 1}}))
    assert compare(one, other) == 0
    text = page()
    checked(text)
    assert "0.500 ± 0.010" in text and "<small>N 10</small>" in text and "No evaluation of other was found" in text
    assert "<script>alert" not in text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"groups": 3}', "[" * 100_000, "\udcff"])
def test_files_that_are_no_evaluations_are_passed_over(run_folder, tmp_path, content):
    one = shutil.copytree(run_folder, tmp_path / "one")
    (one / "evaluation").mkdir()
    (one / "evaluation" / "evaluation.json").write_bytes(content.encode(errors="surrogateescape"))
    assert read_runs([one, run_folder])[0].figures == {}


def test_folders_without_pictures_curves_or_checkpoints(run_folder, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(run_folder / "config.yaml", bare)
    assert compare(bare, run_folder) == 0
    text = page()
    checked(text)
    assert "No pictures." in text and "one cannot be opened again" in text
    other = shutil.copytree(bare, tmp_path / "bare2")
    assert compare(bare, other) == 0
    text = page()
    assert "no run has a metrics.csv" in text and "no run has pictures" in text and "None: the same settings." in text


def test_runs_of_one_name_are_told_apart(run_folder, tmp_path):
    one, other = (shutil.copytree(run_folder, tmp_path / name / "run") for name in ("a", "b"))
    assert [run.name for run in read_runs([one, other])] == ["a/run", "b/run"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{run}"], "RUN: 1 given. Give the folders of 2 to 8 runs."),
        (["{run}"] * 9, "RUN: 9 given"),
        (["{run}", "{run}/"], "is named twice"),
        (["{run}", "nowhere"], "RUN: no such folder: nowhere"),
        (["{run}", "{run}/last.ckpt"], "last.ckpt is a file. Give the run's folder, {run}"),
        (["{run}", "{run}/pictures"], "is no run folder: it has no config.yaml"),
        (["{run}", "{other}", "--out", "x.png"], "--out: x.png does not end in .html"),
        (["{run}", "{other}", "--out", "folder.html"], "--out: folder.html is a folder"),
        (["{run}", "{other}", "--out", "mine.html"], "--out: mine.html exists and is no HTML page"),
    ],
)
def test_bad_input_is_refused_in_one_line(run_folder, other_run, tmp_path, capsys, words, said):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "mine.html").write_text("my notes")
    names = {"run": run_folder, "other": other_run}
    assert compare(*(word.format(**names) for word in words)) == 1
    err = capsys.readouterr().err
    assert said.format(**names) in err and err.count("\n") == 1
    assert (tmp_path / "mine.html").read_text() == "my notes"


def test_a_config_that_is_none_names_the_run(run_folder, tmp_path, capsys):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "config.yaml").write_text("seed: -1\n")
    assert compare(run_folder, bad) == 1
    assert "config.yaml: seed: -1 is not accepted" in capsys.readouterr().err


def test_a_page_that_cannot_be_written(run_folder, other_run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert compare(run_folder, other_run, "--out", "file/x.html") == 1
    assert "--out: cannot write" in capsys.readouterr().err


# Epochs


def with_pictures(folder, count: int) -> FinishedRun:
    """A run whose pictures are noise."""
    (folder / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for epoch in range(1, count + 1):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"samples_{epoch:04d}.png")
    shown = {"samples": {e: folder / "pictures" / f"samples_{e:04d}.png" for e in range(1, count + 1)}}
    return FinishedRun(folder, folder.name, {}, [], {}, {}, shown)


def test_epochs_are_thinned_out_until_they_fit(tmp_path):
    runs = [with_pictures(tmp_path / name, 40) for name in ("a", "b")]
    everything = epoch_slider(runs, no_progress)
    assert (everything.epochs, everything.of) == (40, 40)
    budget = len(everything.html) // 3
    some = epoch_slider(runs, no_progress, budget)
    assert 5 < some.epochs < 15 and len(some.html) < budget * 1.1
    kept = json.loads(re.search(r'data-epochs="([^"]*)"', some.html)[1])
    assert kept[0] == 1 and kept[-1] == 40 and kept == sorted(set(kept))
    assert some.html.count("<img") == 2 * some.epochs and some.html.count(" hidden>") == 2 * (some.epochs - 1)


def test_epochs_whose_pictures_are_larger_than_the_last_are_thinned_out_too(tmp_path):
    run = with_pictures(tmp_path / "a", 12)
    Image.new("RGB", (64, 64)).save(run.pictures["samples"][12])
    some = epoch_slider([run], no_progress, len(epoch_slider([run], no_progress).html) // 2)
    assert 2 < some.epochs <= 6


@pytest.mark.parametrize(("count", "chosen"), [(1, [9]), (2, [1, 9]), (3, [1, 5, 9]), (5, [1, 3, 5, 7, 9])])
def test_epochs_are_spread_evenly(count, chosen):
    assert evenly([1, 3, 5, 7, 9], count) == chosen


def test_runs_of_unequal_length_share_the_slider(tmp_path):
    shown = epoch_slider([with_pictures(tmp_path / "a", 2), with_pictures(tmp_path / "b", 4)], no_progress)
    assert shown.of == 4 and shown.html.count('data-epoch="2"') == 2 and shown.html.count('data-epoch="4"') == 1
    assert shown.html.count(" hidden>") == 1 + 3, "of each run the last one it has is shown"


def test_pictures_that_are_none_are_passed_over(tmp_path, monkeypatch):
    run = with_pictures(tmp_path / "a", 3)
    run.pictures["samples"][1].write_bytes(b"not a picture")
    monkeypatch.setattr(epochs, "MOST_PIXELS", 64 * 64 - 1)
    assert "<img" not in epoch_slider([run], no_progress).html
    monkeypatch.undo()
    assert epoch_slider([run], no_progress).html.count("<img") == 2
