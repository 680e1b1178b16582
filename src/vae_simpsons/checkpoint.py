"""A checkpoint: one safetensors file, tensors by name and everything else as JSON in its metadata.

    network.*      weights and BatchNorm's statistics; all that a trained model needs
    optimizer.*    Adam's state of each weight, `optimizer.<weight>.exp_avg` and so on
    epoch_sums     of an interrupted epoch, (processes, figures + 1)

A safetensors file cannot hold code, any program can read it, and its header says how long the file has to be: one that
claims more than it holds is refused before memory is taken. The metadata has one entry, `vae-simpsons`, a JSON object
with the settings, the position in the run and the SHA-256 of it all; one entry, so that equal runs leave equal files.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from vae_simpsons.configfile import from_flat, parse_tree, to_tree
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import atomic_path, sync_file, sync_folder
from vae_simpsons.models import Autoencoder, build_autoencoder, describe_autoencoder
from vae_simpsons.settings import Settings, to_flat

FORMAT_VERSION = 1
KEY = "vae-simpsons"  # of the one entry of the metadata
DIGEST = "sha256"
MODEL_FILE = "model.safetensors"  # in the folder that `vae export` writes
NETWORK, OPTIMIZER, EPOCH_SUMS = "network.", "optimizer.", "epoch_sums"
MAX_HEADER = 2**20  # bytes that describe the tensors; the published network and its optimizer take 20,000
STATE = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of each weight
LOCAL = ("out", "data.path", "data.cache_dir")  # settings that name folders of one machine


@dataclass(frozen=True)
class Position:
    """How far a run has come: with the settings and the tensors, all that resuming needs.

    Attributes:
        stage: the stage that is being trained.
        epochs: whole epochs that are done.
        steps: optimizer steps that are done, in all.
        epoch_steps: steps that are done of the epoch after those; 0 at the end of an epoch.
        epoch_s: seconds that they took.
        best: lowest value so far of the figure that decides which epoch is the best.
        best_epoch: the epoch that had it; 0 before the first.
        processes: how many processes the interrupted epoch was shared among.
        loss_scaler: the state of 16-mixed's loss scaling; None in every other precision.
    """

    stage: str
    epochs: int
    steps: int
    epoch_steps: int = 0
    epoch_s: float = 0.0
    best: float | None = None
    best_epoch: int = 0
    processes: int = 1
    loss_scaler: dict | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What is in a checkpoint file; `position` is None in an exported model, which training cannot resume."""

    path: Path  # the file
    settings: Settings
    tensors: dict[str, Tensor]
    epochs: int  # that its weights were trained for
    figures: dict[str, float] = field(default_factory=dict)  # of its last validation
    position: Position | None = None

    def weights(self) -> dict[str, Tensor]:
        """Returns the weights of the network, by name."""
        return self.part(NETWORK)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Returns the tensors whose names begin with `prefix`, by the rest of their names."""
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def write_checkpoint(checkpoint: Checkpoint) -> None:
    """Writes `checkpoint` to its path, which is at every instant a complete file.

    Raises:
        OSError: it cannot be written; what was at the path is still there.
    """
    described = {
        "format_version": FORMAT_VERSION,
        "settings": to_tree(checkpoint.settings),
        "epochs": checkpoint.epochs,
        "figures": checkpoint.figures,
        "position": None if checkpoint.position is None else asdict(checkpoint.position),
    }
    tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
    described[DIGEST] = digest(described, tensors)
    content = safetensors.torch.save(tensors, {KEY: json.dumps(described)})
    with atomic_path(checkpoint.path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        sync_file(file)
    sync_folder(checkpoint.path.parent)


def read_checkpoint(path: Path) -> Checkpoint:
    """Returns the checkpoint at `path`, a file, or a folder that `vae export` wrote.

    Raises:
        VAEError: no such file; not a checkpoint, a damaged one, or one of another project or version.
    """
    path = path.expanduser()
    file = path / MODEL_FILE if (path / MODEL_FILE).is_file() else path
    content = _read_bytes(file)
    metadata = _read_metadata(content, file)
    described = _parse_json(metadata.get(KEY), file)
    if described.get("format_version") != FORMAT_VERSION:
        raise VAEError(
            f"path: {file} has format version {described.get('format_version')!r:.40}, and this program reads "
            f"{FORMAT_VERSION}. Use the version of vae-simpsons that wrote it."
        )
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as e:
        raise _damaged(file, one_line(e)) from None
    if described.pop(DIGEST, None) != digest(described, tensors):
        raise _damaged(file, "its bytes are not those that were written")
    epochs, figures = described.get("epochs"), described.get("figures")
    if type(epochs) is not int or not 0 <= epochs < 2**31:
        raise _damaged(file, f"epochs is {epochs!r:.40}")
    if not isinstance(figures, dict) or not all(isinstance(value, (int, float)) for value in figures.values()):
        raise _damaged(file, "its figures are not numbers")
    return Checkpoint(
        path=file,
        settings=_settings(described.get("settings"), file),
        tensors=tensors,
        epochs=epochs,
        figures=figures,
        position=_position(described.get("position"), file),
    )


def load_network(checkpoint: Checkpoint) -> Autoencoder:
    """Returns the network with the checkpoint's weights, on the CPU, in eval mode.

    Raises:
        VAEError: the weights do not fit the settings; no memory is taken for them then.
    """
    try:
        wanted = describe_autoencoder(checkpoint.settings).state_dict()
    except VAEError as e:
        raise VAEError(f"path: {checkpoint.path} asks for too much. {e}") from None
    check_tensors(checkpoint.weights(), wanted, checkpoint.path)
    network = build_autoencoder(checkpoint.settings)
    network.load_state_dict(checkpoint.weights())
    return network.eval()


def check_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Refuses `tensors` whose names, shapes or types are not those of `wanted`.

    Raises:
        VAEError: naming the first that differs.
    """
    for name in {**wanted, **tensors}:
        actual, expected = _in_words(tensors.get(name)), _in_words(wanted.get(name))
        if actual != expected:
            reason = one_line(f"{name[:80]} is {actual}, and should be {expected}")
            raise _damaged(path, f"its tensors do not fit its settings ({reason})")


def without_training(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """Returns what of `checkpoint` is passed on: the network and the settings, but for this machine's folders."""
    flat = {key: value for key, value in to_flat(checkpoint.settings).items() if key not in LOCAL}
    weights = {NETWORK + name: tensor for name, tensor in checkpoint.weights().items()}
    return Checkpoint(path, from_flat(flat), weights, checkpoint.epochs, checkpoint.figures)


def digest(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256, in hex digits, of a description and of the names, types, shapes and bytes of `tensors`."""
    sha = hashlib.sha256(json.dumps(described).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


def _read_bytes(path: Path) -> bytes:
    """Returns the bytes of a file that has at least the beginning of a safetensors file.

    Raises:
        VAEError: it cannot be read, or is something else; the whole of it has not been read then.
    """
    if path.is_dir():
        raise VAEError(f"path: {path} is a folder. Give the checkpoint in it, say {path / 'last.ckpt'}.")
    if path.exists() and not path.is_file():
        raise VAEError(f"path: {path} is not a file. Give the last.ckpt or best.ckpt of a run.")
    try:
        with open(path, "rb") as file:
            start = file.read(512)
            if start[8:9] != b"{":
                raise VAEError(f"path: {path} is {file_kind(start)}. Give the last.ckpt or best.ckpt of a run.")
            if int.from_bytes(start[:8], "little") > MAX_HEADER:
                raise _damaged(path, f"its header claims more than {MAX_HEADER:,} bytes")
            return start + file.read()
    except FileNotFoundError:
        raise VAEError(f"path: no such file: {path}. Give the last.ckpt or best.ckpt of a run.") from None
    except OSError as e:
        raise VAEError(f"path: cannot read {path}: {one_line(e.strerror or e)}. Check the path.") from None


def file_kind(start: bytes) -> str:
    """Returns what a file that begins with `start`, and is no checkpoint, is instead, in words."""
    signatures = {
        b"PK\3\4": "a zip archive, or a file that torch.save wrote, which could run code and is not read",
        b"\x80": "a pickle, which could run code and is not read",
        b"\x89PNG": "a PNG image",
        b"\xff\xd8\xff": "a JPEG image",
        b"\0\0\0\0": "a file that begins with zeros, as a broken download does",
    }
    if not start:
        return "an empty file"
    unknown = "a text file" if start.isascii() and b"\0" not in start else "a file of an unknown kind"
    return next((kind for signature, kind in signatures.items() if start.startswith(signature)), unknown)


def _read_metadata(content: bytes, path: Path) -> dict[str, str]:
    """Returns the metadata in the header of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    if 8 + length > len(content):
        raise _damaged(path, "it is cut short")
    header = _parse_json(content[8 : 8 + length].decode(errors="replace"), path)
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or KEY not in metadata:
        names = ", ".join(map(str, list(header)[:4]))[:80]
        raise VAEError(
            f"path: {path} is not a checkpoint of this project but another's safetensors file ({one_line(names)} ...). "
            "Give the last.ckpt or best.ckpt of a run."
        )
    return metadata


def _parse_json(text: Any, path: Path) -> dict[str, Any]:
    """Returns the JSON object in `text`."""
    try:
        tree = json.loads(text)
    except (ValueError, TypeError, RecursionError) as e:
        raise _damaged(path, f"its description is not valid JSON: {one_line(e)[:80]}") from None
    if not isinstance(tree, dict):
        raise _damaged(path, "its description is not a JSON object")
    return tree


def _settings(tree: Any, path: Path) -> Settings:
    """Returns the settings in `tree`, held to the same rules as a YAML file."""
    source = f"path: the settings in {path}"
    try:
        return from_flat(parse_tree(tree, source))
    except VAEError as e:
        raise VAEError(str(e) if str(e).startswith(source) else f"{source}: {e}") from None


def _position(tree: Any, path: Path) -> Position | None:
    """Returns the position that `tree` describes; None where there is none."""
    if tree is None:
        return None
    try:
        position = Position(**tree)
    except TypeError:
        raise _damaged(path, "its position in the run is incomplete") from None
    numbers = [value for value in vars(position).values() if isinstance(value, int)]
    kinds = all(isinstance(getattr(position, f.name), f.type) for f in fields(Position))
    scaler = (position.loss_scaler or {}) if kinds else {}
    kinds = kinds and all(isinstance(value, (int, float)) for value in scaler.values())
    if not kinds or not all(0 <= n < 2**31 for n in numbers) or position.epoch_steps > position.steps:
        raise _damaged(path, "its position in the run is not possible")
    return position


def _damaged(path: Path, reason: str) -> VAEError:
    return VAEError(f"path: {path} is damaged: {reason}. Copy it again, or use another checkpoint of the run.")


def _in_words(tensor: Tensor | None) -> str:
    """Returns the shape and the type of a tensor in words."""
    if tensor is None:
        return "missing"
    return f"{'x'.join(map(str, tensor.shape)) or 'one'} {str(tensor.dtype).removeprefix('torch.')}"
