"""A trained model for passing on: a folder with its weights and a model card."""

from pathlib import Path
from typing import Any

import yaml

from vae_simpsons.checkpoint import LOCAL, MODEL_FILE, Checkpoint, without_training, write_checkpoint
from vae_simpsons.configfile import to_tree

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
    """Writes what of `checkpoint` is passed on into the empty `folder`; returns the files' paths.

    Args:
        latent_shape: of one latent.
        name: of the model, for its card.

    Raises:
        OSError: it cannot be written.
    """
    passed_on = without_training(checkpoint, folder / MODEL_FILE)
    write_checkpoint(passed_on)
    settings = passed_on.settings
    card = CARD.format(
        title=name,
        kind="variational autoencoder" if settings.model.variational else "plain autoencoder",
        epochs=checkpoint.epochs,
        size=f"{settings.data.image_size}x{settings.data.image_size}",
        channels=settings.data.channels,
        figures="\n".join(f"| {figure} | {value:.5g} |" for figure, value in checkpoint.figures.items()),
        folder=name,
        model_file=MODEL_FILE,
        latent_shape=latent_shape,
        settings=yaml.safe_dump(without_local(to_tree(settings)), sort_keys=False),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return [folder / MODEL_FILE, folder / "README.md"]


def without_local(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a tree of settings without those that name folders of this machine."""
    kept = {key: value for key, value in tree.items() if prefix + key not in LOCAL}
    return {key: without_local(value, f"{key}.") if isinstance(value, dict) else value for key, value in kept.items()}
