"""The model card: what an exported model is, how good, and how to use it."""

import json

import yaml

from vae_simpsons.checkpoint import LOCAL, MODEL_FILE, Checkpoint
from vae_simpsons.errors import one_line
from vae_simpsons.export.script import sampling_script
from vae_simpsons.inference.drawing import describe_prior
from vae_simpsons.models import Autoencoder
from vae_simpsons.models.priors import FlowPrior, GaussianPrior
from vae_simpsons.paths import for_shell, quoted
from vae_simpsons.progress import format_epochs
from vae_simpsons.settings import to_flat

CARD = """# {title}

A {kind} that vae-simpsons trained for {epochs} on pictures of {size} pixels with {channels} channels.
{prior}
| validation | |
| --- | --- |
{figures}

## Draw pictures from it

    pip install vae-simpsons
    vae sample --ckpt {for_shell} -n 64{by_class}

or from Python, `from vae_simpsons import VAE; VAE.from_pretrained({folder}).sample(64)`.
{classes}
## What is in {model_file}

{contents}, as `safetensors.torch.load_file("{model_file}")` reads it{half}. Pixels are in [-1, 1]
(u / 127.5 - 1), a latent has the shape {latent_shape}. `config.json` says for other programs what shapes there are and
how latents are standardised. The settings, in the metadata of {model_file} too:

```yaml
{settings}```
{onnx}"""

ONNX = """
## Without torch

{files}

They hold 32-bit numbers, take batches of any size, and were compared with torch when they were written.
"""

SCRIPT = """
In this folder, with `pip install numpy onnxruntime` alone, this draws pictures:

```python
{script}```
"""


def write_card(model: Checkpoint, network: Autoencoder, title: str, half: bool, onnx: bool) -> str:
    """Returns the card, in Markdown, of the exported `model`, whose network is `network`."""
    settings, names = model.settings, model.class_names
    passed_on = {key: value for key, value in to_flat(settings).items() if key not in LOCAL}
    return CARD.format(
        title=one_line(title),
        kind="variational autoencoder" if settings.model.variational else "plain autoencoder",
        epochs=format_epochs(model.epochs),
        size="x".join(map(str, settings.data.size)),
        channels=settings.data.channels,
        figures="\n".join(f"| {figure} | {value:.5g} |" for figure, value in model.figures.items()),
        folder=json.dumps(title, ensure_ascii=not title.isprintable()),
        for_shell=for_shell(title),
        model_file=MODEL_FILE,
        latent_shape=network.latent_shape,
        settings=yaml.safe_dump(passed_on, sort_keys=False, default_flow_style=None),
        half=", most of it in 16 bits" if half else "",
        onnx=describe_onnx(network, names) if onnx else "",
        **describe_sampling(network, names, title),
    )


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
        guided = f" --guidance {prior.guidance:g}" if isinstance(prior, FlowPrior) else ""
        said["by_class"] = f"\n    vae sample --ckpt {for_shell(folder)} --class {quoted(shown)}{guided}"
        said["classes"] = f"\nIts classes are {', '.join(f'`{one_line(name)}`' for name in names)}.\n"
    return said


def describe_onnx(network: Autoencoder, names: list[str]) -> str:
    """Returns what a card says of the ONNX files, with a script that draws where there is a prior to draw from."""
    files = [
        f"- `encoder.onnx`: pictures x -> mu{' and log_var' if network.variational else ''}",
        "- `decoder.onnx`: latents z -> pictures recon",
    ]
    if isinstance(network.prior, FlowPrior):
        inputs = "standardised latents x on the way, time t, label (-1: no class)"
        files.append(f"- `prior.onnx`: {inputs} -> velocity, and the worse_velocity that guidance leads away from")
    if isinstance(network.prior, GaussianPrior):
        files.append("- `prior.npz`: weights, means and Cholesky factors of the Gaussians")
    text = ONNX.format(files="\n".join(files))
    return text + SCRIPT.format(script=sampling_script(network, names)) if network.variational else text
