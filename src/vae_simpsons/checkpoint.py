"""Checkpoints: weights plus the config as text, written and read only here.

A checkpoint is a dict of tensors, numbers and text, and is read with `weights_only=True` and nothing else: a file
from a stranger can be refused, but cannot run code. What it says of sizes is held against its own before memory is
taken. Lightning adds what training needs to go on.
"""

import io
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_simpsons import exported, torchfile
from vae_simpsons.configfile import from_flat, parse_tree, parse_yaml, to_tree, to_yaml
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import replacing, sync_folder
from vae_simpsons.models import ConvVAE
from vae_simpsons.settings import Settings
from vae_simpsons.torchfile import Refusal

FORMAT = "vae-simpsons"
FORMAT_VERSION = 2
OLDEST_VERSION = 1  # in which no epoch could be interrupted
MAX_NUMBERS = 2**31  # weights, or values in one layer; the published network has 4 million and 0.1 million
NETWORK = "network."  # what Lightning puts before the name of each weight: the attribute that holds the network


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a checkpoint file."""

    path: Path  # a file, or the folder of an export
    config: Settings
    payload: dict[str, Any]  # all of it, as written

    @property
    def settings(self) -> Settings:
        """The settings of its run."""
        return self.config

    @property
    def epochs(self) -> int:
        """How many epochs had been trained when it was written."""
        return int(self.payload["epochs_done"])

    @property
    def interrupted_steps(self) -> int:
        """How many steps of the epoch after those had been trained; 0 at the end of one."""
        return self.payload["interrupted"]["steps"] if self.payload["interrupted"] else 0

    @property
    def bytes(self) -> int:
        """How large it is on the disk: no weights can take more."""
        return (exported.weights(self.path) if self.path.is_dir() else self.path).stat().st_size


def stamp(payload: dict[str, Any], config: Settings, epochs_done: int) -> None:
    """Add to `payload` what makes it a checkpoint of this project."""
    payload |= {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "config": to_yaml(config),
        "epochs_done": epochs_done,
    }


def write(payload: dict[str, Any], path: Path) -> None:
    """Write `payload` so that `path` is at every instant a complete file: beside it, synced, renamed.

    Raises:
        OSError: it cannot be written; what was at `path` is still there.
    """
    whole = io.BytesIO()
    torch.save(payload, whole)  # straight to a file, torch would make a RuntimeError of a full disk
    with replacing(path) as beside, open(beside, "wb") as file:
        file.write(whole.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def keep(path: Path, copy: Path) -> None:
    """Make `copy` the file that is now at `path`, which `write` replaces and never changes: a link where it can be.

    Raises:
        OSError: it cannot be written; what was at `copy` is still there.
    """
    with replacing(copy) as beside:
        try:
            os.link(path, beside)
        except OSError:  # a file system without links
            shutil.copyfile(path, beside)
    sync_folder(copy.parent)


def read(path: Path, setting: str = "path") -> Checkpoint:
    """The checkpoint at `path`, a file or a folder that `vae export` wrote; `setting` names it in errors.

    Raises:
        VAEError: no such file, not a checkpoint, a damaged one, one of another project or another version, one that
            carries code.
    """
    payload = _read_payload(path, setting)
    try:
        _check_stamp(payload)
    except Refusal as e:
        raise VAEError(f"{setting}: {path} {one_line(e)}") from None
    payload.setdefault("interrupted", None)
    source = f"{setting}: the config inside {path}"
    try:
        settings = payload["config"]
        flat = parse_yaml(settings, source) if isinstance(settings, str) else parse_tree(settings, source)
        return Checkpoint(path, from_flat(flat), payload)
    except VAEError as e:
        raise VAEError(str(e) if str(e).startswith(source) else f"{source}: {e}") from None


def network_of(checkpoint: Checkpoint) -> ConvVAE:
    """The network with the checkpoint's weights, on the CPU, in eval mode.

    Raises:
        VAEError: the weights do not fit the config that stands beside them; no memory is taken for them then.
    """
    weights = weights_of(checkpoint)
    network = build_network(checkpoint.config)
    network.load_state_dict(weights)
    return network.eval()


def weights_of(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The weights of the network, by name.

    Raises:
        VAEError: they do not fit the config that stands beside them.
    """
    found = checkpoint.payload["state_dict"]
    weights = {name.removeprefix(NETWORK): w for name, w in found.items() if str(name).startswith(NETWORK)}
    try:
        wanted = outline(checkpoint.config).state_dict()
    except VAEError as e:
        raise VAEError(f"path: {checkpoint.path} asks for too much. {e}") from None
    said = misfit(weights, wanted, checkpoint.bytes)
    if said:
        raise VAEError(
            f"path: {checkpoint.path} is damaged: its weights do not fit its config ({said}). "
            "Use another checkpoint of the run."
        )
    return weights


def misfit(found: Mapping[str, Any], wanted: Mapping[str, Tensor], held: int) -> str | None:
    """How the weights `found` differ from those `wanted`, in words; None where they do not.

    Args:
        held: bytes of the file, which all weights together cannot be larger than; views of one number can.
    """
    for name in {**wanted, **found}:
        here, there = described(found.get(name)), described(wanted.get(name))
        if here != there:
            return one_line(f"{name[:80]} is {here}, and should be {there}")
    needed = sum(weight.nbytes for weight in wanted.values())
    return f"it has {held:,} bytes, and they take {needed:,}" if needed > held else None


def to_export(checkpoint: Checkpoint) -> dict[str, Any]:
    """What of `checkpoint` is passed on: the weights, and the settings but for those that name this machine's folders.

    Raises:
        VAEError: the weights do not fit the config that stands beside them.
    """
    tree = to_tree(checkpoint.config)
    for key in exported.LOCAL:
        section, _, name = key.rpartition(".")
        del (tree[section] if section else tree)[name]
    stamped: dict[str, Any] = {"state_dict": weights_of(checkpoint)}
    stamp(stamped, checkpoint.config, checkpoint.epochs)
    return stamped | {"config": tree}


def described(value: Any) -> str:
    """What a weight is, in words: its shape and the type of its numbers."""
    if not isinstance(value, Tensor):
        return "missing" if value is None else f"a {type(value).__name__}"
    return f"{'x'.join(map(str, value.shape)) or 'one'} {str(value.dtype).removeprefix('torch.')}"


def outline(config: Settings) -> ConvVAE:
    """The network that `config` describes without its numbers: names, shapes and types, on torch's meta device.

    Raises:
        VAEError: it would have more than MAX_NUMBERS weights, or its largest map of one image more values.
    """
    with torch.device("meta"):
        network = _network(config)
    size, widths = config.data.image_size, config.model.widths
    largest = max(width * (size >> stage) ** 2 for stage, width in enumerate(widths))  # the decoder's last, or wider
    if network.parameter_count() > MAX_NUMBERS or largest > MAX_NUMBERS:
        raise VAEError(
            f"model.widths: {list(widths)}, latent_dim {config.model.latent_dim} and images of {size}x{size} make "
            f"{network.parameter_count():,} parameters, and {largest:,} values in one layer; {MAX_NUMBERS:,} are the "
            "most. Give smaller ones."
        )
    return network


def build_network(config: Settings) -> ConvVAE:
    """The network that `config` describes, freshly initialised.

    Raises:
        VAEError: one so large that it would not fit any machine of today.
    """
    outline(config)
    return _network(config)


def _network(config: Settings) -> ConvVAE:
    return ConvVAE(
        channels=config.data.channels,
        image_size=config.data.image_size,
        widths=config.model.widths,
        latent_dim=config.model.latent_dim,
        variational=config.model.variational,
    )


def _read_payload(path: Path, setting: str) -> Any:
    """What was written at `path`: tensors, numbers and text, of which no more is known."""
    if path.is_dir() and not exported.is_exported(path):
        raise VAEError(f"{setting}: {path} is a folder. Give the checkpoint in it, say {path / 'last.ckpt'}.")
    if path.exists() and not path.is_dir() and not path.is_file():
        raise VAEError(f"{setting}: {path} is no file. Give the last.ckpt or best.ckpt of a run.")
    try:
        if path.is_dir():
            payload = exported.read(path)
            return payload | {"state_dict": {NETWORK + name: w for name, w in payload["state_dict"].items()}}
        with warnings.catch_warnings(action="ignore"):
            return torch.load(torchfile.looked_at(path), map_location="cpu", weights_only=True)
    except Refusal as e:
        raise VAEError(f"{setting}: {path} {one_line(e)}") from None
    except FileNotFoundError:
        raise VAEError(f"{setting}: no such file: {path}. Give the last.ckpt or best.ckpt of a run.") from None
    except OSError as e:
        raise VAEError(f"{setting}: cannot read {path}: {one_line(e.strerror or e)}. Check the path.") from None
    except Exception as e:  # torch.load raises a dozen kinds of error on what its records do not bear out
        said = f"{setting}: {path} is damaged: {one_line(e)[:120]}"
        raise VAEError(f"{said}. Use another checkpoint of the run.") from None


def _check_stamp(payload: Any) -> None:
    """Refuse what another project, or another version of this one, has written.

    Raises:
        Refusal: saying which.
    """
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise Refusal(f"is not a checkpoint of this project but {_whose(payload)}. Give the last.ckpt of a run.")
    version = payload.get("format_version")
    if type(version) is not int:
        raise Refusal("is damaged: it does not say its format version. Use another checkpoint of the run.")
    if not OLDEST_VERSION <= version <= FORMAT_VERSION:
        age = "newer" if version > FORMAT_VERSION else "older"
        raise Refusal(
            f"has format version {version}, {age} than this program reads ({OLDEST_VERSION} to {FORMAT_VERSION}). "
            "Use the version of vae-simpsons that wrote it."
        )
    wanted = {"config": (str, dict), "epochs_done": int, "state_dict": dict}
    for key, kind in wanted.items():
        if not isinstance(payload.get(key), kind):
            raise Refusal(f"is damaged: it has no {key}. Use another checkpoint of the run.")
    if not 0 <= payload["epochs_done"] < 2**31:
        raise Refusal(f"is damaged: epochs_done is {payload['epochs_done']}. Use another checkpoint of the run.")


def _whose(payload: Any) -> str:
    """Whose file it is, as far as its keys tell."""
    if not isinstance(payload, dict):
        return f"a {type(payload).__name__} that torch saved"
    keys = ", ".join(map(str, list(payload)[:4]))[:80] or "no keys"
    if "pytorch-lightning_version" in payload:
        return f"another Lightning project's ({keys} ...)"
    if payload and all(isinstance(value, Tensor) for value in payload.values()):
        return f"the bare weights of some network ({keys} ...)"
    return f"another's ({keys})"
