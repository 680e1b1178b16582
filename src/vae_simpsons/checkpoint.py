"""Checkpoints: weights plus the config as text, written and read only here.

A checkpoint is a dict of tensors, numbers and text, and is read with `weights_only=True` and nothing else: a file
from a stranger can be refused, but cannot run code. Lightning adds what training needs to go on.
"""

import io
import os
import pickle
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vae_simpsons.config import Config, from_flat, parse_yaml, to_yaml
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import replacing, sync_folder
from vae_simpsons.models import ConvVAE

FORMAT = "vae-simpsons"
FORMAT_VERSION = 2  # 1, from before epochs could be interrupted, is read as well
NETWORK = "network."  # what Lightning puts before the name of each weight: the attribute that holds the network


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a checkpoint file."""

    path: Path
    config: Config
    payload: dict[str, Any]  # all of it, as written

    @property
    def epochs(self) -> int:
        """How many epochs had been trained when it was written."""
        return int(self.payload["epochs_done"])

    @property
    def interrupted_steps(self) -> int:
        """How many steps of the epoch after those had been trained; 0 at the end of one."""
        return self.payload["interrupted"]["steps"] if self.payload["interrupted"] else 0


def stamp(payload: dict[str, Any], config: Config, epochs_done: int) -> None:
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


def read(path: Path, setting: str = "--ckpt") -> Checkpoint:
    """The checkpoint at `path`; `setting` names it in errors.

    Raises:
        VAEError: no such file, not a checkpoint, a damaged one, one of another project or a newer version, one that
            carries code.
    """
    payload = _read_payload(path, setting)
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise VAEError(f"{setting}: {path} is not a checkpoint of this project. Give the last.ckpt of a run.")
    version = payload.get("format_version")
    if version == 1:
        payload["interrupted"] = None
    elif version != FORMAT_VERSION:
        raise VAEError(
            f"{setting}: {path} has format version {version!r}, and this program reads {FORMAT_VERSION}. "
            "Use the version of vae-simpsons that wrote it."
        )
    if not isinstance(payload.get("config"), str) or not isinstance(payload.get("epochs_done"), int):
        raise VAEError(f"{setting}: {path} is damaged: it has no config. Use another checkpoint of the run.")
    config = from_flat(parse_yaml(payload["config"], f"{setting}: the config inside {path}"))
    return Checkpoint(path, config, payload)


def network_of(checkpoint: Checkpoint) -> ConvVAE:
    """The network with the checkpoint's weights, on the CPU, in eval mode.

    Raises:
        VAEError: the weights do not fit the config that stands beside them.
    """
    network = build_network(checkpoint.config)
    states = checkpoint.payload.get("state_dict", {})
    weights = {name.removeprefix(NETWORK): w for name, w in states.items() if name.startswith(NETWORK)}
    try:
        network.load_state_dict(weights)
    except RuntimeError as e:
        raise VAEError(
            f"--ckpt: {checkpoint.path} is damaged: its weights do not fit its config ({one_line(e)[:160]}). "
            "Use another checkpoint of the run."
        ) from None
    return network.eval()


def build_network(config: Config) -> ConvVAE:
    """The network that `config` describes, freshly initialised."""
    return ConvVAE(
        channels=config.data.channels,
        image_size=config.data.image_size,
        widths=config.model.widths,
        latent_dim=config.model.latent_dim,
        variational=config.model.variational,
    )


def _read_payload(path: Path, setting: str) -> Any:
    if path.is_dir():
        raise VAEError(f"{setting}: {path} is a folder. Give the checkpoint in it, say {path / 'last.ckpt'}.")
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise VAEError(f"{setting}: no such file: {path}. Give the last.ckpt or best.ckpt of a run.") from None
    except OSError as e:
        raise VAEError(f"{setting}: cannot read {path}: {one_line(e.strerror or e)}. Check the path.") from None
    try:
        with file, warnings.catch_warnings(action="ignore"):  # of foreign pickles: what comes of them is said below
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        if "unsupported" in str(e).lower():  # "Trying to load unsupported GLOBAL posix.system", "Unsupported class"
            raise VAEError(
                f"{setting}: {path} carries code or foreign objects and is refused; nothing in it was run. "
                "Get a checkpoint that this project wrote."
            ) from None
        raise _no_checkpoint(path, setting) from None
    except Exception:  # torch.load raises a dozen kinds of error on damaged bytes, and none of them is ours
        raise _no_checkpoint(path, setting) from None


def _no_checkpoint(path: Path, setting: str) -> VAEError:
    return VAEError(f"{setting}: {path} is no checkpoint, or a damaged one. Give the last.ckpt or best.ckpt of a run.")
