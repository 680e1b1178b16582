"""What `vae export` writes."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from vae_simpsons.checkpoint import LOCAL, MODEL_FILE, NETWORK, PRIOR, Checkpoint, write_checkpoint
from vae_simpsons.configfile import from_flat
from vae_simpsons.export.card import write_card
from vae_simpsons.export.onnx import check_installed, write_onnx
from vae_simpsons.loading import load_network
from vae_simpsons.models import Autoencoder
from vae_simpsons.settings import to_flat


def export_model(checkpoint: Checkpoint, folder: Path, name: str, half: bool, onnx: bool) -> list[Path]:
    """Writes the weights, a config and a card for the model called `name` into the empty `folder`; returns all files.

    Args:
        half: weights of 16 bits.
        onnx: the networks as ONNX files too.
    """
    if onnx:
        check_installed()
    weights = {NETWORK + weight: tensor for weight, tensor in checkpoint.weights().items()}
    weights |= {PRIOR + weight: tensor for weight, tensor in checkpoint.prior_weights().items()}
    if half:
        weights = {weight: in_half_precision(tensor) for weight, tensor in weights.items()}
    passed_on = {key: value for key, value in to_flat(checkpoint.settings).items() if key not in LOCAL}
    model = Checkpoint(
        folder / MODEL_FILE,
        from_flat(passed_on),
        weights,
        checkpoint.epochs,
        checkpoint.figures,
        class_names=checkpoint.class_names,
    )
    write_checkpoint(model)
    network = load_network(model)
    config, card = folder / "config.json", folder / "README.md"
    config.write_text(json.dumps(describe_model(network, model.class_names), indent=2) + "\n", encoding="utf-8")
    files = [model.path, config, *(write_onnx(network, folder) if onnx else [])]
    card.write_text(write_card(model, network, name, half, onnx), encoding="utf-8", errors="backslashreplace")
    return [*files, card]


def describe_model(network: Autoencoder, class_names: list[str]) -> dict[str, Any]:
    """Returns what another program has to know, named as diffusers does: shapes, and how latents are standardised.

    `latents_mean` and `latents_std` are those of each channel of a map or number of a vector, among the encoded images
    where a prior was fitted to them, otherwise of N(0, I); `scaling_factor` is 1 over the standard deviation of all.
    A plain autoencoder knows none of them.
    """
    shapes = {"image_shape": network.image_shape, "latent_shape": network.latent_shape}
    if not network.variational:
        return shapes
    mean, std = network.prior.moments()
    of_all = (std.square().mean() + mean.var(correction=0)).sqrt()
    return shapes | {
        "class_names": class_names if network.prior.class_count else [],
        "latents_mean": mean.tolist(),
        "latents_std": std.tolist(),
        "scaling_factor": 1 / of_all.item(),
    }


def in_half_precision(tensor: Tensor) -> Tensor:
    """Returns a matrix or a kernel in 16 bits; what has one number a channel, biases and statistics, stays as it is."""
    if not tensor.is_floating_point() or tensor.squeeze().dim() < 2:
        return tensor
    half = tensor.half()
    return half if half.isfinite().all() else tensor
