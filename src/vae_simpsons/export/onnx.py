"""The networks as ONNX files, for programs without torch, compared with torch before they are passed on.

    encoder.onnx    x (B, C, H, W) in [-1, 1] -> mu, log_var (B, *latent); of a plain autoencoder mu alone
    decoder.onnx    z (B, *latent) -> recon (B, C, H, W) in [-1, 1]
    prior.onnx      of a flow: x (B, *latent), t (B,), label int64 (B,), -1 for no class -> velocity (B, *latent)
    prior.npz       of Gaussians, which need no network: weights (K,), means (K, D), factors (K, D, D)

B is any number of images.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vae_simpsons.errors import VAEError
from vae_simpsons.models import Autoencoder
from vae_simpsons.models.priors import FlowPrior, GaussianPrior

PACKAGES = ("onnx", "onnxruntime", "onnxscript")  # of the extra [onnx]
BATCHES = (1, 2, 7)  # that are compared with torch
TOLERANCE = 1e-3  # of the largest value, or of 1; a grey level is 8e-3


class Posterior(nn.Module):
    """x -> mu, log_var: `Autoencoder.encode` as a module, which is what torch exports."""

    def __init__(self, network: Autoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        mu, log_var = self.network.encode(x)
        return mu if log_var is None else (mu, log_var)


class Velocities(nn.Module):
    """x, t, labels -> the velocity of a flow, and that which guidance leads away from."""

    def __init__(self, prior: FlowPrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.prior.velocity(x, t, labels), self.prior.worse_velocity(x, t)


class Part(NamedTuple):
    """A module that becomes an ONNX file."""

    name: str  # of the file
    module: nn.Module
    example: Callable[[int], dict[str, Tensor]]  # inputs by name, of a batch of so many
    outputs: list[str]


def check_installed() -> None:
    """Refuses to begin, with a VAEError, where a package that ONNX files need is not installed."""
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise VAEError(f'onnx: {" and ".join(missing)} not installed. Run: pip install "vae-simpsons[onnx]"')


def write_onnx(network: Autoencoder, folder: Path) -> list[Path]:
    """Writes the ONNX files of `network`, which is on the CPU, into `folder`; returns their paths.

    Raises:
        VAEError: onnxruntime does not compute what torch does.
    """
    files = []
    for part in parts_of(network):
        path = folder / f"{part.name}.onnx"
        write_part(part, path)
        compare(part, path)
        files.append(path)
    if isinstance(network.prior, GaussianPrior):
        files.append(folder / "prior.npz")
        # For numpy: k with probability weights[k], then z = means[k] + factors[k] eps.
        prior, weights = network.prior, network.prior.weights.double().numpy()
        np.savez(files[-1], weights=weights / weights.sum(), means=prior.means.numpy(), factors=prior.factors.numpy())
    return files


def parts_of(network: Autoencoder) -> list[Part]:
    """Returns the parts of a model that are networks, each with examples of its inputs."""
    generator, prior, shape = torch.Generator().manual_seed(0), network.prior, network.latent_shape
    mean, std = (part.view(-1, *(1 for _ in shape[1:])) for part in prior.moments())

    def noise(count: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    def images(count: int) -> dict[str, Tensor]:
        return {"x": 2 * torch.rand(count, *network.image_shape, generator=generator) - 1}

    def latents(count: int) -> dict[str, Tensor]:
        return {"z": mean + std * noise(count)}

    def on_the_way(count: int) -> dict[str, Tensor]:
        times, labels = torch.rand(count, generator=generator), torch.arange(count) % (prior.class_count + 1) - 1
        return {"x": noise(count), "t": times, "label": labels}

    outputs = ["mu", "log_var"] if network.variational else ["mu"]
    parts = [
        Part("encoder", Posterior(network), images, outputs),
        Part("decoder", network.decoder, latents, ["recon"]),
    ]
    if isinstance(prior, FlowPrior):
        parts.append(Part("prior", Velocities(prior), on_the_way, ["velocity", "worse_velocity"]))
    return parts


def write_part(part: Part, path: Path) -> None:
    """Writes a part as an ONNX file for batches of any size, without the paths of this machine that torch notes."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    inputs = part.example(2)  # torch.export takes a batch of 1 for one that is always 1
    with quiet_exporter():
        program = torch.onnx.export(
            part.module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=part.outputs,
            dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in inputs),
            dynamo=True,
            verbose=False,
        )
    assert program is not None, "of torch's newer exporter"
    ClearMetadataAndDocStringPass()(program.model)
    program.save(path)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keeps torch from warning of two inputs whose batch has the same name, and of an absent torchvision."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@torch.inference_mode()
def compare(part: Part, path: Path) -> None:
    """Refuses an ONNX file that does not compute what its part does, for each of BATCHES."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in BATCHES:
        inputs = part.example(count)
        expected = part.module(*inputs.values())
        expected = [expected] if isinstance(expected, Tensor) else expected
        found = session.run(part.outputs, {name: tensor.numpy() for name, tensor in inputs.items()})
        for name, ours, theirs in zip(part.outputs, expected, found, strict=True):
            error = np.abs(theirs - ours.numpy()).max() / max(1.0, ours.abs().max().item())
            if not error <= TOLERANCE:
                raise VAEError(
                    f"onnx: {name} of {path.name} differs from torch's by {error:.2g} of its largest value, with "
                    f"{count} images and onnxruntime {onnxruntime.__version__}. Try another version of onnxruntime."
                )
