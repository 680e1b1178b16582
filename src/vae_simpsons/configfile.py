"""Reads settings from YAML, or by dotted name from flags, and writes them as YAML."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from vae_simpsons.errors import VAEError, one_line, shorten
from vae_simpsons.paths import expand_home
from vae_simpsons.settings import Settings, keys, sections
from vae_simpsons.shipped import CONFIGS, shipped_names
from vae_simpsons.yamltext import YAML_ERRORS, load_yaml

MAX_TEXT = 2**16  # characters of a config file; one with every setting has 1,000


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads the settings in a YAML file, by dotted name and of the right types, or raises VAEError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_TEXT + 1)
    except FileNotFoundError:
        raise VAEError(f"path: no such file: {path}. Give a YAML file, or one of {shipped_names(CONFIGS)}.") from None
    except (OSError, UnicodeDecodeError) as e:
        raise VAEError(f"path: cannot read {path}: {one_line(e)}. Give a YAML file in UTF-8.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Parses the settings in YAML `text`, by dotted name and of the right types, or raises a VAEError with `source`."""
    try:
        if len(text) > MAX_TEXT:
            raise VAEError(f"longer than {MAX_TEXT:,} characters. Give a config file.")
        try:
            tree = load_yaml(text)
        except YAML_ERRORS as e:
            raise VAEError(f"not valid YAML: {one_line(e)}. Fix that line.") from None
        if tree is None:
            raise VAEError("the file is empty. Write settings in it, say 'data: {path: my_pictures}'.")
        return parse_tree(tree)
    except VAEError as e:
        raise VAEError(f"{source}: {e}") from None


def parse_tree(tree: Any) -> dict[str, Any]:
    """Parses the settings in `tree`, nested mappings as YAML and JSON give them, or raises VAEError."""
    if not isinstance(tree, Mapping):
        raise VAEError(f"not a mapping but a {type(tree).__name__}. Write 'section: {{key: value}}' lines.")
    try:
        return convert_all(_flatten(tree))
    except RecursionError:
        raise VAEError("nested too deeply. Write each setting under its section.") from None


def from_flat(flat: Mapping[str, Any]) -> Settings:
    """Returns Settings with the values in `flat`, by dotted name, and defaults for the rest, or raises VAEError."""
    return _build(Settings, convert_all(flat))


def _build(section: type, flat: Mapping[str, Any], prefix: str = "") -> Any:
    values: dict[str, Any] = {}
    for f in fields(section):
        key = prefix + f.name
        if isinstance(f.type, type) and is_dataclass(f.type):
            values[f.name] = _build(f.type, flat, f"{key}.")
        else:
            values[f.name] = flat.get(key, f.default)
    return section(**values)


def to_yaml(settings: Settings) -> str:
    """Returns `settings` as YAML that `parse_yaml` reads back to the same values."""
    return yaml.safe_dump(asdict(settings), sort_keys=False, default_flow_style=False, allow_unicode=True)


def _flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values in `tree` by dotted name; an empty section has none."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            added = _flatten(value, f"{key}.")
        elif key not in sections():
            added = {key: value}
        elif value is None:
            added = {}
        else:
            raise VAEError(f"{key}: {shorten(value)} is not a mapping. Write its settings indented under it.")
        if twice := added.keys() & flat.keys():
            raise VAEError(f"{min(twice)}: given twice. Give it once, under its section or by its dotted name.")
        flat |= added
    return flat


def convert_all(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `flat` with each value converted to the type of its setting, and ~ replaced in paths."""
    for key in flat:
        if key not in keys():
            near = nearest(key, keys())
            hint = f"Did you mean {near}?" if near else "'vae train --help' lists every setting."
            raise VAEError(f"{shorten(key)[1:-1]}: no such setting. {hint}")
    converted = {key: keys()[key].convert(value) for key, value in flat.items()}
    return {k: expand_home(k, v) if isinstance(v, str) and keys()[k].takes_path else v for k, v in converted.items()}


def nearest(name: str, known: Collection[str]) -> str | None:
    """Returns the name in `known` that ends like `name` or is spelt most like it; None if none is close."""
    same_ending = [other for other in known if other.rpartition(".")[2] == name.rpartition(".")[2]]
    return next(iter(same_ending or get_close_matches(name, known, n=1, cutoff=0.5)), None)
