"""Every setting with its unit, range and default; YAML and flags <-> `Config`.

One field declares a setting once: its type, its default, what it means and what range it has. The flags of the
command line, the help, the check of a YAML file and the error messages are all derived from that declaration.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from vae_simpsons.errors import VAEError, one_line

TOONS = "toons"  # the value of data.path that means the drawn data set
MAX_TEXT = 2**16  # characters of a config; one with every setting has 700
MAX_NUMBER = 40  # characters of a whole number; a float holds 10^40, and Python writes it out at once
MAX_VALUE = 100  # characters of text where a number, a choice or a list is wanted
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 80


class StrictLoader(yaml.SafeLoader):
    """Plain YAML without what a list of settings has no use for.

    No key may stand twice: of two the first would be lost without a word. No part may stand for another: ten lines of
    references to the line above are a billion values. No number may be longer than any that is accepted.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node.

        Raises:
            yaml.YAMLError: a reference, `*name`.
        """
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, f"a reference, *{event.anchor}", event.start_mark)
        return super().compose_node(parent, index)

    def construct_short_int(self, node: yaml.ScalarNode) -> int:
        """The whole number of `node`.

        Raises:
            yaml.YAMLError: it is longer than any that is accepted.
        """
        if len(node.value) > MAX_NUMBER:
            said = f"a number of {len(node.value)} characters"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
        return self.construct_yaml_int(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of `node`.

        Raises:
            yaml.YAMLError: a key stands twice.
        """
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key.value, str)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


StrictLoader.add_constructor("tag:yaml.org,2002:int", StrictLoader.construct_short_int)


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
class Config:
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


def keys(cls: type = Config, prefix: str = "") -> dict[str, Any]:
    """Every setting's dotted name and its dataclass field, in the order of declaration."""
    table: dict[str, Any] = {}
    hints = get_type_hints(cls)
    for f in fields(cls):
        if is_dataclass(hints[f.name]):
            table |= keys(hints[f.name], f"{prefix}{f.name}.")
        else:
            table[prefix + f.name] = f
    return table


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """`tree`'s leaves by dotted name; a section left empty counts as no leaves."""
    sections = {k.split(".")[0] for k in keys() if "." in k}
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{key}.")
        elif key in sections:
            if value is not None:
                raise VAEError(f"{key}: {_SHORT.repr(value)} is not a mapping. Write its settings indented under it.")
        else:
            flat[key] = value
    return flat


def to_flat(config: Config) -> dict[str, Any]:
    """Every setting of `config` by dotted name."""
    return flatten(asdict(config))


def from_flat(flat: Mapping[str, Any]) -> Config:
    """The Config with the settings in `flat`, and defaults for the rest.

    Raises:
        VAEError: an unknown key, a value of a wrong type or out of its range.
    """
    typed = _typed(flat)
    sections: dict[str, dict[str, Any]] = {}
    for key, value in typed.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = value
    hints = get_type_hints(Config)
    nested = {name: hints[name](**values) for name, values in sections.items() if name}
    return Config(**sections.get("", {}), **nested)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, flat, of the right types.

    Raises:
        VAEError: no such file, not YAML, empty, not a mapping, an unknown key or a value of a wrong type.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_TEXT + 1)
    except FileNotFoundError:
        raise VAEError(f"--config: no such file: {path}. Give a YAML file, say configs/toons.yaml.") from None
    except (OSError, UnicodeDecodeError) as e:
        raise VAEError(f"--config: cannot read {path}: {one_line(e)}. Give a YAML file in UTF-8.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """The settings in YAML `text`, flat, of the right types; `source` names it in errors.

    Raises:
        VAEError: as read_yaml, with `source` in front.
    """
    if len(text) > MAX_TEXT:
        raise VAEError(f"{source}: longer than {MAX_TEXT:,} characters, so no list of settings. Give a config.")
    try:
        tree = yaml.load(text, StrictLoader)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:  # !!int '' is one
        raise VAEError(f"{source}: not valid YAML: {one_line(e)}. Mend that line.") from None
    if tree is None:
        raise VAEError(f"{source}: the file is empty. Write settings in it, say 'data: {{path: my_pictures}}'.")
    return parse_tree(tree, source)


def parse_tree(tree: Any, source: str) -> dict[str, Any]:
    """The settings in `tree`, a mapping of sections as YAML or JSON gives it, flat, of the right types.

    Raises:
        VAEError: not a mapping, an unknown key or a value of a wrong type; `source` in front.
    """
    if not isinstance(tree, Mapping):
        raise VAEError(f"{source}: not a mapping but a {type(tree).__name__}. Write 'section: {{key: value}}' lines.")
    try:
        return _typed(flatten(tree))
    except RecursionError:
        raise VAEError(f"{source}: nested too deeply. Settings stand at most one section deep.") from None
    except VAEError as e:
        raise VAEError(f"{source}: {e}") from None


def to_tree(config: Config) -> dict[str, Any]:
    """`config` as sections of settings, as YAML and JSON hold them."""
    tree = asdict(config)
    tree["model"]["widths"] = list(config.model.widths)
    return tree


def to_yaml(config: Config) -> str:
    """`config` as YAML that reads back to the same Config."""
    return yaml.safe_dump(to_tree(config), sort_keys=False, default_flow_style=False, allow_unicode=True)


def add_flags(parser: ArgumentParser) -> None:
    """Give `parser` one flag for each setting, grouped by section."""
    hints = get_type_hints(Config)
    sections = {name: cls for name, cls in hints.items() if is_dataclass(cls)}
    groups = {name: parser.add_argument_group(f"{name}: {_doc(cls)}") for name, cls in sections.items()}
    for key, f in keys().items():
        group = groups.get(key.split(".")[0], parser)
        group.add_argument(f"--{key}", type=_hint(key), default=f.default, help=_help(key, f), metavar=_metavar(key))


def _doc(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0].rstrip(".")


def _metavar(key: str) -> str:
    return "VALUE" if key != "model.widths" else "[N,...]"


def _help(key: str, f: Any) -> str:
    default = list(f.default) if isinstance(f.default, tuple) else f.default
    shown = "null" if default is None else str(default).lower() if isinstance(default, bool) else default
    return f"{f.metadata['meaning']}; {accepts(key)} (default {shown})".replace("%", "%%")


def _hint(key: str) -> Any:
    """The type that the setting `key` was declared with."""
    section, _, name = key.rpartition(".")
    owner = get_type_hints(Config)[section] if section else Config
    return get_type_hints(owner)[name]


def accepts(key: str) -> str:
    """What the setting `key` accepts, in words: 'a whole number >= 1'."""
    return _in_words(_hint(key), keys()[key].metadata)


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


def unknown_key(key: str) -> VAEError:
    """The error for a setting that does not exist, with the nearest that does."""
    same_name = [known for known in keys() if known.split(".")[-1] == key.split(".")[-1]]
    near = same_name or get_close_matches(key, list(keys()), n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else "'vae train --help' lists every setting."
    return VAEError(f"{_SHORT.repr(key)[1:-1]}: no such setting. {hint}")


def bad_value(key: str, value: Any) -> VAEError:
    """The error for a value that the setting `key` cannot take."""
    shown = "null" if value is None else _SHORT.repr(list(value) if isinstance(value, tuple) else value)
    return VAEError(f"{key}: {shown} is not accepted. Give {accepts(key)}.")


def _typed(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`flat` with each value turned into its setting's type and held against its range."""
    parser = ArgumentParser(exit_on_error=False)
    add_flags(parser)
    typed: dict[str, Any] = {}
    for key, value in flat.items():
        if key not in keys():
            raise unknown_key(key)
        if value is None and NoneType not in get_args(_hint(key)):
            raise bad_value(key, value)
        typed[key] = value if isinstance(value, str) and _takes_text(key) else _parsed(parser, key, value)
        _check_range(key, typed[key])
    return typed


def _takes_text(key: str) -> bool:
    return str in (_hint(key), *get_args(_hint(key)))


def _parsed(parser: ArgumentParser, key: str, value: Any) -> Any:
    """`value` as the setting's type; text is read as YAML once more, references and all, so it has to be short."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(part, str) and len(part) > MAX_VALUE for part in parts):
        raise bad_value(key, value)
    try:
        return parser.parse_object({key: value}, defaults=False)[key]
    except (ArgumentError, TypeError, ValueError, OverflowError, RecursionError):
        raise bad_value(key, value) from None


def _check_range(key: str, value: Any) -> None:
    meta = keys()[key].metadata
    if isinstance(value, str) and not _is_name(value):
        raise bad_value(key, value)
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        finite = isinstance(number, int) or math.isfinite(number)
        if not (finite and meta["low"] <= number <= meta["high"] and number > meta["above"]):
            raise bad_value(key, value)


def _is_name(text: str) -> bool:
    """Whether the system can take `text` for the name of a file."""
    try:
        return bool(text.strip()) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _check(config: Config) -> None:
    """Raise VAEError where settings do not fit together."""
    for key, value in to_flat(config).items():
        _check_range(key, value)
    _check_view(config.data)
    widths, size = config.model.widths, config.data.image_size
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
