"""What TensorBoard is shown besides curves: the projector, histograms, and the evaluation's quick figures."""

import csv
import importlib.util
import math
import re
import shutil

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from conftest import ROOT, TINY, build_network, flags
from vae_simpsons import VAE
from vae_simpsons.cli import main
from vae_simpsons.data.dataset import load_dataset
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.images import normalise, shrink
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import keys
from vae_simpsons.training import evaluating, projector
from vae_simpsons.training.stage import StageModule, in_eval_mode

spec = importlib.util.spec_from_file_location("soak", ROOT / "scripts" / "soak.py")
soak = importlib.util.module_from_spec(spec)
spec.loader.exec_module(soak)

SETTINGS = TINY | {"trainer.max_epochs": "3", "trainer.evaluate_every": "1"}


def train(out, pictures, *extra: str) -> int:
    return main(["train", *flags(SETTINGS), f"--data.path={pictures}", f"--out={out}", *extra])


def events(folder) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0}).Reload()


@pytest.fixture
def quick(monkeypatch) -> list[bool]:
    """Has the evaluation draw random numbers and find one figure, which follows from the weights; returns its calls."""
    calls = []

    def evaluate(network, settings, dataset):
        torch.rand(7)
        calls.append(network.training)
        size = sum(float(p.detach().double().square().sum()) for p in network.parameters())
        return Evaluation({}, {"samples": [Figure("kernel distance", size, None, 10, "")]}, ["FD: too few images."])

    monkeypatch.setattr(evaluating, "evaluate_quickly", evaluate)
    return calls


# The projector


def test_the_projector_has_the_latents_classes_and_pictures_of_the_validation_images(run_folder):
    config = text_format.Parse((run_folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (shown,) = config.embeddings
    model = VAE.load(run_folder / "last.ckpt")
    dataset = load_dataset(model.settings, 1, no_progress, run_folder / "split.csv")
    mu, _ = model.encode(normalise(dataset.pack.pixels[torch.from_numpy(dataset.val)]))
    assert np.loadtxt(run_folder / shown.tensor_path) == pytest.approx(mu.numpy(), rel=1e-4, abs=1e-5)
    with open(run_folder / shown.metadata_path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["path"] for row in rows] == [dataset.pack.index.paths[i] for i in dataset.val]
    assert {row["class"] for row in rows} == {"class_0", "class_1"}
    side = math.ceil(math.sqrt(len(mu)))
    assert list(shown.sprite.single_image_dim) == [32, 32]
    sheet = np.asarray(Image.open(run_folder / shown.sprite.image_path))
    assert sheet.shape == (32 * side, 32 * side, 3)
    fifth = dataset.pack.pixels[int(dataset.val[5])].permute(1, 2, 0).numpy()
    row, column = divmod(5, side)
    assert np.array_equal(sheet[32 * row : 32 * row + 32, 32 * column : 32 * column + 32], fifth)


def test_the_largest_projector_fits_into_a_browsers_graphics():
    side = math.ceil(math.sqrt(projector.MOST_POINTS))
    assert projector.MOST_POINTS <= 4000 and side * projector.THUMBNAIL <= projector.MOST_PIXELS == 8192
    assert shrink(torch.zeros(2, 1, 256, 64, dtype=torch.uint8), 32).shape == (2, 1, 32, 8)


def test_names_of_strangers_stay_in_their_cell(tmp_path):
    from vae_simpsons.errors import one_line

    rows = [(one_line("a\tb\nc"), "x.png")]
    projector.write_projector(tmp_path, torch.zeros(1, 2), rows, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    lines = (tmp_path / "projector" / "metadata.tsv").read_text().splitlines()
    assert lines == ["class\tpath", "a b c\tx.png"]


def test_training_ends_well_where_the_projector_cannot_be_written(pictures, tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(projector, "write_png", refuse)
    assert train(tmp_path / "run", pictures, "--trainer.evaluate_every=null", "--trainer.max_epochs=1") == 0
    assert "projector: No space left on device. Training continues" in capsys.readouterr().err


# The tabs


def test_train_and_validation_share_a_chart(run_folder):
    (layout,) = events(run_folder).Tensors("custom_scalars__config__")
    (category,) = Layout.FromString(layout.tensor_proto.string_val[0]).category
    charts = {chart.title: list(chart.multiline.tag) for chart in category.chart}
    assert category.title == "autoencoder" and list(charts)[:2] == ["loss", "mse"]
    assert charts["kl"] == ["train/kl$", "val/kl$"] and charts["sigma"] == ["sigma/residual$", "sigma/implied$"]
    tags = events(run_folder).Tags()["scalars"]
    assert all(any(re.match(shown, tag) for tag in tags) for of in charts.values() for shown in of)


def test_the_settings_stand_beside_every_figure(run_folder):
    found = events(run_folder).summary_metadata
    assert [name for name in found if name.startswith("_hparams_/")] == ["_hparams_/session_start_info"]
    content = found["_hparams_/session_start_info"].plugin_data.content
    settings = parse_session_start_info_plugin_data(content).hparams
    assert settings["model.widths"].string_value == "(8, 16, 16)" and settings["data.batch_size"].number_value == 8
    assert settings.keys() == keys().keys() - {"out"}


# Histograms and the traversal


def test_histograms_of_mu_and_sigma_come_with_each_validation(run_folder):
    seen = events(run_folder)
    for name in ("mu", "sigma"):
        shown = seen.Histograms(f"val/{name}")
        assert [event.step for event in shown] == [2, 5]
        assert shown[0].histogram_value.num == 10 * 8  # validation images x latent dimensions
    assert seen.Histograms("val/sigma")[0].histogram_value.min > 0


def test_an_autoencoder_has_mu_alone(pictures, tmp_path):
    assert train(tmp_path / "run", pictures, "--trainer.evaluate_every=null", "--model.variational=false") == 0
    seen = events(tmp_path / "run")
    assert seen.Tags()["histograms"] == ["val/mu"] and seen.Tags()["images"] == ["pictures/reconstructions"]
    assert (tmp_path / "run" / "projector" / "tensors.tsv").exists()


# The quick figures


def test_quick_figures_are_curves(pictures, tmp_path, quick, capsys):
    assert train(tmp_path / "run", pictures) == 0
    seen = events(tmp_path / "run")
    points = seen.Scalars("quick_samples/kernel_distance")
    assert [point.step for point in points] == [3, 6, 9] and quick == [False] * 3
    with open(tmp_path / "run" / "evaluation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    written = [float(row["quick_samples/kernel_distance"]) for row in rows]
    assert [point.value for point in points] == pytest.approx(written)
    assert capsys.readouterr().err.count("FD: too few images.") == 1


def test_a_run_with_quick_figures_trains_as_one_without(pictures, tmp_path, quick):
    assert (
        train(tmp_path / "with", pictures)
        == train(tmp_path / "without", pictures, "--trainer.evaluate_every=null")
        == 0
    )
    with_figures, without = soak.fingerprint(tmp_path / "with"), soak.fingerprint(tmp_path / "without")
    assert {name: with_figures[name] for name in without} == without
    assert [name for name in with_figures if name not in without] == ["curve quick_samples/kernel_distance"]


def test_a_run_killed_at_any_moment_has_the_same_figures_in_the_end(pictures, tmp_path, quick, monkeypatch):
    class Killed(Exception):
        """As sudden as a test can be."""

    assert train(tmp_path / "undisturbed", pictures) == 0
    wanted = soak.fingerprint(tmp_path / "undisturbed")
    for owner, method, call in [
        (evaluating.QuickFigures, "measure", 2),  # saved, and not yet measured
        (evaluating.QuickFigures, "add_points", 2),  # measured, and not yet logged
        (StageModule, "training_step", 4),  # all of it done
        (StageModule, "training_step", 5),  # in the middle of the next epoch
    ]:
        run, calls, real = tmp_path / f"{method}{call}", 0, getattr(owner, method)

        def killed(self, *args, call=call, real=real):
            nonlocal calls
            calls += 1
            if calls == call:
                raise Killed
            return real(self, *args)

        with monkeypatch.context() as patched:
            patched.setattr(owner, method, killed)
            with pytest.raises(Killed):
                train(run, pictures, "--trainer.save_every_minutes=0")
        assert main(["train", f"--resume={run}"]) == 0
        assert soak.fingerprint(run) == wanted, (method, call)
        assert (run / "evaluation.csv").read_bytes() == (tmp_path / "undisturbed" / "evaluation.csv").read_bytes()
        shutil.rmtree(run)


def test_figures_that_cannot_be_measured_do_not_end_training(pictures, tmp_path, monkeypatch, capsys):
    def evaluate(network, settings, dataset):
        raise VAEError("SSIM: 1 images are too few.")

    monkeypatch.setattr(evaluating, "evaluate_quickly", evaluate)
    assert train(tmp_path / "run", pictures) == 0
    assert capsys.readouterr().err.count("SSIM: 1 images are too few.") == 1


def test_the_real_quick_figures_of_a_tiny_run(pictures, tmp_path):
    assert train(tmp_path / "run", pictures, "--trainer.evaluate_every=2") == 0
    curves = [tag for tag in events(tmp_path / "run").Tags()["scalars"] if tag.startswith("quick_")]
    assert any("mse" in tag for tag in curves) and any(tag.startswith("quick_samples/") for tag in curves)


def test_every_layer_returns_to_its_own_mode():
    network = build_network()
    network.train()
    network.decoder.eval()
    before = [layer.training for layer in network.modules()]
    with pytest.raises(ValueError), in_eval_mode(network):
        assert not any(layer.training for layer in network.modules())
        raise ValueError
    assert [layer.training for layer in network.modules()] == before


@pytest.mark.parametrize("value", ["0", "-1", "1.5"])
def test_a_number_of_epochs_that_makes_no_sense_is_refused(pictures, capsys, value):
    assert train("run", pictures, f"--trainer.evaluate_every={value}") == 1
    assert "trainer.evaluate_every" in capsys.readouterr().err
