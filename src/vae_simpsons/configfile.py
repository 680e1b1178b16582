"""YAML files and command-line flags <-> `Settings`."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.settings import SHORT, Settings, accepts, bad_value, check_range, keys, type_of

MAX_TEXT = 2**16  # characters of a config; one with every setting has 700
MAX_NUMBER = 40  # characters of a whole number; a float holds 10^40, and Python writes it out at once
MAX_VALUE = 100  # characters of text where a number, a choice or a list is wanted


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
                raise VAEError(f"{key}: {SHORT.repr(value)} is not a mapping. Write its settings indented under it.")
        else:
            flat[key] = value
    return flat


def from_flat(flat: Mapping[str, Any]) -> Settings:
    """The Settings with the settings in `flat`, and defaults for the rest.

    Raises:
        VAEError: an unknown key, a value of a wrong type or out of its range.
    """
    typed = _typed(flat)
    sections: dict[str, dict[str, Any]] = {}
    for key, value in typed.items():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = value
    hints = get_type_hints(Settings)
    nested = {name: hints[name](**values) for name, values in sections.items() if name}
    return Settings(**sections.get("", {}), **nested)


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


def to_tree(settings: Settings) -> dict[str, Any]:
    """`settings` as sections of settings, as YAML and JSON hold them."""
    tree = asdict(settings)
    tree["model"]["widths"] = list(settings.model.widths)
    return tree


def to_yaml(settings: Settings) -> str:
    """`settings` as YAML that reads back to the same Settings."""
    return yaml.safe_dump(to_tree(settings), sort_keys=False, default_flow_style=False, allow_unicode=True)


def add_flags(parser: ArgumentParser) -> None:
    """Give `parser` one flag for each setting, grouped by section."""
    hints = get_type_hints(Settings)
    sections = {name: cls for name, cls in hints.items() if is_dataclass(cls)}
    groups = {name: parser.add_argument_group(f"{name}: {_doc(cls)}") for name, cls in sections.items()}
    for key, f in keys().items():
        group = groups.get(key.split(".")[0], parser)
        group.add_argument(f"--{key}", type=type_of(key), default=f.default, help=_help(key, f), metavar=_metavar(key))


def _doc(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0].rstrip(".")


def _metavar(key: str) -> str:
    return "VALUE" if key != "model.widths" else "[N,...]"


def _help(key: str, f: Any) -> str:
    default = list(f.default) if isinstance(f.default, tuple) else f.default
    shown = "null" if default is None else str(default).lower() if isinstance(default, bool) else default
    return f"{f.metadata['meaning']}; {accepts(key)} (default {shown})".replace("%", "%%")


def unknown_key(key: str) -> VAEError:
    """The error for a setting that does not exist, with the nearest that does."""
    same_name = [known for known in keys() if known.split(".")[-1] == key.split(".")[-1]]
    near = same_name or get_close_matches(key, list(keys()), n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else "'vae train --help' lists every setting."
    return VAEError(f"{SHORT.repr(key)[1:-1]}: no such setting. {hint}")


def _typed(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`flat` with each value turned into its setting's type and held against its range."""
    parser = ArgumentParser(exit_on_error=False)
    add_flags(parser)
    typed: dict[str, Any] = {}
    for key, value in flat.items():
        if key not in keys():
            raise unknown_key(key)
        if value is None and NoneType not in get_args(type_of(key)):
            raise bad_value(key, value)
        typed[key] = value if isinstance(value, str) and _takes_text(key) else _parsed(parser, key, value)
        check_range(key, typed[key])
    return typed


def _takes_text(key: str) -> bool:
    return str in (type_of(key), *get_args(type_of(key)))


def _parsed(parser: ArgumentParser, key: str, value: Any) -> Any:
    """`value` as the setting's type; text is read as YAML once more, references and all, so it has to be short."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(part, str) and len(part) > MAX_VALUE for part in parts):
        raise bad_value(key, value)
    try:
        return parser.parse_object({key: value}, defaults=False)[key]
    except (ArgumentError, TypeError, ValueError, OverflowError, RecursionError):
        raise bad_value(key, value) from None
