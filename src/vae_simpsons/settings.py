"""Every setting with its type, default, range and meaning, and the checks between settings.

A new setting is one line in a section; a new section is one dataclass and one line in the section that holds it.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields, is_dataclass
from functools import cache
from math import inf, isfinite
from operator import attrgetter
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from vae_simpsons.errors import VAEError

TOONS = "toons"  # the value of data.path that selects the cartoon faces drawn by this program


def setting(default: Any, meaning: str, low: float = -inf, high: float = inf, above: float = -inf) -> Any:
    """Declares a setting with its meaning and range: low <= number <= high and number > above."""
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high, "above": above})


@dataclass(frozen=True)
class Data:
    """The images and how they become batches."""

    path: str = setting(TOONS, f"folder of images, or a zip or tar of one; '{TOONS}' draws cartoon faces")
    image_size: int = setting(64, "height and width in pixels; 2^len(model.widths) must divide it", low=1, high=4096)
    channels: Literal[1, 3] = setting(3, "1: greyscale, 3: RGB")
    crop: Literal["center", "none"] = setting("center", "center: the central square; none: the whole image, squeezed")
    resize: int | None = setting(None, "short side in pixels before the crop; null: data.image_size", low=1, high=16384)
    train_fraction: float = setting(0.75, "fraction of the images that trains; the rest validates", above=0, high=1)
    split: Literal["sorted", "shuffled", "grouped"] = setting(
        "grouped",
        "sorted: the first files by name train, as published; shuffled: a random split; grouped: a random split that "
        "leaves out copies, keeps near-duplicates on one side and divides each class in the same proportion",
    )
    batch_size: int = setting(64, "images per step, in each process", low=2, high=1_000_000)
    horizontal_flip: bool = setting(False, "mirror a random half of the training images in each epoch")
    toons: int = setting(4096, f"number of faces to draw when data.path is '{TOONS}'", low=1, high=1_000_000)
    cache_dir: str | None = setting(None, "folder for packed images; null: the user's cache folder")
    gpu_share: float = setting(
        0.5, "keep the images on the GPU if they need at most this fraction of its free memory", low=0, high=1
    )


@dataclass(frozen=True)
class Model:
    """The encoder and decoder."""

    latent_dim: int = setting(128, "length of the latent vector z", low=1, high=1_000_000)
    widths: tuple[int, ...] = setting(
        (32, 64, 128, 256, 512), "channels of each stride-2 stage of the encoder, mirrored by the decoder", 1, 65_536
    )
    variational: bool = setting(True, "false: a plain autoencoder with z = mu, trained on the squared error alone")


@dataclass(frozen=True)
class Objective:
    """loss = mse + beta * kld_weight * kl."""

    beta: float = setting(1.0, "weight of the KL term, as in beta-VAE", low=0)
    kld_weight: float = setting(
        0.00025, "scale of the KL term; 2 * sigma^2 / (C * H * W) for pixel noise sigma", above=0
    )


@dataclass(frozen=True)
class Optimizer:
    """Adam with an exponentially decaying learning rate."""

    lr: float = setting(0.005, "Adam's learning rate in the first epoch", above=0)
    weight_decay: float = setting(0.0, "L2 penalty that Adam adds to the gradient", low=0)
    lr_decay: float = setting(0.95, "factor by which the learning rate changes after each epoch", above=0, high=1)


@dataclass(frozen=True)
class Trainer:
    """How long to train and on which hardware, named as in Lightning's Trainer."""

    max_epochs: int = setting(100, "number of epochs", low=1, high=1_000_000)
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = setting("auto", "auto: a GPU if there is one")
    devices: int | Literal["auto"] = setting(1, "number of devices (CPU: processes); auto: all of them", 1, 1024)
    num_nodes: int = setting(1, "number of machines, each with that many devices", low=1, high=1024)
    strategy: Literal["auto", "ddp"] = setting("auto", "ddp: one process per device, with averaged gradients")
    precision: Literal["32-true", "tf32", "bf16-mixed", "16-mixed"] = setting(
        "32-true", "arithmetic of the network; tf32: faster, less exact products on a GPU; the loss is always 32 bits"
    )
    engine: Literal["auto", "graph", "compile", "eager"] = setting(
        "auto", "eager: op by op; graph: each step as a CUDA graph; compile: torch.compile; auto: graph if possible"
    )
    deterministic: bool = setting(False, "slower GPU kernels that give the same bits every time; a CPU's always do")
    gradient_clip_val: float | None = setting(None, "maximum norm of the gradient; null: no clipping", above=0)
    on_nonfinite: Literal["stop", "skip"] = setting(
        "stop", "when a loss or gradient is not finite: stop the run or skip the step"
    )
    log_every_n_steps: int = setting(50, "steps between two values of train/loss_step", low=1, high=1_000_000)
    evaluate_every: int | None = setting(
        None, "epochs between measurements of vae evaluate's quick figures, which become curves; null: none", low=1
    )
    save_every_minutes: float = setting(5.0, "minutes between saves of last.ckpt within an epoch", low=0)


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run."""

    seed: int = setting(1265, "random seed of the weights, split, order and noise", low=0, high=2**32 - 1)
    out: str | None = setting(None, "run folder; null: runs/<config>/<time>")
    data: Data = Data()
    model: Model = Model()
    objective: Objective = Objective()
    optimizer: Optimizer = Optimizer()
    trainer: Trainer = Trainer()

    def __post_init__(self) -> None:
        for key, value in to_flat(self).items():
            convert(key, value)
        _check_crop(self.data)
        _check_widths(self)


def _walk(section: type, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Yields the dotted name and dataclass field of every setting and sub-section, in the order of declaration."""
    for f in fields(section):
        yield prefix + f.name, f
        if is_dataclass(f.type):
            yield from _walk(f.type, f"{prefix}{f.name}.")


@cache
def keys() -> dict[str, Field]:
    """Returns the dataclass field of every setting by dotted name."""
    return {name: f for name, f in _walk(Settings) if not is_dataclass(f.type)}


@cache
def sections() -> dict[str, type]:
    """Returns the dataclass of every section by dotted name."""
    return {name: f.type for name, f in _walk(Settings) if is_dataclass(f.type)}


def to_flat(settings: Settings) -> dict[str, Any]:
    """Returns the value of every setting by dotted name."""
    return {key: attrgetter(key)(settings) for key in keys()}


def convert(key: str, value: Any) -> Any:
    """Returns `value` as the type of the setting `key`: a whole number as a float, a list as a tuple.

    Raises:
        VAEError: it is of another type or out of range.
    """
    try:
        converted = _as_type(keys()[key].type, value)
    except (TypeError, OverflowError):
        raise bad_value(key, value) from None
    numbers = converted if isinstance(converted, tuple) else (converted,)
    if not all(_in_range(keys()[key], number) for number in numbers):
        raise bad_value(key, value)
    return converted


def _as_type(hint: Any, value: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        for option in get_args(hint):
            with suppress(TypeError):
                return _as_type(option, value)
    elif get_origin(hint) is Literal:
        if any(value == choice and type(value) is type(choice) for choice in get_args(hint)):
            return value
    elif get_origin(hint) is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_as_type(get_args(hint)[0], part) for part in value)
    elif hint is float and type(value) is int:
        return float(value)
    elif type(value) is hint:
        return value
    raise TypeError


def _in_range(f: Field, value: Any) -> bool:
    if isinstance(value, str):  # a choice, or the name of a file or folder: there is no other text
        return _is_file_name(value)
    if isinstance(value, bool) or value is None:
        return True
    low, high, above = (f.metadata[name] for name in ("low", "high", "above"))
    return low <= value <= high and value > above and abs(value) != inf


def _is_file_name(text: str) -> bool:
    try:
        return bool(text.strip()) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def accepts(key: str) -> str:
    """Returns in words what the setting `key` accepts: 'a whole number >= 1'."""
    *others, last = _alternatives(keys()[key].type, range_in_words(key))
    return f"{', '.join(others)} or {last}" if others else last


def _alternatives(hint: Any, limits: str) -> list[str]:
    """Returns in words what a type accepts, with the `limits` of its numbers."""
    if get_origin(hint) in (Union, UnionType):
        return [words for option in get_args(hint) for words in _alternatives(option, limits)]
    if get_origin(hint) is Literal:
        return [str(choice) for choice in get_args(hint)]
    if get_origin(hint) is tuple:
        return [f"a list of whole numbers {limits}, written [32, 64]"]
    words = {
        int: f"a whole number {limits}",
        float: f"a number {limits}",
        bool: "true or false",
        str: "text, not empty (in quotes if it looks like a number)",
        NoneType: "null",
    }
    return [words[hint].strip()]


def range_in_words(key: str) -> str:
    """Returns the range of the setting `key`, '>= 1 and <= 4096', or nothing where it has none."""
    meta = keys()[key].metadata
    limits = [(">", meta["above"]), (">=", meta["low"]), ("<=", meta["high"])]
    return " and ".join(f"{sign} {limit:.10g}" for sign, limit in limits if isfinite(limit))


def bad_value(key: str, value: Any) -> VAEError:
    """Returns the error for a value that `key` does not accept."""
    shown = "null" if value is None else shorten(list(value) if isinstance(value, tuple) else value)
    return VAEError(f"{key}: {shown} is not accepted. Give {accepts(key)}.")


def shorten(value: Any) -> str:
    """Returns `value` as Python writes it, cut to a length that fits an error message."""
    short = Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)


def _check_widths(settings: Settings) -> None:
    """Raises VAEError unless each encoder stage can halve the image."""
    widths, size = settings.model.widths, settings.data.image_size
    if not widths:
        raise VAEError("model.widths: [] is empty. Give the channels of each encoder stage, say [32, 64, 128].")
    largest = int(keys()["data.image_size"].metadata["high"])
    most = largest.bit_length() - 1
    if len(widths) > most:
        raise VAEError(f"model.widths: {len(widths)} stages, but {most} halve {largest} pixels to one. Give fewer.")
    step = 2 ** len(widths)
    if size % step:
        lower, upper = size // step * step, (size // step + 1) * step
        near = f"{lower} or {upper}" if lower else f"{upper}"
        raise VAEError(
            f"data.image_size: {size} is not divisible by {step} (2 for each of the {len(widths)} model.widths). "
            f"Give {near}, or fewer widths."
        )


def _check_crop(data: Data) -> None:
    """Raises VAEError where resizing and cropping contradict each other."""
    if data.resize is not None and data.crop == "none":
        raise VAEError(f"data.resize: {data.resize} has no effect with data.crop none. Leave it out, or crop center.")
    if data.resize is not None and data.resize < data.image_size:
        raise VAEError(
            f"data.resize: {data.resize} is less than data.image_size {data.image_size}, which is cropped from it. "
            f"Give {data.image_size} or more."
        )
