"""What the page is told of a model, without a server."""

import io
import json
import shutil
import socket
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import refused

from conftest import TINY, draw_pictures, flags
from vae_simpsons import VAE
from vae_simpsons.cli import main
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.posterior import find_components
from vae_simpsons.explore.answers import Answers
from vae_simpsons.explore.collection import gather
from vae_simpsons.explore.directions import component_directions, top_dimensions
from vae_simpsons.explore.pictures import sheet
from vae_simpsons.progress import no_progress


@pytest.fixture
def model(run_folder) -> VAE:
    return VAE.load(run_folder / "last.ckpt")


@pytest.fixture(scope="session")
def named(pictures, tmp_path_factory) -> str:
    """A spatial model with a flow that is told its two classes."""
    folder = tmp_path_factory.mktemp("named") / "run"
    flow = {"prior.kind": "flow", "prior.labels": "true", "prior.epochs": "1", "prior.width": "8", "prior.depth": "1"}
    spatial = {"model.latent": "spatial", "model.latent_channels": "2", "model.width": "8", "model.blocks": "1"}
    pictures = draw_pictures(tmp_path_factory.mktemp("many"), 280, size=32)
    settings = TINY | flow | spatial | {"data.path": str(pictures), "trainer.max_epochs": "1"}
    assert main(["train", *flags(settings), f"--out={folder}"]) == 0
    return str(folder / "last.ckpt")


def explore(model: VAE, *paths: str, most: int = 500) -> Answers:
    collection, _ = gather(model, paths, most, None, no_progress)
    return Answers(model, collection, None, no_progress)


def test_components_are_those_of_the_latents():
    mu = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 7)
    found = find_components(mu)
    assert torch.allclose(found.vectors @ found.vectors.T, torch.eye(6), atol=1e-5)
    along = (mu - found.mean) @ found.vectors.T
    assert torch.allclose(along.std(0, correction=0), found.deviations, rtol=1e-4)
    assert torch.allclose(found.shares, along.var(0) / mu.var(0).sum(), rtol=1e-4)
    assert all(vector[vector.abs().argmax()] > 0 for vector in found.vectors)
    first = component_directions(found)[0]
    assert first.name == "Component 1" and first.detail == f"{found.shares[0]:.1%} of the variance"
    assert float(first.vector.norm()) == pytest.approx(float(found.deviations[0]), rel=1e-4)
    assert len(find_components(torch.ones(2, 1)).vectors) == 2 and not component_directions(
        find_components(torch.ones(3, 2))
    )


def test_top_dimensions_have_the_largest_kl():
    kl = torch.arange(20.0)
    kl[3] = 99
    names = [(direction.name, direction.detail) for direction in top_dimensions(kl)]
    assert names[:2] == [("Dimension 3", "99.00 nats"), ("Dimension 19", "19.00 nats")] and len(names) == 12


def test_a_sheet_has_its_pictures_row_by_row():
    pixels = torch.arange(5, dtype=torch.uint8).reshape(5, 1, 1, 1).expand(5, 1, 2, 3)
    whole = sheet(pixels)
    assert whole.shape == (1, 4, 9)
    assert whole[0, ::2, ::3].tolist() == [[0, 1, 2], [3, 4, 0]]


def test_the_map_has_the_runs_validation_images_with_their_classes(model):
    answers = explore(model)
    about = json.loads(json.dumps(answers.about(), allow_nan=False))
    assert about["source"] == "10 validation images of the run" and set(about["map"]["labels"]) == {
        "class_0",
        "class_1",
    }
    assert [slider["name"].split()[0] for slider in about["sliders"]] == ["Dimension"] * 8
    assert about["draw"]["classes"] == [] and not about["draw"]["flow"] and about["draw"]["prior"] == "N(0, I)"
    points, axes = torch.tensor(about["map"]["points"]), torch.tensor(about["map"]["axes"])
    assert torch.allclose((answers.mu - torch.tensor(about["map"]["mean"])) @ axes.T, points, atol=1e-5)
    dataset = model.open_dataset()
    assert torch.equal(answers.collection.pixels, dataset.pack.pixels[torch.from_numpy(dataset.val)])


def test_the_map_has_a_users_pictures_by_folder(model, tmp_path):
    draw_pictures(tmp_path / "many", 20)
    draw_pictures(tmp_path / "few", 2)
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path / "few")
    single = str(tmp_path / "few" / "class_0" / "pic_0000.png")
    paths = [str(tmp_path / "many"), archive, single]
    found = gather(model, paths, 500, None, no_progress)[0]
    labels = ["many/class_0"] * 10 + ["many/class_1"] * 10 + ["zipped.zip/class_0", "zipped.zip/class_1", ""]
    assert (
        found.labels == labels
        and found.source == "your pictures"
        and found.names[-2:] == ["zipped.zip/class_1/pic_0001.png", "pic_0000.png"]
    )
    found = gather(model, paths[:1], 5, None, no_progress)[0]
    assert found.source == "5 of your 20 pictures" and found.labels == ["class_0"] * 2 + ["class_1"] * 3
    for most in (1, 4001):
        with pytest.raises(VAEError, match=f"^most: {most} is not accepted. Give a whole number from 2 to 4,000.$"):
            gather(model, paths, most, None, no_progress)
    with pytest.raises(VAEError, match="^PATH: no such file or folder: gone."):
        gather(model, ["gone"], 5, None, no_progress)


def test_latents_that_are_not_finite(model, monkeypatch):
    found, _ = gather(model, [], 5, None, no_progress)
    nothing = torch.full((5, 8), torch.nan)
    monkeypatch.setattr("vae_simpsons.inference.latents.encode", lambda network, x: (nothing, nothing))
    with pytest.raises(VAEError, match="^path: the model encodes pictures to numbers that are not finite."):
        Answers(model, found, None, no_progress)


def test_without_the_runs_pictures_the_map_has_samples(named, tmp_path, monkeypatch):
    assert main(["export", "--ckpt", named, "--out", "model"]) == 0
    model = VAE.load("model")
    found, remarks = gather(model, [], 5, None, no_progress)
    assert found.source == "4 samples of the prior" and found.labels == ["class_0", "class_0", "class_1", "class_1"]
    assert remarks[0].startswith("samples instead of the run's pictures: data.path: an exported model does not say")
    near = Answers(model, found, None, no_progress).nearest({"z": [[0.0] * 32]})
    assert near["of"] == "4 pictures on the map: those of the run are gone" and near["name"].startswith("sample ")
    monkeypatch.setattr(model.network, "variational", False)
    with pytest.raises(VAEError, match="^PATH: none given, and the run's pictures are not there: data.path: "):
        gather(model, [], 5, None, no_progress)


def test_a_flow_draws_what_vae_sample_draws(named):
    model = VAE.load(named)
    answers = explore(model)
    about = answers.about()
    assert about["draw"]["flow"] and about["draw"]["classes"] == ["class_0", "class_1"]
    assert about["sliders"][0]["name"] == "Component 1" and about["latent"] == (2, 4, 4)
    asked = {"count": 3, "seed": 5, "class": "class_1", "guidance": 2.0, "steps": 3, "temperature": 0.8}
    drawn = answers.draw(asked)
    expected = model.sample(3, 5, "class_1", guidance=2.0, steps=3, temperature=0.8)
    assert torch.allclose(model.decode(torch.tensor(drawn["z"]).unflatten(1, (2, 4, 4))), expected, atol=1e-3)
    assert drawn["sheet"]["columns"] == 2 and drawn["sheet"]["count"] == 3
    drawn = answers.draw({"count": 2, "steps": 2})  # any class, as `vae sample` without one
    decoded = model.decode(torch.tensor(drawn["z"]).unflatten(1, (2, 4, 4)))
    assert torch.allclose(decoded, model.sample(2, steps=2), atol=1e-3)
    answers.stopping.set()
    with pytest.raises(VAEError, match="the program has ended"):
        answers.draw(asked)


def test_the_nearest_training_picture_of_one_is_itself(model, monkeypatch):
    answers, dataset = explore(model), model.open_dataset()
    numbers = dataset.train[[4, 9]]
    for number, flip in zip(numbers, (False, True), strict=True):
        pixels = dataset.pack.pixels[int(number)]
        x = (pixels.flip(-1) if flip else pixels).float() / 127.5 - 1
        monkeypatch.setattr(answers, "network", SimpleNamespace(latent_shape=(8,), decode=lambda z, x=x: x[None]))
        monkeypatch.setattr("vae_simpsons.explore.answers.device_of", lambda network: torch.device("cpu"))
        found = answers.nearest({"z": [[0.0] * 8]})
        assert (found["name"], found["of"]) == (dataset.pack.index.paths[number], "30 training pictures")
        assert found["distance"] == pytest.approx(0, abs=0.1)


def test_an_autoencoder_in_grey_that_is_not_square(tmp_path, pictures):
    settings = TINY | {
        "data.image_size": "[32,48]",
        "model.widths": "[8,8]",
        "data.channels": "1",
        "trainer.max_epochs": "1",
    }
    settings |= {"model.variational": "false", "data.path": str(pictures)}
    assert main(["train", *flags(settings), "--out=plain"]) == 0
    answers = explore(VAE.load("plain/last.ckpt"))
    about = answers.about()
    assert about["draw"] is None and about["sliders"][0]["name"] == "Component 1" and about["image"] == (32, 48)
    assert tuple(about["map"]["thumbnail"]) == (32, 48)
    z = answers.mean({"numbers": [0, 1]})["z"]
    assert np.allclose(z, answers.mu[:2].mean(0))
    Image.open(io.BytesIO(answers.decode({"z": [z]}))).verify()
    assert answers.gif({"z": [z, z], "steps": 2, "loop": True}).startswith(b"GIF")


def test_refusals_of_the_command(run_folder, capfd):
    command = ["explore", "--ckpt", str(run_folder / "last.ckpt"), "--no-browser"]
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        for arguments, error in {
            ("--port", taken): f"--port: {taken}: Address already in use. Give another one, or 0 for any free one.",
            ("--port", "99999"): "--port: 99999 is not accepted. Give a whole number from 0 to 65,535.",
            ("--host", "192.0.2.1"): "--host: 192.0.2.1 is no address of this machine.",
            ("--images", "5000"): "--images: 5000 is not accepted. Give a whole number from 2 to 4,000.",
            ("gone",): "PATH: no such file or folder: gone.",
        }.items():
            assert error in refused(capfd, *command, *arguments)


@pytest.mark.parametrize(
    ("host", "screen", "warned", "opened"), [("127.0.0.1", ":0", False, True), ("0.0.0.0", "", True, False)]
)
def test_elsewhere_than_on_this_machine_warns(run_folder, capfd, monkeypatch, host, screen, warned, opened):
    pages = []
    monkeypatch.setattr("webbrowser.open", pages.append)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("vae_simpsons.explore.server.serve", lambda listener, application, on_ready: on_ready())
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setenv("DISPLAY", screen)
    assert main(["explore", "--ckpt", str(run_folder / "last.ckpt"), "--host", host]) == 0
    out, err = capfd.readouterr()
    address = out.splitlines()[1]
    assert pages == [address] * opened
    assert err.startswith(f"vae: --host {host}: others can reach this page") == warned and bool(err) == warned
    assert f"http://{socket.gethostname() if warned else host}:" in address and ("ssh -N" in out) != warned
