"""A trained model for passing on: a folder with its weights and a model card."""

import shlex
from pathlib import Path

import yaml
from torch import Tensor

from vae_simpsons.checkpoint import LOCAL, MODEL_FILE, NETWORK, PRIOR, Checkpoint, write_checkpoint
from vae_simpsons.configfile import from_flat
from vae_simpsons.errors import one_line
from vae_simpsons.inference.drawing import GUIDANCE, describe_prior
from vae_simpsons.models import Autoencoder
from vae_simpsons.models.priors import FlowPrior
from vae_simpsons.settings import to_flat

CARD = """# {title}

A {kind} that vae-simpsons trained for {epochs} epochs on pictures of {size} pixels with {channels} channels.
{prior}
| validation | |
| --- | --- |
{figures}

## Draw pictures from it

    pip install vae-simpsons
    vae sample --ckpt {folder} -n 64{by_class}

or from Python, `from vae_simpsons import VAE; VAE.load("{folder}").sample(64)`.
{classes}
## What is in {model_file}

{contents}, as `safetensors.torch.load_file("{model_file}")` reads it{half}. Pixels are in [-1, 1]
(u / 127.5 - 1), a latent has the shape {latent_shape}. The settings, in the file's metadata too:

```yaml
{settings}```
"""


def export_model(checkpoint: Checkpoint, network: Autoencoder, folder: Path, name: str, half: bool) -> list[Path]:
    """Writes the weights, their settings and a card for the model called `name` into the empty `folder`; returns both.

    Args:
        network: the model in the checkpoint.
        half: weights of 16 bits.
    """
    settings, figures = checkpoint.settings, checkpoint.figures
    passed_on = {key: value for key, value in to_flat(settings).items() if key not in LOCAL}
    weights = {NETWORK + weight: tensor for weight, tensor in checkpoint.weights().items()}
    weights |= {PRIOR + weight: tensor for weight, tensor in checkpoint.prior_weights().items()}
    if half:
        weights = {weight: in_half_precision(tensor) for weight, tensor in weights.items()}
    model, card = folder / MODEL_FILE, folder / "README.md"
    names = checkpoint.class_names
    write_checkpoint(Checkpoint(model, from_flat(passed_on), weights, checkpoint.epochs, figures, None, names))
    text = CARD.format(
        title=name,
        kind="variational autoencoder" if settings.model.variational else "plain autoencoder",
        epochs=checkpoint.epochs,
        size="x".join(map(str, settings.data.size)),
        channels=settings.data.channels,
        figures="\n".join(f"| {figure} | {value:.5g} |" for figure, value in figures.items()),
        folder=name,
        model_file=MODEL_FILE,
        latent_shape=network.latent_shape,
        settings=yaml.safe_dump(passed_on, sort_keys=False, default_flow_style=None),
        half=", most of it in 16 bits" if half else "",
        **describe_sampling(network, names, name),
    )
    card.write_text(text, encoding="utf-8")
    return [model, card]


def describe_sampling(network: Autoencoder, names: list[str], folder: str) -> dict[str, str]:
    """Returns what a card says of the prior, and of the classes called `names` that it was told."""
    prior = network.prior
    said = {"prior": "", "by_class": "", "classes": "", "contents": "The network alone"}
    if network.variational:
        said["prior"] = f"Latents are drawn from {describe_prior(prior)}.\n"
    if any(True for _ in prior.state_dict()):
        said["contents"] = "The network and its prior (`prior.*`)"
    if prior.class_count:
        shown = ",".join(names[:2])
        guided = f" --guidance {GUIDANCE:g}" if isinstance(prior, FlowPrior) else ""
        said["by_class"] = f"\n    vae sample --ckpt {folder} --class {shlex.quote(one_line(shown))}{guided}"
        said["classes"] = f"\nIts classes are {', '.join(f'`{one_line(name)}`' for name in names)}.\n"
    return said


def in_half_precision(tensor: Tensor) -> Tensor:
    """Returns a matrix or a kernel in 16 bits; what has one number a channel, biases and statistics, stays as it is."""
    if not tensor.is_floating_point() or tensor.squeeze().dim() < 2:
        return tensor
    half = tensor.half()
    return half if half.isfinite().all() else tensor
