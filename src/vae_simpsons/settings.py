"""Every setting with its type, range, default and meaning, and the checks between settings.

A new setting is one field of a section, with its meaning in the docstring below it; a new section is one dataclass and
one field of the section that holds it.
"""

import re
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from math import inf, isfinite
from operator import attrgetter
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import docstring_parser
from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import restricted_number_type, restricted_string_type

from vae_simpsons.errors import VAEError

TOONS = "toons"  # the value of data.path that selects the cartoon faces drawn by this program
MAX_VALUE = 100  # characters of text for a number, choice or list, which is read as YAML, references and all


def ranged(base: type, low: float = -inf, high: float = inf, above: float = -inf) -> Any:
    """Returns jsonargparse's type of numbers with low <= number <= high and number > above, named in words."""
    limits = [(sign, n) for sign, n in ((">", above), (">=", low), ("<=", high)) if isfinite(n)]
    name = "a whole number " if base is int else "a number "
    name += " and ".join(f"{sign} {n}" for sign, n in limits)
    return restricted_number_type(name, base, limits + ([] if base is int else [("<", inf)]))


# What can name a file, in bytes too, which Python writes as the surrogates DC80 to DCFF.
Text = restricted_string_type(
    "text, not empty (in quotes if it looks like a number)", r"(?s)(?=.*\S)[^\0\ud800-\udc7f\udd00-\udfff]*\Z"
)


class Setting(NamedTuple):
    """A setting as it is declared."""

    type: Any
    default: Any
    meaning: str


@dataclass(frozen=True)
class Data:
    """The images and how they become batches."""

    path: Text = TOONS
    """folder of images, or a zip or tar of one; 'toons' draws cartoon faces"""
    image_size: ranged(int, 1, 4096) = 64
    """height and width in pixels; 2^len(model.widths) must divide it"""
    channels: Literal[1, 3] = 3
    """1: greyscale, 3: RGB"""
    crop: Literal["center", "none"] = "center"
    """center: the central square; none: the whole image, squeezed"""
    resize: ranged(int, 1, 16384) | None = None
    """short side in pixels before the crop; null: data.image_size"""
    train_fraction: ranged(float, above=0, high=1) = 0.75
    """fraction of the images that trains; the rest validates"""
    split: Literal["sorted", "shuffled", "grouped"] = "grouped"
    """sorted: the first files by name train, as published; shuffled: a random split; grouped: a random split that
    leaves out copies, keeps near-duplicates on one side and divides each class in the same proportion"""
    batch_size: ranged(int, 2, 1_000_000) = 64
    """images per step, in each process"""
    horizontal_flip: bool = False
    """mirror a random half of the training images in each epoch"""
    toons: ranged(int, 1, 1_000_000) = 4096
    """number of faces to draw when data.path is 'toons'"""
    cache_dir: Text | None = None
    """folder for packed images; null: the user's cache folder"""
    gpu_share: ranged(float, low=0, high=1) = 0.5
    """keep the images on the GPU if they need at most this fraction of its free memory"""


@dataclass(frozen=True)
class Model:
    """The encoder and decoder."""

    latent_dim: ranged(int, 1, 1_000_000) = 128
    """length of the latent vector z"""
    widths: tuple[ranged(int, 1, 65_536), ...] = (32, 64, 128, 256, 512)
    """channels of each stride-2 stage of the encoder, mirrored by the decoder"""
    variational: bool = True
    """false: a plain autoencoder with z = mu, trained on the squared error alone"""


@dataclass(frozen=True)
class Objective:
    """loss = mse + beta * kld_weight * kl."""

    beta: ranged(float, low=0) = 1.0
    """weight of the KL term, as in beta-VAE"""
    kld_weight: ranged(float, above=0) = 0.00025
    """scale of the KL term; 2 * sigma^2 / (C * H * W) for pixel noise sigma"""


@dataclass(frozen=True)
class Optimizer:
    """Adam with an exponentially decaying learning rate."""

    lr: ranged(float, above=0) = 0.005
    """Adam's learning rate in the first epoch"""
    weight_decay: ranged(float, low=0) = 0.0
    """L2 penalty that Adam adds to the gradient"""
    lr_decay: ranged(float, above=0, high=1) = 0.95
    """factor by which the learning rate changes after each epoch"""


@dataclass(frozen=True)
class Trainer:
    """How long to train and on which hardware, named as in Lightning's Trainer."""

    max_epochs: ranged(int, 1, 1_000_000) = 100
    """number of epochs"""
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    """auto: a GPU if there is one"""
    devices: ranged(int, 1, 1024) | Literal["auto"] = 1
    """number of devices (CPU: processes); auto: all of them"""
    num_nodes: ranged(int, 1, 1024) = 1
    """number of machines, each with that many devices"""
    strategy: Literal["auto", "ddp"] = "auto"
    """ddp: one process per device, with averaged gradients"""
    precision: Literal["32-true", "tf32", "bf16-mixed", "16-mixed"] = "32-true"
    """arithmetic of the network; tf32: faster, less exact products on a GPU; the loss is always 32 bits"""
    engine: Literal["auto", "graph", "compile", "eager"] = "auto"
    """eager: op by op; graph: a CUDA graph a step; compile: torch.compile; auto: eager, until graph is proven"""
    deterministic: bool = False
    """slower GPU kernels that give the same bits every time; a CPU's always do"""
    gradient_clip_val: ranged(float, above=0) | None = None
    """maximum norm of the gradient; null: no clipping"""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """when a loss or gradient is not finite: stop the run or skip the step"""
    log_every_n_steps: ranged(int, 1, 1_000_000) = 50
    """steps between two values of train/loss_step"""
    save_every_minutes: ranged(float, low=0) = 5.0
    """minutes between saves of last.ckpt within an epoch"""


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run."""

    seed: ranged(int, 0, 2**32 - 1) = 1265
    """random seed of the weights, split, order and noise"""
    out: Text | None = None
    """run folder; null: runs/<config>/<time>"""
    data: Data = Data()
    model: Model = Model()
    objective: Objective = Objective()
    optimizer: Optimizer = Optimizer()
    trainer: Trainer = Trainer()

    def __post_init__(self) -> None:
        for key, value in to_flat(self).items():
            if convert(key, value) != value:  # text, or a list where a tuple belongs
                raise bad_value(key, value)
        _check_crop(self.data)
        _check_widths(self.model.widths, self.data.image_size)


@cache
def sections(name: str = "", section: type | None = None) -> dict[str, type]:
    """Returns the dataclass of every section by dotted name; the settings in no section are under ''."""
    found = {name: section or Settings}
    for f in fields(found[name]):
        if is_dataclass(f.type):
            found |= sections(f"{name}.{f.name}".lstrip("."), f.type)
    return found


@cache
def keys() -> dict[str, Setting]:
    """Returns the declaration of every setting by dotted name."""
    table = {}
    for name, section in sections().items():
        documented = docstring_parser.parse_from_object(section).params
        meanings = {field.arg_name: " ".join(field.description.split()) for field in documented}
        for f in fields(section):
            if not is_dataclass(f.type):
                table[f"{name}.{f.name}".lstrip(".")] = Setting(f.type, f.default, meanings.get(f.name, ""))
    return table


def to_flat(settings: Settings) -> dict[str, Any]:
    """Returns the value of every setting by dotted name."""
    return {key: attrgetter(key)(settings) for key in keys()}


@cache
def _parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    for key, setting in keys().items():
        parser.add_argument(f"--{key}", type=setting.type)
    return parser


def convert(key: str, value: Any) -> Any:
    """Returns `value`, or what YAML makes of it if it is text, as the type of the setting `key`.

    Raises:
        VAEError: it is of another type or out of range.
    """
    words = accepts(key)
    # jsonargparse itself takes null for anything, True and 1.0 for 1, and bytes and sets for numbers and lists.
    mentioned = {str: "", int: "", bool: "true or false", float: "a number", NoneType: "null"}
    parts = value if isinstance(value, (list, tuple)) else [value]
    try:
        if not all(type(part) in mentioned and mentioned[type(part)] in words for part in parts):
            raise ValueError
        if isinstance(value, str) and "text" in words and (value != "null" or "null" not in words):
            return str(Text(value))
        if isinstance(value, str) and len(value) > MAX_VALUE:
            raise ValueError
        return _plain(_parser().parse_object({key: value}, defaults=False)[key])
    except (ArgumentError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        raise bad_value(key, value) from None


def _plain(value: Any) -> Any:
    """Returns a value of jsonargparse's types as one of Python's."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return next((base(value) for base in (bool, int, float, str) if isinstance(value, base)), value)


def accepts(key: str) -> str:
    """Returns in words what the setting `key` accepts: 'a whole number >= 1'."""
    *others, last = [words for _, words in _kinds(keys()[key].type)]
    return f"{', '.join(others)} or {last}" if others else last


def metavar(key: str) -> str:
    """Returns what the flag of the setting `key` takes, as help shows it: INT, PATH, {center,none}."""
    shown = [short for short, _ in _kinds(keys()[key].type) if short]
    return "|".join(shown) if any(map(str.isupper, shown)) else "{" + ",".join(shown) + "}"


def _kinds(hint: Any) -> list[tuple[str, str]]:
    """Returns what a type accepts, one or more kinds of value, each as a metavar and in words."""
    if get_origin(hint) in (Union, UnionType):
        return [kind for option in get_args(hint) for kind in _kinds(option)]
    if get_origin(hint) is Literal:
        return [(str(choice), str(choice)) for choice in get_args(hint)]
    if get_origin(hint) is tuple:
        numbers = get_args(hint)[0].__name__.removeprefix("a ").replace("number", "numbers")
        return [("[INT,INT,...]", f"a list of {numbers}, written [32, 64]")]
    if hint in (bool, NoneType):
        return [("BOOL", "true or false") if hint is bool else ("", "null")]
    return [("INT" if issubclass(hint, int) else "NUMBER" if issubclass(hint, float) else "PATH", hint.__name__)]


def bad_value(key: str, value: Any) -> VAEError:
    """Returns the error for a value that `key` does not accept."""
    shown = "null" if value is None else shorten(list(value) if isinstance(value, tuple) else value)
    if isinstance(value, str) and re.match(r"[-+]?\.?(\d|nan|inf)", value):  # a number, from a flag
        shown = shown[1:-1]
    return VAEError(f"{key}: {shown} is not accepted. Give {accepts(key)}.")


def shorten(value: Any) -> str:
    """Returns `value` as Python writes it, cut to a length that fits an error message."""
    short = Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)


def _check_widths(widths: tuple[int, ...], size: int) -> None:
    """Raises VAEError unless each encoder stage can halve the image."""
    if not widths:
        raise VAEError("model.widths: [] is empty. Give the channels of each encoder stage, say [32, 64, 128].")
    if len(widths) > 12:
        raise VAEError(f"model.widths: {len(widths)} stages, but 12 halve 4096 pixels to one. Give fewer.")
    step = 2 ** len(widths)
    if size % step:
        lower, upper = size // step * step, (size // step + 1) * step
        raise VAEError(
            f"data.image_size: {size} is not divisible by {step} (2 for each of the {len(widths)} model.widths). "
            f"Give {f'{lower} or {upper}' if lower else upper}, or fewer widths."
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
