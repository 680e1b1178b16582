"""What each latent dimension does: one row a dimension, its value changed step by step."""

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from vae_simpsons import objective
from vae_simpsons.data.pictures import Pictures
from vae_simpsons.errors import VAEError
from vae_simpsons.inference.blocks import block_size
from vae_simpsons.inference.latents import encode_pictures
from vae_simpsons.models import Autoencoder
from vae_simpsons.progress import Progress

Dims = str | Sequence[int]


def check_reach(network: Autoencoder, reach: float, steps: int) -> None:
    """Refuses a traversal that cannot be drawn.

    Raises:
        VAEError: an autoencoder, which has no KL; naming `reach` or `steps`: out of range.
    """
    if not network.variational:
        raise VAEError(
            "path: this is an autoencoder (model.variational: false). Its dimensions have no KL to order them by, and "
            "no unit to change them in. Train with model.variational true to traverse them."
        )
    if not 0 < reach < float("inf"):
        raise VAEError(f"reach: {reach:g} is not accepted. Give a number > 0.")
    if steps < 2:
        raise VAEError(f"steps: {steps} is not accepted. Give a whole number >= 2.")


def measure_kl(network: Autoencoder, pictures: Pictures, progress: Progress) -> Tensor:
    """Returns the KL of each latent dimension, nats, float64 (D,), mean over the pictures; a map is flattened.

    Args:
        network: variational, in eval mode.

    Raises:
        VAEError: a picture cannot be read.
    """
    total = torch.zeros(math.prod(network.latent_shape), dtype=torch.float64)
    blocks = pictures.blocks(block_size(network))
    for mu, log_var in encode_pictures(network, blocks, len(pictures), progress, "measuring the KL"):
        assert log_var is not None, "of a variational network"
        total += objective.kl_per_dimension(mu.double(), log_var.double()).flatten(1).sum(0)
    return total / len(pictures)


def choose_dims(dims: Dims, kl: Tensor) -> list[int]:
    """Returns the dimensions that `dims` means, the one with the largest KL first.

    Args:
        dims: "top8" for the eight of the largest KL (all, if there are fewer), or numbers: "0,3,5" or [0, 3, 5].
        kl: of each dimension, (D,).

    Raises:
        VAEError: not understood, or out of range.
    """
    order = kl.argsort(descending=True, stable=True).tolist()
    accepted = f"Give top8, or numbers from 0 to {len(kl) - 1} such as 0,3,5."
    if isinstance(dims, str):
        if top := re.fullmatch(r"top(\d{1,9})", dims.strip()):
            if int(top[1]) == 0:
                raise VAEError(f"dims: {dims} is none. {accepted}")
            return order[: int(top[1])]
        if not re.fullmatch(r"\s*-?\d{1,9}\s*(,\s*-?\d{1,9}\s*)*", dims):
            raise VAEError(f"dims: {dims!r:.80} is not accepted. {accepted}")
        dims = [int(part) for part in dims.split(",")]
    if not dims:
        raise VAEError(f"dims: no dimension. {accepted}")
    for dim in dims:
        if not 0 <= dim < len(kl):
            raise VAEError(f"dims: {dim} is out of range. {accepted}")
    return sorted(dict.fromkeys(dims), key=order.index)


def traverse(start: Tensor, dims: Sequence[int], reach: float, steps: int) -> Tensor:
    """Returns the latents of a traversal, (len(dims), steps, *latent): `start` with one value set from -reach to reach.

    Args:
        start: (*latent); a map's values are numbered as they lie in memory.
        dims: whose values are set, one a row.
        reach: in standard deviations of the prior.
    """
    rows = start.flatten().repeat(len(dims), steps, 1)  # (rows, steps, D)
    values = torch.linspace(-reach, reach, steps, dtype=start.dtype)
    for row, dim in zip(rows, dims, strict=True):
        row[:, dim] = values
    return rows.unflatten(2, start.shape)


def row_labels(dims: Sequence[int], kl: Tensor) -> list[str]:
    """Returns a label of each dimension: its number and its KL."""
    return [f"dim {dim}\n{kl[dim]:.2f} nats" for dim in dims]


def column_labels(reach: float, steps: int) -> list[str]:
    """Returns a label of each column: the value of the dimension."""
    return [f"{value:.2g}" for value in torch.linspace(-reach, reach, steps).tolist()]
