"""A trained model for passing on: a folder with its weights and a model card."""

from pathlib import Path

import yaml

from vae_simpsons.checkpoint import LOCAL, MODEL_FILE, NETWORK, Checkpoint, write_checkpoint
from vae_simpsons.configfile import from_flat
from vae_simpsons.settings import to_flat

CARD = """# {title}

A {kind} that vae-simpsons trained for {epochs} epochs on pictures of {size} pixels with {channels} channels.

| validation | |
| --- | --- |
{figures}

## Draw pictures from it

    pip install vae-simpsons
    vae sample --ckpt {folder} -n 64

or from Python, `from vae_simpsons import VAE; VAE.load("{folder}").sample(64)`.

## What is in {model_file}

The network alone, as `safetensors.torch.load_file("{model_file}")` reads it. Pixels are in [-1, 1] (u / 127.5 - 1),
a latent has the shape {latent_shape}. The settings, in the file's metadata too:

```yaml
{settings}```
"""


def export_model(checkpoint: Checkpoint, latent_shape: tuple[int, ...], folder: Path, name: str) -> list[Path]:
    """Writes the network, its settings and a card for the model called `name` into the empty `folder`; returns both."""
    settings, figures = checkpoint.settings, checkpoint.figures
    passed_on = {key: value for key, value in to_flat(settings).items() if key not in LOCAL}
    weights = {NETWORK + weight: tensor for weight, tensor in checkpoint.weights().items()}
    model, card = folder / MODEL_FILE, folder / "README.md"
    write_checkpoint(Checkpoint(model, from_flat(passed_on), weights, checkpoint.epochs, figures))
    text = CARD.format(
        title=name,
        kind="variational autoencoder" if settings.model.variational else "plain autoencoder",
        epochs=checkpoint.epochs,
        size="x".join(map(str, settings.data.size)),
        channels=settings.data.channels,
        figures="\n".join(f"| {figure} | {value:.5g} |" for figure, value in figures.items()),
        folder=name,
        model_file=MODEL_FILE,
        latent_shape=latent_shape,
        settings=yaml.safe_dump(passed_on, sort_keys=False, default_flow_style=None),
    )
    card.write_text(text, encoding="utf-8")
    return [model, card]
