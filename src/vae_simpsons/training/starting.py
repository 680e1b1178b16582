"""Beginning a new run with the weights of a model."""

import torch
from torch import nn

from vae_simpsons.checkpoint import Checkpoint
from vae_simpsons.errors import VAEError


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
        theirs_is = in_words(theirs[others[0]]) if others[0] in theirs else "missing"
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        said += f"; new: {others[0]} ({in_words(ours[others[0]])} here, {theirs_is} there){more}"
    return said


def in_words(tensor: torch.Tensor) -> str:
    """Returns the shape of a tensor: 3x64x64."""
    return "x".join(map(str, tensor.shape)) or "one number"
