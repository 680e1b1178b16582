"""A whole evaluation: every group, the same figures of the same seed, and what is said where something is lacking."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import refused

from conftest import TINY, build_network, flags
from vae_simpsons import VAE
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import classifier, features
from vae_simpsons.evaluation.evaluate import evaluate
from vae_simpsons.evaluation.groups import samples, subject
from vae_simpsons.evaluation.groups.subject import Asked, Subject
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.images import denormalise
from vae_simpsons.inference.rundata import images_of_run
from vae_simpsons.progress import no_progress

COUNT = 280
GROUPS = ["reconstruction", "likelihood", "latents", "samples", "memorisation", "labels", "factors"]
SETTINGS = TINY | {"data.split": "shuffled", "trainer.max_epochs": "1"}


def draw_labelled(folder: Path, count: int) -> Path:
    """Pictures of discs and squares, a sub-folder each, with a factors.csv of where they are and which they are."""
    rng = np.random.default_rng(1)
    down, across = np.mgrid[0:32, 0:32] / 32
    rows = []
    for i in range(count):
        y, x, kind = *rng.uniform(0.25, 0.75, 2), ("disc", "square")[i % 2]
        apart = np.hypot(down - y, across - x) if kind == "disc" else np.maximum(abs(down - y), abs(across - x))
        picture = np.where((apart < 0.2)[..., None], rng.uniform(150, 255, 3), rng.uniform(0, 100, 3))
        name = f"{kind}/{i:04d}.png"
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture + rng.uniform(-8, 8, picture.shape)).clip(0, 255).astype(np.uint8)).save(folder / name)
        rows.append({"file": name, "kind": kind, "y": f"{y:.4f}", "x": f"{x:.4f}"})
    with open(folder / "factors.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    return draw_labelled(tmp_path_factory.mktemp("labelled"), COUNT)


@pytest.fixture(scope="module")
def run(labelled, cache, tmp_path_factory) -> Path:
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    kept = f"--data.cache_dir={cache / 'vae-simpsons'}"
    assert main(["train", *flags(SETTINGS), f"--data.path={labelled}", f"--out={folder}", kept]) == 0
    return folder


@pytest.fixture
def cheap(monkeypatch) -> None:
    """Eight features that take no time, in place of 1,280, and a classifier of few steps."""
    weights = torch.randn(3 * 16, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def project(network, pixels, on_progress=None):
        small = torch.nn.functional.adaptive_avg_pool2d(pixels.double() / 255, 4).flatten(1)
        return (small[..., None] * weights).sum(1).float()

    monkeypatch.setattr(classifier, "STEPS", 20)
    monkeypatch.setattr(subject, "load_network", lambda: None)
    monkeypatch.setattr(subject, "features", project)
    monkeypatch.setattr(samples, "FEATURES", 8)


def names(found: Evaluation) -> list[str]:
    return [f.name for figures in found.groups.values() for f in figures]


def values(found: Evaluation) -> dict[str, tuple]:
    return {f.name: (f.value, f.error, f.reference) for figures in found.groups.values() for f in figures}


def test_every_group_is_there_with_n_split_definition_and_reference(run, cheap):
    found = VAE.load(run / "last.ckpt").evaluate(samples=220)
    assert list(found.groups) == GROUPS and not found.missing
    for f in (f for figures in found.groups.values() for f in figures):
        assert math.isfinite(f.value) and f.count > 0 and f.split and 20 < len(f.definition) < 120, f
        assert f.reference is None or (math.isfinite(f.reference) and f.reference_is), f
    assert names(found) == [
        "mse", "PSNR", "SSIM", "MS-SSIM", "sharpness of reconstructions", "spectrum slope of reconstructions",
        "KD-EffNetLite0 of reconstructions", "FD-EffNetLite0 of reconstructions",
        "kl", "fitted sigma", "elbo, implied sigma", "bits per dimension, implied sigma", "elbo, fitted sigma",
        "bits per dimension, fitted sigma", "IWAE, implied sigma", "effective sample size, implied sigma",
        "IWAE, fitted sigma", "effective sample size, fitted sigma",
        "active units", "mutual information", "marginal KL",
        "KD-EffNetLite0", "FD-EffNetLite0", "density", "coverage", "sharpness of samples", "spectrum slope of samples",
        "memorisation ratio, pixels", "memorised share, pixels", "memorisation ratio, features",
        "memorised share, features",
        "label accuracy, reconstructions", "label accuracy, real images",
        "MIG", "disentanglement", "completeness", "informativeness",
    ]  # fmt: skip
    assert (
        found.run["images"] == 70 and found.run["samples"] == 220 and found.run["split_from"] == "the run's split.csv"
    )
    assert found.curves and found.sentences and len(found.kl_per_dimension) == 8
    assert found.samples.shape == (64, 3, 32, 32) and found.neighbours.nearest.shape == (16, 3, 3, 32, 32)
    assert list(found.reconstructions) == ["best", "median", "worst"]
    assert found.traversal.images.shape == (8, 7, 3, 32, 32) and len(found.latent_map.points) == 70
    assert found.factors.names == ["kind", "y", "x"] and found.factors.matrix.shape == (3, 8)


def test_figures_are_what_their_definitions_say(run, cheap):
    """Held against plain formulas on the run's own validation images."""
    model = VAE.load(run / "last.ckpt")
    found = model.evaluate(quick=True)
    data, _ = images_of_run(model.settings, run / "split.csv", no_progress)
    val, train = ((data.pack.pixels[torch.from_numpy(rows)] / 127.5 - 1).float() for rows in (data.val, data.train))
    mu, log_var = model.encode(val)
    mse = (model.decode(mu) - val).square().mean((1, 2, 3))
    kl = 0.5 * (mu.square() + log_var.exp() - 1 - log_var).sum(1)
    figures = {f.name: f for of in found.groups.values() for f in of}
    assert figures["mse"].value == pytest.approx(mse.mean().item(), rel=1e-5)
    assert figures["mse"].reference == pytest.approx((val - train.mean(0)).square().mean().item(), rel=1e-5)
    assert figures["kl"].value == pytest.approx(kl.mean().item(), rel=1e-5)
    assert sum(found.kl_per_dimension) == pytest.approx(kl.mean().item(), rel=1e-5)
    assert figures["fitted sigma"].reference == pytest.approx(math.sqrt(0.00025 * 3 * 32 * 32 / 2))
    assert figures["mutual information"].reference == pytest.approx(math.log(70))
    sigma = figures["fitted sigma"].value
    nll = 1536 * math.log(2 * math.pi * sigma**2) + 1536 / sigma**2 * mse.mean().item()
    assert figures["elbo, fitted sigma"].value == pytest.approx(-nll - kl.mean().item(), rel=0.05)
    assert figures["bits per dimension, fitted sigma"].reference == 8
    best, worst = (found.reconstructions[name].mse for name in ("best", "worst"))
    assert best.tolist() == sorted(best.tolist()) and worst[-1] == pytest.approx(mse.max().item(), rel=1e-5)


def test_a_seed_gives_the_same_figures_whatever_the_batch(run, cheap):
    model = VAE.load(run / "last.ckpt")
    first = model.evaluate(quick=True, samples=80)
    again = VAE.load(run / "best.ckpt").evaluate(quick=True, samples=80)
    data, _ = images_of_run(model.settings, run / "split.csv", no_progress)
    batch = replace(model.settings, data=replace(model.settings.data, batch_size=13))
    other = evaluate(model.network, batch, data, no_progress, Asked(most=80, quick=True))
    assert values(first) == values(again) == values(other)
    assert values(model.evaluate(quick=True, samples=80, seed=1)) != values(first)


def test_figures_of_the_training_side_are_of_training_images(run, cheap):
    model = VAE.load(run / "last.ckpt")
    found = model.evaluate(split="train", quick=True)
    mse = found.groups["reconstruction"][0]
    assert (mse.split, mse.count) == ("train", 210)
    assert mse.value != model.evaluate(quick=True).groups["reconstruction"][0].value
    assert found.groups["samples"][0].split == "samples vs train"


def test_samples_are_those_of_vae_sample(run, tmp_path):
    flow = ["--prior.kind=flow", "--prior.epochs=1", "--prior.width=16", "--prior.depth=1", "--prior.batch_size=64"]
    assert main(["fit-prior", "--ckpt", str(run / "last.ckpt"), *flow, f"--out={tmp_path / 'flow'}"]) == 0
    for folder in (run, tmp_path / "flow"):
        model = VAE.load(folder / "last.ckpt")
        data, _ = images_of_run(model.settings, run / "split.csv", no_progress)
        measured = Subject(model.network, model.settings, data, no_progress, Asked(most=8, seed=3))
        assert torch.equal(measured.samples, denormalise(model.sample(8, seed=3)))


def test_an_autoencoder_has_no_samples_and_no_likelihood(labelled, cheap):
    network = build_network(32, (8, 16), 8, variational=False).eval()
    settings = from_flat({"data.path": str(labelled), "data.image_size": 32, "model.variational": False})
    data, _ = images_of_run(settings, labelled / "split.csv", no_progress)
    found = evaluate(network, settings, data, no_progress, Asked(most=220))
    assert list(found.groups) == ["reconstruction", "latents", "labels", "factors"] and not found.missing
    assert names(found)[8:10] == ["active units", "label accuracy, reconstructions"]
    assert found.samples is None and found.neighbours is None and found.kl_per_dimension == []
    assert any("plain autoencoder: it has no prior" in s for s in found.sentences)


def test_without_labels_and_factors_their_groups_are_absent(run, labelled, tmp_path, cheap):
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in sorted(labelled.glob("*/*.png"))[::4]:
        (folder / path.name).write_bytes(path.read_bytes())
    found = VAE.load(run / "last.ckpt").evaluate(folder, quick=True)
    assert not {"labels", "factors"} & set(found.groups) and found.factors is None
    assert found.sentences[0].startswith(
        "The split is drawn by data.split shuffled with seed 1265: the run's split.csv"
    )
    assert not any("accuracy" in reason or "MIG" in reason for reason in found.missing)


def test_what_is_missing_is_named_with_the_line_that_installs_it(run, monkeypatch):
    monkeypatch.setattr(features, "PACKAGE", "no-such-package")
    found = VAE.load(run / "last.ckpt").evaluate(quick=True)
    (reason,) = [r for r in found.missing if "install" in r]
    assert reason.startswith(
        "KD-EffNetLite0, FD-EffNetLite0, density, coverage and memorisation in features: features "
    )
    assert reason.endswith('Run: pip install "vae-simpsons[evaluate]"')
    assert list(found.groups) == [g for g in GROUPS if g != "labels"]
    assert "memorisation ratio, pixels" in names(found) and "density" not in names(found)


def test_figures_with_too_few_images_are_named_with_how_many_they_need(run, labelled, tmp_path, cheap):
    folder = draw_labelled(tmp_path / "few", 24)
    found = VAE.load(run / "last.ckpt").evaluate(folder)
    said = "\n".join(found.missing)
    for reason in (
        "FD-EffNetLite0 of held-out images, its floor: 6 validation images are too few; it needs 16.",
        "memorisation ratio: 6 validation images are too few; it needs 20.",
        "label accuracy: 0 of 2 classes have 20 training images",
        "MIG: 24 images are too few; it needs 200.",
        "DCI: 24 images are too few; it needs 200.",
    ):
        assert reason in said
    assert found.run["split_from"].endswith("the run's split.csv is of other images")
    assert "mse" in names(found) and "KD-EffNetLite0" in names(found)


def test_a_frechet_distance_that_has_too_few_images_is_missing(run, cheap, monkeypatch):
    monkeypatch.setattr(samples, "FEATURES", 1280)
    found = VAE.load(run / "last.ckpt").evaluate(quick=True, samples=15)
    assert "FD-EffNetLite0: 15 images are too few for a covariance of 8 features; it needs 16" in found.missing[0]
    assert "FD-EffNetLite0" not in names(found) and "KD-EffNetLite0" in names(found)


def test_images_of_the_run_that_are_gone_are_named(run, labelled, tmp_path):
    folder = tmp_path / "most"
    for path in sorted(labelled.glob("*/*.png"))[3:]:
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        (folder / path.parent.name / path.name).write_bytes(path.read_bytes())
    with pytest.raises(VAEError, match="3 of the 280 images of .*split.csv are gone, the first 'disc/0000.png'"):
        VAE.load(run / "last.ckpt").evaluate(folder)


def test_the_classifier_is_left_out_when_quick_and_says_so(run, cheap):
    found = VAE.load(run / "last.ckpt").evaluate(quick=True)
    assert "labels" not in found.groups
    assert found.missing == [
        "label accuracy: training the classifier takes longer than --quick allows. Leave --quick out."
    ]


def test_a_loss_without_kl_implies_no_noise(run, labelled, cheap):
    model = VAE.load(run / "last.ckpt")
    settings = replace(model.settings, objective=replace(model.settings.objective, beta=0.0))
    data, _ = images_of_run(settings, run / "split.csv", no_progress)
    found = evaluate(model.network, settings, data, no_progress, Asked(quick=True))
    assert "elbo, fitted sigma" in names(found) and "elbo, implied sigma" not in names(found)
    assert any("objective.beta 0 implies no pixel noise" in reason for reason in found.missing)


def test_images_too_small_for_a_window_have_no_ssim_and_the_rest(labelled, cheap):
    network = build_network(8, (8,), 4).eval()
    settings = from_flat({"data.path": str(labelled), "data.image_size": 8, "model.widths": [8]})
    data, _ = images_of_run(settings, labelled / "split.csv", no_progress)
    found = evaluate(network, settings, data, no_progress, Asked(quick=True))
    assert "SSIM: 8 pixels of height and width are too few; it needs 11." in "\n".join(found.missing)
    assert "PSNR" in names(found) and "SSIM" not in names(found)


def test_the_bar_only_rises_and_ends_full(run, cheap):
    seen: list[int] = []

    def progress(title, total):
        if title == "evaluating":
            seen.append(total)
            return seen.append
        return lambda done: None

    VAE.load(run / "last.ckpt").evaluate(quick=True, samples=80, progress=progress)
    total, *done = seen
    assert done == sorted(done) and done[-1] == total and done[-2] < total and len(done) > 10


def test_python_refuses_what_the_command_refuses(run):
    model = VAE.load(run / "last.ckpt")
    for given, text in (
        ({"split": "test"}, "split: 'test' is not accepted. Give val or train."),
        ({"samples": 0}, "samples: 0 is not accepted"),
        ({"seed": -1}, "seed: -1 is not accepted"),
    ):
        with pytest.raises(VAEError, match=text):
            model.evaluate(**given)


def test_an_export_does_not_know_its_images(run, tmp_path, capfd):
    (tmp_path / "exported").mkdir()
    VAE.load(run / "last.ckpt").export(tmp_path / "exported")
    assert "--data.path: an exported model does not name its images" in refused(
        capfd, "evaluate", "--ckpt", str(tmp_path / "exported")
    )


def test_the_command_prints_the_table_and_writes_figures_and_report(run, labelled, tmp_path, capsys):
    """With the real features."""
    arguments = ["evaluate", "--ckpt", str(run / "last.ckpt"), "--quick", "--samples", "60", "--device", "cpu"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    for text in (
        "reconstruction\n  mse ",
        "N 60 samples vs train",
        "held-out images",
        "what it means\n  - ",
        "measured in",
    ):
        assert text in said
    folder = run / "evaluation"
    assert sorted(p.name for p in folder.iterdir()) == ["evaluation.json", "report.html"]
    tree = json.loads((folder / "evaluation.json").read_text())
    assert tree["run"]["epochs"] == 1 and tree["run"]["settings"]["data.path"] == str(labelled)
    assert json.loads((folder / "evaluation.json").read_text())["groups"]["likelihood"][0]["name"] == "kl"
    assert "<title>run, evaluated" in (folder / "report.html").read_text()
    (folder / "report.html").write_text("old")
    assert main(arguments) == 0  # an earlier evaluation is replaced, by the same figures
    again = json.loads((folder / "evaluation.json").read_text())
    assert again["groups"] == tree["groups"] and (folder / "report.html").read_text() != "old"


def test_other_peoples_files_are_not_overwritten(run, tmp_path, capfd):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    ckpt = ("--ckpt", str(run / "last.ckpt"))
    assert "--out: mine is not empty and holds no earlier evaluation" in refused(
        capfd, "evaluate", *ckpt, "--out", "mine"
    )
    assert "--out: file is a file. Give a new folder." in refused(capfd, "evaluate", *ckpt, "--out", "file")
    assert "--samples: 0 is not accepted" in refused(capfd, "evaluate", *ckpt, "--samples", "0")
    assert "--seed: -1 is not accepted" in refused(capfd, "evaluate", *ckpt, "--seed", "-1")
    assert "no such file" in refused(capfd, "evaluate", "--ckpt", "nothing.ckpt")
    assert "data.path: no such folder: gone" in refused(capfd, "evaluate", *ckpt, "--out", "new", "--data.path", "gone")
    (tmp_path / "empty").mkdir()
    assert "no images under empty" in refused(capfd, "evaluate", *ckpt, "--out", "new", "--data.path", "empty")
