"""A checkpoint -> the networks that it describes; weights that do not fit are refused before memory is taken."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vae_simpsons.checkpoint import Checkpoint, damaged
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.models import Autoencoder, Prior, build_autoencoder, build_prior, describe_autoencoder

HALVES = (torch.float16, torch.bfloat16)


def load_network(checkpoint: Checkpoint) -> Autoencoder:
    """Returns the model, autoencoder and prior, on the CPU, in eval mode; weights must fit the settings."""
    try:
        wanted = describe_autoencoder(checkpoint.settings).state_dict()
    except VAEError as e:
        raise VAEError(f"path: {checkpoint.path} asks for too much. {e}") from None
    weights = in_full_precision(checkpoint.weights())
    check_tensors(weights, wanted, checkpoint.path)
    network = build_autoencoder(checkpoint.settings)
    network.load_state_dict(weights)
    if checkpoint.prior_weights():  # otherwise N(0, I), with which it begins
        network.prior = load_prior(checkpoint)
    return network.eval()


def load_prior(checkpoint: Checkpoint) -> Prior:
    """Returns the prior of a checkpoint that has one; weights must fit the settings."""
    weights, sizes = in_full_precision(checkpoint.prior_weights()), (checkpoint.settings, len(checkpoint.class_names))
    with torch.device("meta"):
        wanted = build_prior(*sizes).state_dict()
    check_tensors(weights, wanted, checkpoint.path)
    prior = build_prior(*sizes)
    prior.load_state_dict(weights)
    return prior


def in_full_precision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns `tensors` with 16-bit numbers, as an export may have them, as the 32-bit ones that networks have."""
    return {name: t.float() if t.dtype in HALVES else t for name, t in tensors.items()}


def check_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Refuses `tensors` whose names, shapes or types are not those of `wanted`, naming the first that differs."""
    for name in {**wanted, **tensors}:
        actual, expected = in_words(tensors.get(name)), in_words(wanted.get(name))
        if actual != expected:
            reason = one_line(f"{name[:80]} is {actual}, and should be {expected}")
            raise damaged(path, f"its tensors do not fit its settings ({reason})")


def take_weights(network: nn.Module, init: Checkpoint) -> str:
    """Copies the weights of `init` that `network` has too, in the same shape; returns in words which those are.

    Raises:
        VAEError: naming `init`: none of them fits.
    """
    theirs, ours = init.weights(), network.state_dict()
    fitting = {n: tensor for n, tensor in theirs.items() if n in ours and tensor.shape == ours[n].shape}
    others = [name for name in ours if name not in fitting]
    if not fitting:
        name = next(iter(ours))
        raise VAEError(
            f"init: none of the {len(theirs)} tensors of {init.path} fits this model, whose {name} is "
            f"{in_words(ours[name])}. Give the model settings that it was trained with, or leave --init out."
        )
    with torch.no_grad():
        for name, tensor in fitting.items():
            ours[name].copy_(tensor)
    said = f"init: {len(fitting)} of {len(ours)} tensors are those of {init.path}"
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        here, there = in_words(ours[others[0]]), in_words(theirs.get(others[0]))
        said += f"; new: {others[0]} ({here} here, {there} there){more}"
    return said


def in_words(tensor: Tensor | None) -> str:
    """Returns the shape and the type of a tensor in words."""
    if tensor is None:
        return "missing"
    return f"{'x'.join(map(str, tensor.shape)) or 'one'} {str(tensor.dtype).removeprefix('torch.')}"
