"""What a page asks for, as JSON, checked."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vae_simpsons.errors import VAEError, shorten

LARGEST = 1e4  # absolute value of a latent's numbers; trained ones are below ten


def read_json(raw: bytes) -> dict[str, Any]:
    """Returns the fields of a JSON object.

    Raises:
        VAEError: something else.
    """
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise VAEError("the request is no JSON object. Reload the page.")
    return fields


def read_z(value: Any, shape: Sequence[int]) -> Tensor:
    """Returns latents (n, *shape), n >= 1, float32, of a list of flat ones.

    Raises:
        VAEError: naming `z`.
    """
    size = math.prod(shape)
    rows = value if isinstance(value, list) and value else [None]
    for row in rows:
        if not isinstance(row, list) or len(row) != size:
            length = f"{len(row):,} numbers" if isinstance(row, list) else shorten(row)
            raise VAEError(f"z: {length}, and a latent of this model has {size:,}. Open one of the same model.")
        if not all(type(number) in (int, float) and abs(number) <= LARGEST for number in row):
            raise VAEError(f"z: something else than numbers from -{LARGEST:,.0f} to {LARGEST:,.0f}.")
    return torch.tensor(rows, dtype=torch.float32).unflatten(1, tuple(shape))


def read_number(fields: Mapping[str, Any], name: str, default: Any, low: float, high: float) -> Any:
    """Returns a number of the request, a whole one where `low` is; `default` where there is none.

    Raises:
        VAEError: naming it.
    """
    value = fields.get(name)
    if value is None:
        return default
    whole = isinstance(low, int)
    if not (type(value) is int or (type(value) is float and not whole)) or not low <= value <= high:
        kind = "whole number" if whole else "number"
        raise VAEError(f"{name}: {shorten(value)} is not accepted. Give a {kind} from {low:,} to {high:,}.")
    return value


def read_numbers(value: Any, below: int) -> list[int]:
    """Returns the numbers of pictures, one or more, each below `below`.

    Raises:
        VAEError: naming `numbers`.
    """
    numbers = value if isinstance(value, list) else []
    if not numbers or not all(type(n) is int and 0 <= n < below for n in numbers):
        raise VAEError(f"numbers: no list of pictures from 0 to {below - 1:,}.")
    return numbers
