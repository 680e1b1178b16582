"""A checkpoint: one safetensors file, tensors by name and everything else as JSON in its metadata.

    network.*          weights of the autoencoder and BatchNorm's statistics
    average.*          the same, averaged over the steps: what draws and encodes, where there is one (optimizer.ema)
    prior.*            the prior that latents are drawn from, where one was fitted
    prior_average.*    the same, averaged
    optimizer.*        Adam's state of each weight being trained, `optimizer.<weight>.exp_avg` and so on
    epoch_sums         of an interrupted epoch, (processes, figures + 1)

A safetensors file cannot hold code, any program can read it, and its header says how long the file has to be: one that
claims more than it holds is refused before memory is taken. The metadata has one entry, `vae-simpsons`, a JSON object
with the settings, the position in the run and the SHA-256 of it all; one entry, so that equal runs leave equal files.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from vae_simpsons.configfile import from_flat, parse_tree
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import atomic_path, sync_file, sync_folder
from vae_simpsons.settings import Settings
from vae_simpsons.shipped import MODELS, find_model, shipped_names

FORMAT_VERSION = 1
KEY = "vae-simpsons"  # of the one entry of the metadata
DIGEST = "sha256"
MODEL_FILE = "model.safetensors"  # in the folder that `vae export` writes
NETWORK, AVERAGE, PRIOR, PRIOR_AVERAGE = "network.", "average.", "prior.", "prior_average."
OPTIMIZER, EPOCH_SUMS = "optimizer.", "epoch_sums"
MAX_HEADER = 2**20  # bytes that describe the tensors; the published network and its optimizer take 20,000
FILE_KINDS = {  # patterns of how files begin that are no checkpoint
    rb"\Z": "an empty file",
    rb"PK|\x80": "a pickle or a zip such as torch.save writes, which could run code and is not read",
    rb"\x89PNG": "a PNG image",
    rb"\xff\xd8": "a JPEG image",
    rb"\0{4}": "a file that begins with zeros, as a broken download does",
    rb"[\x01-\x7f]+\Z": "a text file",
    rb"": "a file of an unknown kind",
}
STATE = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of each weight
LOCAL = ("out", "data.path", "data.cache_dir")  # settings that name folders of one machine
WITHOUT_WEAK = {"prior.weak_width": None, "prior.guidance": 1.5}  # of a flow from before there was a weak network


@dataclass(frozen=True)
class Position:
    """How far a run has come: with the settings and the tensors, all that resuming needs."""

    stage: str  # that is being trained
    epochs: int  # whole ones that are done
    steps: int  # of the optimizer that are done, in all
    epoch_steps: int = 0  # that are done of the epoch after those; 0 at the end of an epoch
    epoch_s: float = 0.0  # seconds that they took
    best: float | None = None  # lowest value so far of the figure that decides which epoch is the best
    best_epoch: int = 0  # that had it; 0 before the first
    processes: int = 1  # that the interrupted epoch was shared among
    loss_scaler: dict | None = None  # the state of 16-mixed's loss scaling; None in every other precision


@dataclass(frozen=True)
class Checkpoint:
    """What is in a checkpoint file; `position` is None in an exported model, which training cannot resume."""

    path: Path  # the file
    settings: Settings
    tensors: dict[str, Tensor]
    epochs: int  # that its autoencoder was trained for
    figures: dict[str, float] = field(default_factory=dict)  # of the last validation of each stage
    position: Position | None = None
    class_names: list[str] = field(default_factory=list)  # that its prior can be told, by number

    def reached(self) -> Position:
        """Returns the position of a run's checkpoint.

        Raises:
            VAEError: an exported model, which has none.
        """
        if self.position is None:
            raise VAEError(
                f"path: {self.path} is an exported model, without the optimizer's state. Give the last.ckpt of a run."
            )
        return self.position

    def weights(self) -> dict[str, Tensor]:
        """Returns the weights of the autoencoder that count, by name: the averaged ones where there are some."""
        return self.part(AVERAGE) or self.part(NETWORK)

    def prior_weights(self) -> dict[str, Tensor]:
        """Returns the weights of the prior that count, by name; none where latents are N(0, I)."""
        return self.part(PRIOR_AVERAGE) or self.part(PRIOR)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Returns the tensors whose names begin with `prefix`, by the rest of their names."""
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def write_checkpoint(checkpoint: Checkpoint) -> None:
    """Writes `checkpoint` to its path, which is at every instant a complete file, the old one if writing fails."""
    described = {
        "format_version": FORMAT_VERSION,
        "settings": asdict(checkpoint.settings),
        "epochs": checkpoint.epochs,
        "figures": checkpoint.figures,
        "position": None if checkpoint.position is None else asdict(checkpoint.position),
        "class_names": checkpoint.class_names,
    }
    tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
    described[DIGEST] = digest(described, tensors)
    content = safetensors.torch.save(tensors, {KEY: json.dumps(described)})
    with atomic_path(checkpoint.path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        sync_file(file)
    sync_folder(checkpoint.path.parent)


def read_checkpoint(path: Path) -> Checkpoint:
    """Returns the checkpoint at `path`, a file, a folder that `vae export` wrote, or the name of a shipped one.

    Raises:
        VAEError: it is none.
    """
    path = find_model(path)
    file = path / MODEL_FILE if (path / MODEL_FILE).is_file() else path
    described, tensors = _decode(_read_bytes(file), file)
    if described.get("format_version") != FORMAT_VERSION:
        raise VAEError(
            f"path: {file} has format version {described.get('format_version')!r:.40}, and this program reads "
            f"{FORMAT_VERSION}. Use the version of vae-simpsons that wrote it."
        )
    if described.pop(DIGEST, None) != digest(described, tensors):
        raise damaged(file, "its bytes are not those that were written")
    epochs: Any = described.get("epochs")
    figures: Any = described.get("figures")
    if not _fits(epochs, int):
        raise damaged(file, f"epochs is {epochs!r:.40}")
    if not _fits(figures, dict):
        raise damaged(file, "its figures are not numbers")
    try:
        earlier = WITHOUT_WEAK if f"{PRIOR}velocity.embed.weight" in tensors else {}
        settings = from_flat(earlier | parse_tree(described.get("settings")))
    except VAEError as e:
        raise VAEError(f"path: the settings in {file}: {e}") from None
    names = described.get("class_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise damaged(file, "its class names are not text")
    return Checkpoint(file, settings, tensors, epochs, figures, _position(described.get("position"), file), names)


def digest(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256, in hex digits, of a description and of the names, types, shapes and bytes of `tensors`."""
    sha = hashlib.sha256(json.dumps(described).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _read_bytes(path: Path) -> bytes:
    """Returns the bytes of a file that begins as a safetensors file does; of any other, only the start is read."""
    advice = "Give the last.ckpt or best.ckpt of a run."
    if path.is_dir():
        depths = (path.glob(f"{'*/' * depth}last.ckpt") for depth in range(3))  # of a run, a config, runs/
        inside = next(chain.from_iterable(depths), None)
        say = f"Give the checkpoint in it, say {inside}." if inside else f"There is no last.ckpt in it. {advice}"
        raise VAEError(f"path: {path} is a folder. {say}")
    if path.exists() and not path.is_file():
        raise VAEError(f"path: {path} is not a file. {advice}")
    try:
        with open(path, "rb") as file:
            start = file.read(512)
            if start[8:9] != b"{":
                kind = next(kind for pattern, kind in FILE_KINDS.items() if re.match(pattern, start))
                raise VAEError(f"path: {path} is {kind}. {advice}")
            header = int.from_bytes(start[:8], "little")
            if header > MAX_HEADER:
                raise damaged(path, f"its header claims more than {MAX_HEADER:,} bytes")
            content = start + file.read()
    except FileNotFoundError:
        raise VAEError(
            f"path: no such file: {path}. {advice[:-1]}, or the name of a shipped model: {shipped_names(MODELS)}."
        ) from None
    except OSError as e:
        raise VAEError(f"path: cannot read {path}: {one_line(e.strerror or e)}. Check the path.") from None
    if 8 + header > len(content):
        raise damaged(path, "it is cut short")
    return content


def _decode(content: bytes, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns the description and the tensors in the bytes of a safetensors file."""
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        entry = (header.get("__metadata__") or {}).get(KEY)
        described = entry and json.loads(entry)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as e:
        raise damaged(path, one_line(e)[:200]) from None
    if entry is None:
        names = one_line(", ".join([*header][:4])[:80])
        raise VAEError(
            f"path: {path} is not a checkpoint of this project but another's safetensors file ({names} ...). "
            "Give the last.ckpt or best.ckpt of a run."
        )
    if not isinstance(described, dict):
        raise damaged(path, "its description is not a JSON object")
    return described, tensors


def _position(tree: Any, path: Path) -> Position | None:
    """Returns the position that `tree` describes; None where there is none."""
    if tree is None:
        return None
    try:
        position = Position(**tree)
    except TypeError:
        raise damaged(path, "its position in the run is incomplete") from None
    fit = all(_fits(getattr(position, f.name), f.type) for f in fields(Position))
    if not fit or position.epoch_steps > position.steps:
        raise damaged(path, "its position in the run is not possible")
    return position


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value from JSON is of a type; whole numbers are counts below 2^31, and mappings hold numbers."""
    if isinstance(value, dict):
        return isinstance(value, kind) and all(_fits(number, int | float) for number in value.values())
    return isinstance(value, kind) and not isinstance(value, bool) and (type(value) is not int or 0 <= value < 2**31)


def damaged(path: Path, reason: str) -> VAEError:
    """Returns the error for a damaged checkpoint."""
    return VAEError(f"path: {path} is damaged: {reason}. Copy it again, or use another checkpoint of the run.")
