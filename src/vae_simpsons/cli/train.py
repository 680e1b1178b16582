"""`vae train`: settings to a run folder."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from vae_simpsons.cli.parsing import parse_settings
from vae_simpsons.configfile import from_flat, read_yaml, to_yaml
from vae_simpsons.errors import UsageError
from vae_simpsons.settings import to_flat


def train(arguments: list[str]) -> int:
    """`vae train`: settings to a run folder."""
    options, given = parse_train(arguments)
    config_file = Path(options["config"]) if options.get("config") else None
    if config_file is None and not given and not options.get("resume"):
        raise UsageError("vae train: nothing to train. Give --config configs/toons.yaml, or settings as flags.")
    name = config_file.stem if config_file else "run"
    settings = (read_yaml(config_file) if config_file else {}) | given
    if options.get("resume"):
        return resume(options["resume"], settings, name if config_file else "*", bool(config_file), arguments)
    config = from_flat(settings)
    if "print_config" in options:
        print(to_yaml(config), end="")
        return 0
    from vae_simpsons.training import run as training
    from vae_simpsons.training import runfolder

    folder = runfolder.new_folder(config, name)
    with runfolder.held(folder):
        training.train(config, folder, ["vae", "train", *arguments], resume=None)
    return 0


def resume(which: str, settings: dict[str, Any], name: str, has_config: bool, arguments: list[str]) -> int:
    """`vae train --resume`: go on in the run's own folder, with the settings that its checkpoint holds."""
    from vae_simpsons import checkpoint
    from vae_simpsons.training import run as training
    from vae_simpsons.training import runfolder
    from vae_simpsons.training.resumable import check_resumable

    path = runfolder.find_last(which, settings.get("out"), name)
    checkpoint.read(path, setting="--resume")  # before anything is made; another run may still be writing to it
    folder = runfolder.resumed_folder(settings.get("out"), path)
    with runfolder.held(folder):
        found = checkpoint.read(path, setting="--resume")
        config = from_flat(settings if has_config else to_flat(found.config) | settings)
        check_resumable(found)
        training.check_resume(config, found)
        training.train(config, folder, ["vae", "train", *arguments], resume=found)
    return 0


def parse_train(arguments: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of `vae train` that were given, and the settings that were, by dotted name.

    Raises:
        UsageError: an unknown flag, or one without its value.
        VAEError: a value that a setting cannot take.
    """
    return parse_settings(arguments, "vae train", "Train, as a YAML file and flags say.", add_options)


def add_options(parser: ArgumentParser) -> None:
    """What `vae train` takes besides settings."""
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings; flags override it")
    parser.add_argument(
        "--resume", metavar="last|PATH", help="go on: the newest run of this config, a run folder, or a checkpoint"
    )
    # jsonargparse has a --print_config of its own wherever it reads the config, and always hands this one a value
    parser.add_argument("--print_config", nargs="?", const="", help="print all settings as they would be, and stop")
