"""A trained model for passing on: a folder with its weights as safetensors and its settings as JSON.

Neither format can hold code, other programs read both, and nothing of the optimizer or of the machine that trained is
in them. config.json has the SHA-256 of the weights: safetensors have no sum of their own.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from vae_simpsons.torchfile import Refusal

SETTINGS = "config.json"
MAX_JSON = 2**16  # characters of the settings; all of them take 1,000
MAX_HEADER = 2**18  # bytes in which the weights are described
LOCAL = ("out", "data.path", "data.cache_dir")  # settings that name folders of one machine


def weights(folder: Path) -> Path:
    """The file of the weights in `folder`."""
    return folder / "model.safetensors"


def is_exported(folder: Path) -> bool:
    """Whether `folder` has what `write` puts there."""
    return (folder / SETTINGS).is_file() and weights(folder).is_file()


def write(payload: Mapping[str, Any], folder: Path) -> None:
    """Write `payload`, whose config is a tree of settings and whose state_dict has tensors alone, into `folder`.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in payload["state_dict"].items()}
    content = safetensors.torch.save(tensors, metadata={"format": "pt"})
    weights(folder).write_bytes(content)
    settings = {key: value for key, value in payload.items() if key != "state_dict"}
    settings["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="ascii")


def read(folder: Path) -> dict[str, Any]:
    """What `write` was given, as far as `folder` can be believed.

    Raises:
        Refusal: JSON or weights that are damaged, or not those of the settings beside them.
        OSError: they cannot be read.
    """
    payload = _read_settings(folder / SETTINGS)
    content = weights(folder).read_bytes()
    if hashlib.sha256(content).hexdigest() != payload.get("weights_sha256"):
        raise Refusal("is damaged: its weights are not those that were written. Copy both files again.")
    return payload | {"state_dict": _tensors(content)}


def _read_settings(path: Path) -> dict[str, Any]:
    """The JSON object at `path`."""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read(MAX_JSON + 1)
    try:
        if len(text) > MAX_JSON:
            raise ValueError(f"longer than {MAX_JSON:,} characters")
        settings = json.loads(text, object_pairs_hook=_each_key_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as e:
        raise Refusal(f"is damaged: its {path.name} is not valid JSON ({e}). Copy it again.") from None
    if not isinstance(settings, dict):
        raise Refusal(f"is not an exported model: its {path.name} has no keys. Give a folder that vae export wrote.")
    return settings


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _tensors(content: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file, which together are as long as it says, or it is refused."""
    if int.from_bytes(content[:8], "little") > MAX_HEADER:
        raise Refusal(f"is damaged: its weights are described in more than {MAX_HEADER:,} bytes. Copy it again.")
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as e:
        raise Refusal(f"is damaged: its weights are no safetensors ({e}). Copy it again.") from None
