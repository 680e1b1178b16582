"""ONNX files: onnxruntime computes what torch does, and the model card's script draws what `vae sample` does."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from test_cli import refused

from vae_simpsons import VAE
from vae_simpsons.checkpoint import NETWORK, PRIOR, Checkpoint, write_checkpoint
from vae_simpsons.cli import main
from vae_simpsons.configfile import from_flat
from vae_simpsons.export import onnx
from vae_simpsons.images import denormalise
from vae_simpsons.inference import sample
from vae_simpsons.models import build_autoencoder, build_prior

NAMES = ["o'hare `airport`", "lisa_simpson"]
MAP = {"data.image_size": 32, "model.latent": "spatial", "model.width": 16, "model.latent_channels": 4}
SMALL = {"data.image_size": [16, 24], "model.widths": [4, 8], "model.latent_dim": 6}
FLOW = {"prior.kind": "flow", "prior.width": 16, "prior.depth": 2}
PLAIN = SMALL | {"model.variational": False}
MODELS = {
    "published": {},
    "map, flow by class": MAP | FLOW | {"prior.labels": True},
    "vector, flow": SMALL | FLOW,
    "vector, Gaussians by class": SMALL | {"prior.kind": "gaussian", "prior.labels": True},
    "grey map, Gaussian": MAP | {"data.channels": 1, "prior.kind": "gaussian"},
}


@torch.no_grad()
def save_model(given: dict) -> str:
    """Writes a checkpoint of a model of random numbers; returns its path."""
    torch.manual_seed(0)
    settings, names = from_flat(given), NAMES if given.get("prior.labels") else []
    network, prior = build_autoencoder(settings), build_prior(settings, len(names))
    tensors = {NETWORK + name: tensor for name, tensor in network.state_dict().items()}
    tensors |= {PRIOR + name: tensor for name, tensor in prior.state_dict().items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and name != PRIOR + "weights":
            tensor.add_((0.4 if name.startswith(PRIOR) else 0.2) * torch.rand_like(tensor).sub(0.5))
        if name.endswith("has_class"):
            tensor.fill_(True)
    write_checkpoint(Checkpoint(Path("last.ckpt"), settings, tensors, 1, class_names=names))
    return "last.ckpt"


def export(given: dict, *options: str) -> Path:
    """Exports such a model with its ONNX files; returns the folder."""
    assert main(["export", "--ckpt", save_model(given), "--out", "model", "--onnx", *options]) == 0
    return Path("model")


def check_encoder(model: VAE) -> None:
    """encoder.onnx gives the posteriors that torch gives, and names no file of this machine."""
    session, x = onnxruntime.InferenceSession("model/encoder.onnx"), 2 * torch.rand(3, *model.network.image_shape) - 1
    expected = {"mu": model.encode(x)[0], "log_var": model.encode(x)[1]}
    for output, found in zip(session.get_outputs(), session.run(None, {"x": x.numpy()}), strict=True):
        np.testing.assert_allclose(found, expected.pop(output.name), rtol=1e-3, atol=1e-4)
    assert all(left is None for left in expected.values())
    assert not re.search(rb"\.py\W|site-packages", Path("model", "encoder.onnx").read_bytes())


@pytest.mark.parametrize("given", MODELS.values(), ids=MODELS)
def test_the_cards_script_draws_what_vae_sample_does(given, monkeypatch):
    """From the same noise: numpy's, of the script, is put in the place of torch's."""
    model = VAE.from_pretrained(export(given))
    check_encoder(model)
    (script,) = re.findall(r"^```python\n(.*?)^```$", Path("model", "README.md").read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir("model")
    exec(compile(script, "README.md", "exec"), {})

    def noise(shape, count, seed, block):
        drawn = np.random.default_rng(0).standard_normal((16, *shape), np.float32)
        yield torch.from_numpy(drawn)[torch.arange(block) % 16]

    monkeypatch.setattr(sample, "prior_noise", noise)
    expected = denormalise(model.sample(16, class_names=NAMES[0] if model.class_names else None)).numpy()
    channels, height, width = model.network.image_shape
    grid = np.asarray(Image.open("samples.ppm")).reshape(4, height, 4, width, channels)
    drawn = grid.transpose(0, 2, 4, 1, 3).reshape(expected.shape)
    assert np.abs(drawn.astype(int) - expected).max() <= 1  # grey level
    assert expected.std(0).mean() > 0.5  # and they are not all alike


def test_a_plain_autoencoder_has_no_script():
    check_encoder(VAE.from_pretrained(export(PLAIN, "--half")))
    assert "```python" not in Path("model", "README.md").read_text()


def test_its_config_says_how_latents_are_standardised():
    given = MODELS["map, flow by class"]
    assert main(["export", "--ckpt", save_model(given), "--out", "model"]) == 0
    config, prior = json.loads(Path("model", "config.json").read_text()), VAE.load("model").network.prior
    assert config["class_names"] == NAMES and config["latent_shape"] == [4, 4, 4]
    z = np.random.default_rng(0).standard_normal((100_000, 4)) * config["latents_std"] + config["latents_mean"]
    np.testing.assert_allclose((config["scaling_factor"] * z).std(), 1, rtol=0.01)
    torch.testing.assert_close(torch.tensor(config["latents_std"]), prior.std.flatten())


def test_a_package_that_is_not_installed(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = refused(capfd, "export", "--ckpt", save_model(SMALL), "--out", "model", "--onnx")
    assert said.strip() == 'vae: --onnx: onnxruntime not installed. Run: pip install "vae-simpsons[onnx]"'
    assert not Path("model").exists()


def test_a_file_that_computes_something_else_is_not_passed_on(monkeypatch, capfd):
    write_part = onnx.write_part

    def write_another(part, path):
        write_part(part._replace(module=torch.nn.Sequential(part.module, torch.nn.Hardtanh(-0.1, 0.1))), path)

    monkeypatch.setattr(onnx, "write_part", write_another)
    said = refused(capfd, "export", "--ckpt", save_model(PLAIN), "--out", "model", "--onnx")
    assert said.startswith("vae: --onnx: mu of encoder.onnx differs from torch's by")
    assert not Path("model").exists()
