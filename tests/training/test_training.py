"""Training by its own rooms: what is computed, logged, saved, and gone on with."""

import csv
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from conftest import TINY, flags
from vae_simpsons.checkpoint import Checkpoint, read_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat, read_yaml
from vae_simpsons.files import read_csv
from vae_simpsons.objective import elbo, implied_sigma
from vae_simpsons.settings import Settings
from vae_simpsons.training.runfolder import Run, RunFolder
from vae_simpsons.training.saving import SaveCheckpoints
from vae_simpsons.training.stages import autoencoder
from vae_simpsons.training.table import write_table
from vae_simpsons.training.writer import Writer


def train(out, pictures, *extra: str) -> Checkpoint:
    """Trains with the tiny settings and `extra` flags; returns the checkpoint that it leaves."""
    assert main(["train", *flags(TINY), f"--data.path={pictures}", f"--out={out}", *extra]) == 0
    return read_checkpoint(out / "last.ckpt")


def rows(folder) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def figures(folder) -> list[dict[str, str]]:
    """metrics.csv without what no two runs share."""
    return [{k: v for k, v in row.items() if k != "time_s"} for row in rows(folder)]


def events(folder) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "histograms": 0}).Reload()


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_folder_holds_what_the_readme_says(run_folder):
    names = {p.name for p in run_folder.iterdir() if not p.name.startswith(("events.", "."))}
    assert names == {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "last.ckpt",
        "best.ckpt",
        "split.csv",
        "pictures",
        "projector",
        "projector_config.pbtxt",
    }
    assert len([p for p in run_folder.iterdir() if p.name.startswith("events.")]) == 1
    made = sorted(p.name for p in (run_folder / "pictures").iterdir())
    kinds = ("reconstructions", "samples", "traversal")
    assert made == [f"{kind}_{epoch:04d}.png" for kind in kinds for epoch in (1, 2)]
    resolved = from_flat(read_yaml(run_folder / "config.yaml"))
    assert resolved.model.widths == (8, 16, 16) and resolved.optimizer.lr == 0.005
    environment = json.loads((run_folder / "environment.json").read_text())
    assert environment["command"][:2] == ["vae", "train"]
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0] or environment["versions"]["torch"]
    assert {"commit", "device", "started", "python"} <= environment.keys()


def test_the_table_has_a_row_an_epoch_whose_figures_agree(run_folder):
    table = rows(run_folder)
    assert [r["epoch"] for r in table] == ["1", "2"] and [r["step"] for r in table] == ["3", "6"]
    for row in table:
        for side in ("train", "val"):
            mse, kl = float(row[f"{side}/mse"]), float(row[f"{side}/kl"])
            assert float(row[f"{side}/loss"]) == pytest.approx(mse + 0.00025 * kl, rel=1e-4)
            assert kl >= 0
        assert float(row["sigma/residual"]) == pytest.approx(float(row["val/mse"]) ** 0.5, rel=1e-6)
        assert float(row["sigma/implied"]) == pytest.approx((0.00025 * 3072 / 2) ** 0.5, rel=1e-6)
    assert [float(r["train/lr"]) for r in table] == pytest.approx([0.005, 0.005 * 0.95])


def test_tensorboard_shows_curves_pictures_latents_and_hyperparameters(run_folder):
    seen = events(run_folder)
    scalars = set(seen.Tags()["scalars"])
    curves = {f"{side}/{what}" for side in ("train", "val") for what in ("loss", "mse", "kl", "elbo")}
    assert scalars == curves | {"train/lr", "sigma/residual", "sigma/implied", "val/active_units"}
    assert len(seen.Scalars("val/loss")) == 2
    assert set(seen.Tags()["images"]) == {"pictures/reconstructions", "pictures/samples", "pictures/traversal"}
    assert len(seen.Images("pictures/samples")) == 2
    assert set(seen.Tags()["histograms"]) == {"val/kl_per_dimension", "val/mu", "val/sigma"}
    for row, point in zip(rows(run_folder), seen.Scalars("val/elbo"), strict=True):
        assert point.value == pytest.approx(float(row["val/elbo"]), rel=1e-5)


def test_the_originals_of_every_epochs_reconstructions_are_the_same(run_folder):
    import numpy as np
    from PIL import Image

    first, second = (np.asarray(Image.open(run_folder / "pictures" / f"reconstructions_{e:04d}.png")) for e in (1, 2))
    assert np.array_equal(first[:36], second[:36]), "the row of originals"
    assert not np.array_equal(first[36:70], second[36:70]), "the row of reconstructions"


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(run_folder, pictures, tmp_path):
    first = read_checkpoint(run_folder / "last.ckpt").tensors
    assert same(first, train(tmp_path / "again", pictures).tensors)
    assert figures(run_folder) == figures(tmp_path / "again")
    assert not same(first, train(tmp_path / "other", pictures, "--seed=7").tensors)


def test_a_resumed_run_equals_an_uninterrupted_one(run_folder, pictures, tmp_path):
    """Weights, optimizer, learning rate, table and curves; resumed in a copy, since the fixture is shared."""
    straight = train(tmp_path / "straight", pictures, "--trainer.max_epochs=4")
    shutil.copytree(run_folder, tmp_path / "resumed")
    assert main(["train", "--resume", str(tmp_path / "resumed"), "--trainer.max_epochs", "4"]) == 0
    resumed = read_checkpoint(tmp_path / "resumed" / "last.ckpt")
    assert same(straight.tensors, resumed.tensors) and any("exp_avg" in name for name in resumed.tensors)
    assert straight.position == resumed.position and straight.figures == resumed.figures
    assert (resumed.epochs, resumed.position.steps) == (4, 12)
    assert figures(tmp_path / "straight") == figures(tmp_path / "resumed")
    for tag in ("val/loss", "train/loss", "train/lr"):
        one, other = (events(tmp_path / run).Scalars(tag) for run in ("straight", "resumed"))
        assert [(p.step, p.value) for p in one] == [(p.step, p.value) for p in other]
    last = "pictures/reconstructions_0004.png"
    assert (tmp_path / "straight" / last).read_bytes() == (tmp_path / "resumed" / last).read_bytes()
    assert len(json.loads((tmp_path / "resumed" / "environment.json").read_text())["resumed"]) == 1


def test_what_an_interrupted_epoch_had_logged_is_not_shown_twice(run_folder, pictures, tmp_path):
    """A third epoch had begun: a row and a point of it are there, and the checkpoint knows nothing of it."""
    folder = shutil.copytree(run_folder, tmp_path / "run")
    with open(folder / "metrics.csv", "a") as file:
        file.write((folder / "metrics.csv").read_text().splitlines()[-1].replace("2,6,", "3,9,", 1) + "\n")
    with SummaryWriter(str(folder)) as writer:
        writer.add_scalar("val/loss", 999.0, 8)
    assert main(["train", "--resume", str(folder), "--trainer.max_epochs", "3"]) == 0
    assert [row["epoch"] for row in rows(folder)] == ["1", "2", "3"]
    points = events(folder).Scalars("val/loss")
    assert len(points) == 3 and max(p.value for p in points) < 999


CHANGES = {
    "weight decay": "--optimizer.weight_decay=0.1",
    "lr decay": "--optimizer.lr_decay=0.5",
    "clipping": "--trainer.gradient_clip_val=0.01",
    "beta": "--objective.beta=4",
    "mirroring": "--data.horizontal_flip=true",
    "precision": "--trainer.precision=bf16-mixed",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_setting_of_training_makes_a_difference(run_folder, pictures, tmp_path, change):
    before = read_checkpoint(run_folder / "last.ckpt").tensors
    assert not same(before, train(tmp_path / "run", pictures, change).tensors)


def test_the_elbo_is_at_beta_1_and_the_implied_sigma_at_the_betas_own(pictures, tmp_path):
    train(tmp_path / "run", pictures, "--objective.beta=4", "--objective.kld_weight=0.001", "--trainer.max_epochs=1")
    (row,) = rows(tmp_path / "run")
    values = 3 * 32 * 32
    mse, kl = float(row["val/mse"]), float(row["val/kl"])
    assert float(row["val/elbo"]) == pytest.approx(elbo(mse, kl, implied_sigma(0.001, values), values), rel=1e-5)
    assert float(row["sigma/implied"]) == pytest.approx(implied_sigma(0.004, values), rel=1e-5)
    assert float(row["val/loss"]) == pytest.approx(mse + 0.004 * kl, rel=1e-5)


def test_every_epochs_samples_are_decoded_from_the_same_z(pictures, tmp_path, monkeypatch):
    asked, sample = [], autoencoder.sample

    def recorded(network, count, seed):
        asked.append((count, seed))
        return sample(network, count, seed)

    monkeypatch.setattr(autoencoder, "sample", recorded)
    train(tmp_path / "run", pictures)
    assert len(asked) == 2 and asked[0] == asked[1]


def test_best_is_kept_when_what_follows_is_worse_also_after_resuming(tmp_path):
    folder, healthy = RunFolder(tmp_path), SimpleNamespace(check=lambda *_: None)
    stage = SimpleNamespace(name="autoencoder", best="val/loss", figures=("val/loss",), in_files="", class_names=())
    module = SimpleNamespace(stage=stage, settings=Settings(), steps_done=3, steps_per_epoch=3, epoch_s=1.0)
    module.tensors_to_save = lambda: {"network.a": torch.zeros(1)}

    def epoch(saving, number, loss):
        trainer = SimpleNamespace(current_epoch=number, callback_metrics={"val/loss": loss}, is_global_zero=True)
        trainer.logger, trainer.global_step, trainer.world_size = SimpleNamespace(flush=lambda: None), 3, 1
        trainer.precision_plugin = SimpleNamespace(state_dict=dict)
        saving.on_train_epoch_end(trainer, module)
        saving.on_train_end()
        return [read_checkpoint(path).epochs for path in (folder.last, folder.best)]

    with Writer() as writer:
        saving = SaveCheckpoints(Run(Settings(), folder, [], writer=writer), healthy)
        assert [epoch(saving, number, loss) for number, loss in enumerate((3.0, 1.0, 2.0))] == [[1, 1], [2, 2], [3, 2]]
        last = read_checkpoint(folder.last)
        assert (last.position.best, last.position.best_epoch) == (1.0, 2)
        resumed = SaveCheckpoints(Run(Settings(), folder, [], last, writer=writer), healthy)
        assert epoch(resumed, 3, 1.5) == [4, 2]


def test_best_is_the_epoch_with_the_lowest_loss_and_last_is_the_last(pictures, tmp_path):
    train(tmp_path / "run", pictures, "--trainer.max_epochs=4", "--optimizer.lr=0.05")
    losses = [float(r["val/loss"]) for r in rows(tmp_path / "run")]
    assert read_checkpoint(tmp_path / "run" / "best.ckpt").epochs == losses.index(min(losses)) + 1
    assert read_checkpoint(tmp_path / "run" / "last.ckpt").epochs == 4


def test_an_autoencoder_trains_on_squared_error_alone(pictures, tmp_path):
    train(tmp_path / "run", pictures, "--model.variational=false")
    table = rows(tmp_path / "run")
    assert "val/kl" not in table[0] and "val/elbo" not in table[0]
    assert all(row["val/loss"] == row["val/mse"] for row in table)
    assert main(["sample", "--ckpt", str(tmp_path / "run" / "last.ckpt")]) == 1


@pytest.mark.parametrize(
    "extra",
    [
        ["--data.channels=1"],
        ["--trainer.precision=bf16-mixed"],
        ["--trainer.gradient_clip_val=0.1", "--data.horizontal_flip=true", "--optimizer.weight_decay=0.01"],
        ["--data.image_size=48", "--model.widths=[4, 8, 8, 8]", "--data.split=sorted"],
    ],
    ids=["grey", "bf16", "clip-flip-decay", "48px"],
)
def test_other_settings_train_too(pictures, tmp_path, extra):
    trained = train(tmp_path / "run", pictures, *extra, "--trainer.max_epochs=1")
    assert all(w.isfinite().all() for w in trained.tensors.values())
    assert main(["sample", "--ckpt", str(tmp_path / "run" / "last.ckpt"), "-n", "3"]) == 0


def test_the_checkpoints_settings_are_the_runs(run_folder):
    assert read_checkpoint(run_folder / "last.ckpt").settings == from_flat(read_yaml(run_folder / "config.yaml"))
    last = rows(run_folder)[-1]
    for name, value in read_checkpoint(run_folder / "last.ckpt").figures.items():
        assert value == pytest.approx(float(last[name]), rel=1e-6)


def test_a_figure_that_is_new_to_a_resumed_run_gets_a_column(tmp_path):
    write_table(
        tmp_path / "metrics.csv", [{"epoch": 1, "val/mse": "0.5"}, {"epoch": 2, "val/mse": "0.4", "val/new": "3"}]
    )
    assert [row["val/new"] for row in read_csv(tmp_path / "metrics.csv")] == ["", "3"]
