"""Every setting with its type, range, default and meaning, and which settings must agree with each other."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vae_simpsons.errors import VAEError

TOONS = "toons"  # the value of data.path that means the drawn data set
SHORT = Repr()
SHORT.maxstring = SHORT.maxother = 80


def setting(
    default: Any, meaning: str, *, low: float = -math.inf, high: float = math.inf, above: float = -math.inf
) -> Any:
    """A dataclass field with what it means and its range: low <= value <= high, and value > above."""
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high, "above": above})


@dataclass(frozen=True)
class Data:
    """Where the pictures are and how they become batches."""

    path: str = setting(TOONS, f"folder of pictures, zip or tar of one; '{TOONS}' draws the cartoon data set")
    image_size: int = setting(64, "height and width in pixels; 2^len(model.widths) must divide it", low=1, high=4096)
    channels: Literal[1, 3] = setting(3, "1: grey, 3: RGB")
    crop: Literal["center", "none"] = setting("center", "center: the middle square; none: all of it, squeezed square")
    resize: int | None = setting(
        None, "pixels that the short side is resized to before the crop; null: image_size", low=1, high=16384
    )
    train_fraction: float = setting(0.75, "share of the images that trains; the rest validates", above=0, high=1)
    split: Literal["sorted", "shuffled", "grouped"] = setting(
        "grouped",
        "sorted: the first files by name train, as published; shuffled: a seeded draw; grouped: a draw that leaves out "
        "copies, keeps near-duplicates on one side, and gives each class its share of both",
    )
    batch_size: int = setting(64, "images a step, in each process", low=2, high=1_000_000)
    horizontal_flip: bool = setting(False, "mirror half of the training images, drawn anew each epoch")
    toons: int = setting(4096, f"how many toons to draw where path is '{TOONS}'", low=1, high=1_000_000)
    cache_dir: str | None = setting(None, "where packed images are kept; null: the user's cache folder")
    gpu_share: float = setting(
        0.5, "largest share of a GPU's free memory that the images may take to be kept there", low=0, high=1
    )


@dataclass(frozen=True)
class Model:
    """The encoder and the decoder."""

    latent_dim: int = setting(128, "length of z", low=1, high=1_000_000)
    widths: tuple[int, ...] = setting(
        (32, 64, 128, 256, 512),
        "channels of each stride-2 stage of the encoder; the decoder mirrors them",
        low=1,
        high=65_536,
    )
    variational: bool = setting(True, "false: a plain autoencoder, z = mu and squared error alone")


@dataclass(frozen=True)
class Objective:
    """loss = mse + beta * kld_weight * kl."""

    beta: float = setting(1.0, "weight of the KL term (beta-VAE)", low=0)
    kld_weight: float = setting(
        0.00025, "scale of the KL term; 2 * sigma^2 / (C * H * W) for a decoder with pixel noise sigma", above=0
    )


@dataclass(frozen=True)
class Optimizer:
    """Adam, its learning rate decayed exponentially."""

    lr: float = setting(0.005, "Adam's learning rate in the first epoch", above=0)
    weight_decay: float = setting(0.0, "L2 penalty that Adam adds to the gradient", low=0)
    lr_decay: float = setting(0.95, "factor on the learning rate after each epoch", above=0, high=1)


@dataclass(frozen=True)
class Trainer:
    """How long to train and on what; names and values as in Lightning's Trainer."""

    max_epochs: int = setting(100, "epochs to train in all", low=1, high=1_000_000)
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = setting("auto", "auto: a GPU where there is one")
    devices: int | Literal["auto"] = setting(
        1, "how many devices (on a CPU: processes); auto: all there are", low=1, high=1024
    )
    num_nodes: int = setting(1, "machines that train together, each with that many devices", low=1, high=1024)
    strategy: Literal["auto", "ddp"] = setting("auto", "ddp: one process a device, gradients averaged")
    precision: Literal["32-true", "tf32", "bf16-mixed", "16-mixed"] = setting(
        "32-true", "arithmetic of the network; tf32: 32 bits, products of 19 on a GPU; the loss always has 32"
    )
    engine: Literal["auto", "graph", "compile", "eager"] = setting(
        "auto", "how a step runs; graph: replayed on a CUDA GPU; eager: plainly; auto: graph where it can be"
    )
    deterministic: bool = setting(
        False, "GPU kernels that give the same bits every time, and are slower; a CPU's always do"
    )
    gradient_clip_val: float | None = setting(None, "largest norm of the gradient; null: no clipping", above=0)
    on_nonfinite: Literal["stop", "skip"] = setting(
        "stop", "what a loss or gradient that is not finite does; neither lets it reach the weights"
    )
    log_every_n_steps: int = setting(50, "steps between two points of train/loss_step", low=1, high=1_000_000)
    save_every_minutes: float = setting(
        5.0, "minutes of training after which last.ckpt is saved in the middle of an epoch too", low=0
    )


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run."""

    seed: int = setting(1265, "seed of weights, split, order and noise", low=0, high=2**32 - 1)
    out: str | None = setting(None, "run folder; null: runs/<config>/<time>")
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    objective: Objective = field(default_factory=Objective)
    optimizer: Optimizer = field(default_factory=Optimizer)
    trainer: Trainer = field(default_factory=Trainer)

    def __post_init__(self) -> None:
        _check(self)


def keys(cls: type = Settings, prefix: str = "") -> dict[str, Any]:
    """Every setting's dotted name and its dataclass field, in the order of declaration."""
    table: dict[str, Any] = {}
    hints = get_type_hints(cls)
    for f in fields(cls):
        if is_dataclass(hints[f.name]):
            table |= keys(hints[f.name], f"{prefix}{f.name}.")
        else:
            table[prefix + f.name] = f
    return table


def to_flat(settings: Settings) -> dict[str, Any]:
    """Every setting by dotted name."""
    flat: dict[str, Any] = {}
    for key in keys():
        value: Any = settings
        for name in key.split("."):
            value = getattr(value, name)
        flat[key] = value
    return flat


def type_of(key: str) -> Any:
    """The type that the setting `key` was declared with."""
    section, _, name = key.rpartition(".")
    owner = get_type_hints(Settings)[section] if section else Settings
    return get_type_hints(owner)[name]


def accepts(key: str) -> str:
    """What the setting `key` accepts, in words: 'a whole number >= 1'."""
    return _in_words(type_of(key), keys()[key].metadata)


_PLAIN_TYPES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text, not empty (in quotes if it looks like a number)",
    NoneType: "null",
}


def _in_words(hint: Any, meta: Mapping[str, Any]) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_in_words(h, meta) for h in get_args(hint))
    if get_origin(hint) is Literal:
        return " or ".join(str(v) for v in get_args(hint))
    if get_origin(hint) is tuple:
        return "a list of whole numbers" + _range_in_words(meta) + ", written [32, 64]"
    return _PLAIN_TYPES[hint] + (_range_in_words(meta) if hint in (int, float) else "")


def _range_in_words(meta: Mapping[str, Any]) -> str:
    bounds = [(">", meta["above"]), (">=", meta["low"]), ("<=", meta["high"])]
    said = [f"{sign} {value:.10g}" for sign, value in bounds if math.isfinite(value)]
    return (" " if said else "") + " and ".join(said)


def bad_value(key: str, value: Any) -> VAEError:
    """The error for a value that the setting `key` cannot take."""
    shown = "null" if value is None else SHORT.repr(list(value) if isinstance(value, tuple) else value)
    return VAEError(f"{key}: {shown} is not accepted. Give {accepts(key)}.")


def check_range(key: str, value: Any) -> None:
    meta = keys()[key].metadata
    if isinstance(value, str) and not is_file_name(value):
        raise bad_value(key, value)
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        finite = isinstance(number, int) or math.isfinite(number)
        if not (finite and meta["low"] <= number <= meta["high"] and number > meta["above"]):
            raise bad_value(key, value)


def is_file_name(text: str) -> bool:
    """Whether the system can take `text` for the name of a file."""
    try:
        return bool(text.strip()) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _check(settings: Settings) -> None:
    """Raise VAEError where settings do not fit together."""
    for key, value in to_flat(settings).items():
        check_range(key, value)
    _check_view(settings.data)
    widths, size = settings.model.widths, settings.data.image_size
    if not widths:
        raise VAEError("model.widths: [] is empty. Give one number of channels a stage, say [32, 64, 128].")
    largest = keys()["data.image_size"].metadata["high"]
    if 2 ** len(widths) > largest:
        most = largest.bit_length() - 1
        raise VAEError(f"model.widths: {len(widths)} of them, and {most} halve {largest} pixels to one. Give fewer.")
    step = 2 ** len(widths)
    if size % step:
        lower, upper = size // step * step, (size // step + 1) * step
        near = f"{lower} or {upper}" if lower else f"{upper}"
        raise VAEError(
            f"data.image_size: {size} is not divisible by {step} (2 for each of the {len(widths)} model.widths). "
            f"Give {near}, or fewer widths."
        )


def _check_view(data: Data) -> None:
    """Raise VAEError where resizing and cropping do not fit together."""
    if data.resize is not None and data.crop == "none":
        raise VAEError(f"data.resize: {data.resize} has no meaning with data.crop none. Leave it out, or crop center.")
    if data.resize is not None and data.resize < data.image_size:
        raise VAEError(
            f"data.resize: {data.resize} is less than data.image_size {data.image_size}, which is cropped from it. "
            f"Give {data.image_size} or more."
        )
