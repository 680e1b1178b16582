"""Priors from the command line and from Python: drawing by class, another prior, beginning with a model, exports."""

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from test_cli import refused

from conftest import TINY, draw_pictures, flags
from vae_simpsons import VAE
from vae_simpsons.checkpoint import NETWORK, read_checkpoint, write_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.errors import VAEError
from vae_simpsons.models.priors import FlowPrior, GaussianPrior, NormalPrior

LABELS = {"prior.labels": "true"}
FLOW = LABELS | {"prior.kind": "flow", "prior.epochs": "2", "prior.width": "16", "prior.depth": "1", "prior.lr": "0.03"}
NAMES = ["bart simpson", "lisa_simpson"]


@pytest.fixture(scope="module")
def characters(tmp_path_factory) -> Path:
    """Two characters with enough pictures for a label, and one with too few."""
    folder = draw_pictures(tmp_path_factory.mktemp("characters"), 320)
    for number, name in enumerate(NAMES):
        (folder / f"class_{number}").rename(folder / name)
    (folder / "moe").mkdir()
    for i in range(8):
        shutil.copy(folder / NAMES[0] / f"pic_{2 * i:04d}.png", folder / "moe")
    return folder


@pytest.fixture(scope="module")
def train(characters, cache, tmp_path_factory):
    """Trains for an epoch on the characters, with settings of the caller's; returns the run folder."""

    def train(**settings) -> Path:
        folder = tmp_path_factory.mktemp("runs") / "run"
        given = TINY | {"data.path": str(characters), "data.split": "shuffled", "trainer.max_epochs": "1"}
        kept = {"data.cache_dir": str(cache / "vae-simpsons"), "out": str(folder)}
        assert main(["train", *flags(given | kept | settings)]) == 0
        return folder

    return train


@pytest.fixture(scope="module")
def gaussian(train) -> Path:
    return train(**LABELS | {"prior.kind": "gaussian"})


@pytest.fixture(scope="module")
def flow(train) -> Path:
    """Non-square pictures, averaged weights."""
    return train(**FLOW | {"data.image_size": "[16, 24]", "optimizer.ema": "0.9"})


@pytest.fixture(scope="module")
def plain(train) -> Path:
    """N(0, I), as published."""
    return train()


@pytest.fixture(params=["gaussian", "flow"])
def run(request) -> Path:
    """Each of the runs with classes."""
    return request.getfixturevalue(request.param)


def ckpt(run: Path, name: str = "last.ckpt") -> str:
    return str(run / name)


def pixels_of(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def sampled(run: Path, *arguments: str) -> np.ndarray:
    """The pixels of the grid that `vae sample` writes."""
    assert main(["sample", "--ckpt", ckpt(run), *arguments]) == 0
    return pixels_of("samples.png")


# by class


def test_classes_are_listed_one_a_line(run, capsys):
    assert main(["sample", "--ckpt", ckpt(run), "--list-classes"]) == 0
    assert capsys.readouterr().out.splitlines() == NAMES
    assert VAE.load(run / "last.ckpt").class_names == NAMES
    assert not Path("samples.png").exists()


def test_a_model_without_classes_says_how_to_get_them(capfd, plain):
    said = refused(capfd, "sample", "--ckpt", ckpt(plain), "--list-classes")
    assert said.startswith("vae: --list-classes: the model was told no classes. Train with prior.labels true")
    assert "vae fit-prior" in said
    assert "--class: the model was told no classes" in refused(capfd, "sample", "--ckpt", ckpt(plain), "--class", "x")
    assert VAE.load(plain / "last.ckpt").class_names == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--class", "lisa_simson"], "--class: 'lisa_simson' is none of the 2 classes. Did you mean lisa_simpson?"),
        (["--class", "lisa"], "--class: 'lisa' is none of the 2 classes. Did you mean lisa_simpson?"),
        (["--class", "zzz"], "--class: 'zzz' is none of the 2 classes. There are bart simpson, lisa_simpson."),
        (["--class", "lisa_simpson,"], "--class: '' is none of the 2 classes"),
        (["--class", "moe"], "training images, and a class is told from 100 on. There are bart simpson"),
        (["--class", "lisa_simpson,lisa_simpson"], "--class: 'lisa_simpson' is given twice"),
        (["--class", ",".join(NAMES), "-n", "5"], "-n: 5 is no multiple of the 2 classes. Give 6, 3 of each."),
        (["--class", ",".join(NAMES), "-n", "1"], "-n: 1 is no multiple of the 2 classes. Give 2, 1 of each."),
        (["--class", "lisa_simpson", "--guidance", "-1"], "--guidance: -1 is not accepted. Give a number >= 0."),
        (["--class", "lisa_simpson", "--guidance", "nan"], "--guidance: nan is not accepted"),
        (["--temperature", "0"], "--temperature: 0 is not accepted. Give a number > 0."),
        (["--temperature", "inf"], "--temperature: inf is not accepted"),
        (["--steps", "0"], "--steps: 0 is not accepted. Give a whole number >= 1."),
        (["--steps", "1001"], "--steps: 1001 is not accepted. Give a whole number from 1 to 1000."),
    ],
)
def test_what_cannot_be_drawn_is_refused(capfd, flow, arguments, said):
    assert said in refused(capfd, "sample", "--ckpt", ckpt(flow), *arguments)


@pytest.mark.parametrize(("name", "kind"), [("gaussian", "3 Gaussians fitted"), ("plain", "N(0, I)")])
def test_steps_and_guidance_are_a_flows(capfd, request, name, kind):
    run = request.getfixturevalue(name)
    capfd.readouterr()  # of its training, where this test is the first to ask for it
    for flag in ("--steps", "--guidance"):
        said = refused(capfd, "sample", "--ckpt", ckpt(run), flag, "3")
        assert f"{flag}: 3" in said and "is for a flow" in said and kind in said and "vae fit-prior" in said


@pytest.mark.parametrize(("arguments", "said"), [(["--guidance", "much"], "--guidance"), (["--clas", "x"], "--class?")])
def test_wrong_usage(capfd, arguments, said):
    assert said in refused(capfd, "sample", "--ckpt", "x", *arguments, status=2)


def test_python_names_its_own_arguments(gaussian, flow):
    model, deep = VAE.load(gaussian / "last.ckpt"), VAE.load(flow / "last.ckpt")
    for message, ask in (
        ("class_names: 'lisa' is none", lambda: model.sample(2, class_names="lisa")),
        ("n: 3 is no multiple", lambda: model.sample(3, class_names=NAMES)),
        ("n: 0 is not accepted", lambda: model.sample(0)),
        ("guidance: 2.0 is for a flow", lambda: model.sample(2, class_names=NAMES, guidance=2.0)),
        ("steps: 0 is not accepted", lambda: deep.sample_images(2, steps=0)),
        ("temperature: -1 is not accepted", lambda: deep.sample_blocks(2, temperature=-1.0)),
    ):
        with pytest.raises(VAEError, match=f"^{message}"):
            ask()


# pictures


def test_a_class_changes_the_pictures_and_several_have_a_row_each(run, capsys):
    one = sampled(run, "--class", NAMES[0], "-n", "8")
    other = sampled(run, "--class", NAMES[1], "-n", "8")
    assert not np.array_equal(one, other)
    both = sampled(run, "--class", ",".join(NAMES))  # a row of eight each
    height = one.shape[0] - 2
    assert both.shape == (2 + 2 * height, *one.shape[1:])
    assert np.abs(both[: height + 2].astype(int) - one).max() <= 1  # in another place of its block
    assert np.abs(both[height:].astype(int) - other).max() <= 1
    assert "16 samples in samples.png (8 of each: bart simpson, lisa_simpson)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "rows", "columns"),
    [
        (["--nrow", "3"], 2, 3),
        (["-n", "10"], 2, 5),
        (["-n", "32"], 2, 16),
        (["-n", "34"], 5, 8),
        (["-n", "12", "--nrow", "3"], 4, 3),
    ],
)
def test_rows_of_the_grid(gaussian, arguments, rows, columns):
    assert sampled(gaussian, "--class", ",".join(NAMES), *arguments).shape == (2 + 34 * rows, 2 + 34 * columns, 3)


@pytest.mark.parametrize("name", ["gaussian", "flow", "plain"])
def test_a_seed_gives_the_same_pixels_however_many_are_asked_for(request, name):
    model = VAE.load(request.getfixturevalue(name) / "last.ckpt")
    for class_names in (None, NAMES[1]) if model.class_names else (None,):
        few, many = (model.sample(n, 5, class_names) for n in (3, 300))  # more than a block of 256
        assert torch.equal(few, many[:3])
    assert not torch.equal(few, model.sample(3, 6, class_names))


def test_each_class_is_drawn_from_the_same_noise(run):
    model = VAE.load(run / "last.ckpt")
    few, many = (model.sample(n, 5, NAMES).chunk(2) for n in (6, 300))
    for number, name in enumerate(NAMES):
        alone = model.sample(3, 5, name)
        torch.testing.assert_close(few[number], alone, rtol=0, atol=1e-5)
        torch.testing.assert_close(many[number][:3], alone, rtol=0, atol=1e-5)


def test_files_are_named_by_class(gaussian, capsys):
    assert main(["sample", "--ckpt", ckpt(gaussian), "--class", ",".join(NAMES), "-n", "4", "--out-dir", "each"]) == 0
    names = [f"{name}_{i:06d}.png" for name in NAMES for i in range(2)]
    assert sorted(os.listdir("each")) == names
    grid = sampled(gaussian, "--class", NAMES[1], "-n", "2")
    drawn = pixels_of(Path("each", names[3])).astype(int)
    assert np.abs(drawn - grid[2:34, 36:68]).max() <= 1


def test_guidance_steps_and_temperature_do_something(flow):
    model = VAE.load(flow / "last.ckpt")
    usual = model.sample(4, 0, NAMES[0])
    assert usual.shape == (4, 3, 16, 24)
    assert torch.equal(usual, model.sample(4, 0, NAMES[0], guidance=2.0, steps=20, temperature=1.0))
    for change in ({"guidance": 4.0}, {"steps": 2}, {"temperature": 0.9}):
        assert not torch.equal(usual, model.sample(4, 0, NAMES[0], **change))
    assert torch.equal(*(model.sample(4, 0, name, guidance=0.0) for name in NAMES[:2]))
    near = VAE.load(flow / "last.ckpt").sample(64, temperature=0.1)
    assert near.std(0).mean() < model.sample(64).std(0).mean()


def test_guidance_needs_no_class(flow):
    model = VAE.load(flow / "last.ckpt")
    assert not torch.equal(model.sample(4), model.sample(4, guidance=1.0))
    assert torch.equal(model.sample(4), model.sample(4, guidance=2.0))


def test_the_config_says_how_samples_are_guided_unless_told_otherwise(train):
    with_weak = VAE.load(train(**FLOW | {"prior.guidance": "3", "data.image_size": "[16, 24]"}) / "last.ckpt")
    assert torch.equal(with_weak.sample(4), with_weak.sample(4, guidance=3.0))


def test_a_flow_without_a_weak_network_is_guided_by_class_alone(capfd, train):
    """As flows were before there was one, whose files do not say that they have none."""
    run = train(**FLOW | {"prior.weak_width": "null"})
    saved = read_checkpoint(run / "last.ckpt")
    assert not any(".weak." in name for name in saved.tensors)
    settings = asdict(saved.settings)
    for key in ("weak_width", "guidance"):
        del settings["prior"][key]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("vae_simpsons.checkpoint.asdict", lambda x: settings if x is saved.settings else asdict(x))
        write_checkpoint(replace(saved, path=run / "old.ckpt"))
    model = VAE.load(run / "old.ckpt")
    assert (model.settings.prior.weak_width, model.settings.prior.guidance) == (None, 1.5)
    assert torch.equal(model.sample(4, 0, NAMES[0]), VAE.load(run / "last.ckpt").sample(4, 0, NAMES[0], guidance=1.5))
    capfd.readouterr()
    said = refused(capfd, "sample", "--ckpt", ckpt(run, "old.ckpt"), "--guidance", "2")
    assert "--guidance: 2 without a class to guide to" in said


def test_other_priors_are_drawn_from_as_they_are(gaussian):
    model = VAE.load(gaussian / "last.ckpt")
    assert torch.equal(model.sample(4), model.sample(4, temperature=1.0))


def test_a_flow_shows_its_steps_and_nothing_else_does(flow, gaussian):
    said = []

    def progress(title, total):
        said.append((title, total))
        return said.append

    model = VAE.load(flow / "last.ckpt")
    model.sample(700, steps=3, progress=progress)  # blocks of 682 images
    assert said == [("drawing", 6), *range(1, 7)]
    said.clear()
    VAE.load(gaussian / "last.ckpt").sample(3, progress=progress)
    assert not said


def test_ten_thousand_are_drawn_a_block_at_a_time(flow):
    blocks = VAE.load(flow / "last.ckpt").sample_blocks(10_000, class_names=NAMES, steps=1)
    assert next(blocks).shape == (682, 3, 16, 24)


def test_a_notebook_shows_a_row_a_class(gaussian):
    grid = VAE.load(gaussian / "last.ckpt").sample_images(6, class_names=NAMES)
    assert (len(grid), grid.columns, grid.row_labels) == (6, 3, NAMES)
    assert VAE.load(gaussian / "last.ckpt").sample_images(6, class_names=NAMES[0]).columns == 8


# exports


@pytest.mark.parametrize("half", [False, True])
def test_an_export_keeps_the_prior_and_the_classes(run, half, capsys):
    assert main(["export", "--ckpt", ckpt(run), "--out", "model", *["--half"] * half]) == 0
    assert f"model.safetensors ({Path('model', 'model.safetensors').stat().st_size / 1000:.3g} kB)" in (
        capsys.readouterr().out
    )
    tensors = safetensors.torch.load_file("model/model.safetensors")
    assert {name.partition(".")[0] for name in tensors} == {"network", "prior"}
    before, after = VAE.load(run / "last.ckpt"), VAE.load("model")
    assert after.class_names == NAMES
    drawn = [model.sample(5, 1, NAMES[1]) for model in (before, after)]
    torch.testing.assert_close(*drawn, rtol=0, atol=0.03 if half else 0)
    assert {t.dtype for t in after.network.state_dict().values()} <= {torch.float32, torch.int64, torch.bool}
    card = Path("model", "README.md").read_text()
    assert "vae sample --ckpt model --class 'bart simpson,lisa_simpson'" in card and "`lisa_simpson`" in card
    assert ("a flow of" if isinstance(after.network.prior, FlowPrior) else "3 Gaussians") in card
    assert ("16 bits" in card) == half


def test_half_precision_is_half_the_size_and_leaves_statistics_as_they_are(flow, capsys):
    assert main(["export", "--ckpt", ckpt(flow), "--out", "full"]) == 0
    assert main(["export", "--ckpt", ckpt(flow), "--out", "half", "--half"]) == 0
    full, half = (safetensors.torch.load_file(f"{name}/model.safetensors") for name in ("full", "half"))
    small, large = (sum(t.nbytes for t in tensors.values()) for tensors in (half, full))
    assert small < 0.56 * large
    for name, tensor in half.items():
        if "running_" in name or "num_batches" in name or name in ("prior.mean", "prior.std"):
            assert tensor.dtype == full[name].dtype and torch.equal(tensor, full[name])
    kernels = [name for name, tensor in full.items() if tensor.dim() == 4]
    assert kernels and all(half[name].dtype == torch.float16 for name in kernels)
    # Exported once more, as it is; and what counts is the average.
    assert main(["export", "--ckpt", "half", "--out", "again"]) == 0
    assert Path("again/model.safetensors").read_bytes() == Path("half/model.safetensors").read_bytes()
    averaged = read_checkpoint(flow / "last.ckpt").part("average.")
    assert all(torch.equal(full[f"network.{name}"], tensor) for name, tensor in averaged.items())


# another prior


def autoencoder_of(run: Path, name: str = "last.ckpt") -> dict[str, torch.Tensor]:
    return read_checkpoint(run / name).weights()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name].float(), b[name].float()) for name in a)


def test_a_run_is_given_a_flow_which_can_be_resumed(plain, capsys):
    before = {path.name: path.read_bytes() for path in plain.iterdir() if path.is_file()}
    out = Path("new")
    assert main(["fit-prior", "--ckpt", ckpt(plain), *flags(FLOW), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "a flow on latents of 8" in said and "prior.labels: 2 classes" in said
    assert {path.name: path.read_bytes() for path in plain.iterdir() if path.is_file()} == before
    assert (out / "split.csv").read_bytes() == (plain / "split.csv").read_bytes()
    for name in ("last.ckpt", "best.ckpt"):
        model = VAE.load(out / name)
        assert isinstance(model.network.prior, FlowPrior) and model.class_names == NAMES
        assert same(autoencoder_of(out, name), autoencoder_of(plain))
    assert len((out / "prior_metrics.csv").read_text().splitlines()) == 3
    assert main(["train", "--resume", str(out), "--prior.epochs", "3"]) == 1  # keeps its settings
    assert "A resumed run keeps its settings" in capsys.readouterr().err


def test_a_flow_that_was_stopped_goes_on_where_it_was(plain, monkeypatch, capsys):
    from vae_simpsons.errors import Interrupted
    from vae_simpsons.training.saving import SaveCheckpoints

    fit = ["fit-prior", "--ckpt", ckpt(plain), *flags(FLOW), "--out"]
    assert main([*fit, "whole"]) == 0
    save = SaveCheckpoints.on_train_epoch_end

    def stop(self, trainer, module):
        save(self, trainer, module)
        self.run.writer.finish()
        raise Interrupted("stopped here", 130)

    with monkeypatch.context() as patched:
        patched.setattr(SaveCheckpoints, "on_train_epoch_end", stop)
        assert main([*fit, "cut"]) == 130
    assert main(["train", "--resume", "cut"]) == 0
    whole, cut = (read_checkpoint(Path(name, "last.ckpt")) for name in ("whole", "cut"))
    assert cut.position.epochs == whole.position.epochs == 2 and same(whole.tensors, cut.tensors)


def test_gaussians_take_seconds_and_normal_takes_a_prior_away(plain, flow, capsys):
    assert main(["fit-prior", "--ckpt", ckpt(plain), "--prior.kind", "gaussian"]) == 0
    assert "1 Gaussian fitted to the latents of runs" in capsys.readouterr().out
    (out,) = Path("runs", f"{plain.name}-gaussian").iterdir()
    assert isinstance(VAE.load(out / "last.ckpt").network.prior, GaussianPrior)
    assert same(autoencoder_of(out), autoencoder_of(plain)) and (out / "pictures" / "samples_last.png").exists()
    assert (out / "split.csv").read_bytes() == (plain / "split.csv").read_bytes()
    assert main(["fit-prior", "--ckpt", ckpt(out), "--prior.kind=gaussian", *flags(LABELS), "--out", "named"]) == 0
    assert "prior.labels: 2 classes, drawn with vae sample" in capsys.readouterr().out

    assert main(["fit-prior", "--ckpt", ckpt(flow), "--prior.kind", "normal", "--out", "bare"]) == 0
    model = VAE.load("bare/last.ckpt")
    assert isinstance(model.network.prior, NormalPrior) and model.class_names == []
    assert same(autoencoder_of(Path("bare")), autoencoder_of(flow)) and Path("bare/split.csv").exists()
    assert not [name for name in model.checkpoint.tensors if name.startswith("prior")]
    assert not [name for name in model.checkpoint.figures if name.startswith("prior")]


def test_the_folder_is_named_after_the_run():
    from vae_simpsons.checkpoint import Checkpoint
    from vae_simpsons.settings import Settings
    from vae_simpsons.training.newprior import name_of

    for path, name in (
        ("runs/toons/2026-01-31_10-20-30/last.ckpt", "toons-flow"),
        ("runs/toons/2026-01-31_10-20-30-2/best.ckpt", "toons-flow"),
        ("mine/last.ckpt", "mine-flow"),
        ("pretrained/toons/model.safetensors", "toons-flow"),
    ):
        assert name_of(Checkpoint(Path(path), Settings(), {}, 1), "flow") == name


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", ["flow", "gaussian"])
def test_an_export_is_given_a_prior(flow, characters, capsys, kind, half):
    assert main(["export", "--ckpt", ckpt(flow), "--out", "model", *["--half"] * half]) == 0
    settings = FLOW | {"prior.kind": kind, "prior.epochs": "1", "data.path": str(characters)}
    assert main(["fit-prior", "--ckpt", "model", *flags(settings), "--out", "new"]) == 0
    assert same(autoencoder_of(Path("new")), read_checkpoint(Path("model")).weights())
    assert VAE.load("new/last.ckpt").class_names == NAMES and Path("new/split.csv").exists()
    assert sampled(Path("new"), "--class", NAMES[0], "-n", "2").shape == (2 + 18, 2 + 2 * 26, 3)


def test_an_export_needs_its_pictures_unless_the_prior_is_taken_away(flow, capfd):
    assert main(["export", "--ckpt", ckpt(flow), "--out", "model"]) == 0
    capfd.readouterr()
    said = refused(capfd, "fit-prior", "--ckpt", "model", "--prior.kind", "gaussian")
    assert "data.path: an exported model does not say where its pictures are" in said
    assert main(["fit-prior", "--ckpt", "model", "--prior.kind", "normal", "--out", "bare"]) == 0
    assert isinstance(VAE.load("bare/last.ckpt").network.prior, NormalPrior)


def test_what_no_prior_can_be_given_to(capfd, train, plain, characters, monkeypatch):
    from vae_simpsons.training.saving import SaveCheckpoints

    fit = ["fit-prior", "--prior.kind", "flow", "--ckpt"]
    assert "out: " in (said := refused(capfd, *fit, ckpt(plain), "--out", str(plain))) and "holds another run" in said
    assert "--ckpt: no such file: no.ckpt" in refused(capfd, *fit, "no.ckpt")
    said = refused(capfd, "fit-prior", "--ckpt", ckpt(plain), status=2)
    last = read_checkpoint(Path(ckpt(plain)))
    name = next(iter(last.part(NETWORK)))
    write_checkpoint(replace(last, path=Path("bad.ckpt"), tensors=last.tensors | {NETWORK + name: torch.zeros(1)}))
    refusal = refused(capfd, *fit, "bad.ckpt")
    assert "--ckpt: bad.ckpt" in refusal and "flow" not in refusal
    assert "which prior? Give --prior.kind gaussian or --prior.kind flow" in said
    assert "data.path: no such folder: gone" in refused(capfd, *fit, ckpt(plain), "--data.path", "gone")
    assert "no such option: model.latent_dim" in refused(capfd, *fit, ckpt(plain), "--model.latent_dim=4", status=2)
    both = ["--prior.labels=true", "--prior.components=3"]
    assert "prior.components: 3 with prior.labels" in refused(capfd, *fit, ckpt(plain), *both)
    autoencoder = train(**{"model.variational": "false"})
    capfd.readouterr()
    assert "is a plain autoencoder (model.variational: false)" in refused(capfd, *fit, ckpt(autoencoder))

    def stop(self, trainer, module):
        self.save(trainer, module, True)
        self.run.writer.finish()
        raise VAEError("stopped here")

    monkeypatch.setattr(SaveCheckpoints, "on_train_epoch_end", stop)
    cut = TINY | {"data.path": str(characters), "out": "cut"}
    assert main(["train", *flags(cut)]) == 1
    capfd.readouterr()
    for name in ("last.ckpt", "best.ckpt"):
        said = refused(capfd, *fit, f"cut/{name}")
        assert f"--ckpt: cut/{name} has 1 of 2 epochs. Finish it with vae train --resume" in said


def test_the_autoencoder_of_such_a_run_is_not_trained_on(plain, capfd):
    assert main(["fit-prior", "--ckpt", ckpt(plain), "--prior.kind", "gaussian", "--out", "new"]) == 0
    capfd.readouterr()
    assert "has 1 epochs already" in refused(capfd, "train", "--resume", "new")
    assert "without the optimizer's state" in refused(capfd, "train", "--resume", "new", "--trainer.max_epochs=3")


# beginning with a model


def test_a_run_begins_with_the_weights_that_fit(plain, characters, capsys):
    start = TINY | {"data.path": str(characters), "trainer.max_epochs": "1", "optimizer.lr": "1e-9"}
    assert main(["train", *flags(start), "--init", ckpt(plain), "--out", "same"]) == 0
    count = len(autoencoder_of(plain))
    assert f"init: {count} of {count} tensors are those of {plain}/last.ckpt\n" in capsys.readouterr().out
    theirs, ours = autoencoder_of(plain), autoencoder_of(Path("same"))
    kernels = [name for name, tensor in ours.items() if tensor.dim() == 4]
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in kernels)
    # Another latent: what depends on it is new, and named.
    assert main(["train", *flags(start), "--model.latent_dim=5", "--init", ckpt(plain), "--out", "other"]) == 0
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("init: "))
    assert "tensors are those of" in said and "; new: " in said and "5x" in said and "8x" in said and "more" in said
    assert read_checkpoint(Path("other/last.ckpt")).position.epochs == 1


def test_a_run_begins_with_an_export_in_half_precision(flow, characters, capsys):
    assert main(["export", "--ckpt", ckpt(flow), "--out", "model", "--half"]) == 0
    start = TINY | {"data.path": str(characters), "data.image_size": "[16, 24]", "trainer.max_epochs": "1"}
    assert main(["train", *flags(start), "--init", "model", "--out", "new"]) == 0
    assert "tensors are those of model/model.safetensors" in capsys.readouterr().out


def test_what_a_run_cannot_begin_with(capfd, plain, pictures):
    start = ["train", *flags(TINY), f"--data.path={pictures}", "--out=new", "--init"]
    Path("text.ckpt").write_text("hello")
    torch.save({}, "pickle.ckpt")
    assert "--init: no such file: no.ckpt" in refused(capfd, *start, "no.ckpt")
    assert "--init: text.ckpt is a text file" in refused(capfd, *start, "text.ckpt")
    assert "--init: pickle.ckpt is a pickle or a zip" in refused(capfd, *start, "pickle.ckpt")
    spatial = ["--model.latent=spatial", "--model.width=8", "--model.blocks=1", "--model.latent_channels=2"]
    said = refused(capfd, *start, ckpt(plain), *spatial)
    assert "--init: none of the" in said and str(plain) in said
    said = refused(capfd, "train", "--resume", ckpt(plain), "--init", ckpt(plain), status=2)
    assert "--init begins a new run, and --resume continues one. Give one of the two." in said
