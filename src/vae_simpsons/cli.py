"""The door: argv -> Config -> one call. torch is imported in the handlers only, so that `--help` is instant."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentError, ArgumentParser

from vae_simpsons import __version__
from vae_simpsons.config import add_flags, bad_value, from_flat, keys, read_yaml, to_flat, to_yaml
from vae_simpsons.errors import UsageError, VAEError, one_line

DESCRIPTION = "Train a variational autoencoder on a folder of pictures, watch it learn, and sample from it."
EXAMPLES = """examples:
  vae train --config configs/toons.yaml
  vae train --config configs/simpsons.yaml --data.path my_pictures --trainer.max_epochs 5
  vae train --config configs/toons.yaml --resume last
  vae sample --ckpt runs/toons/<time>/last.ckpt -n 64

'vae train --help' lists every setting; 'vae sample --help' the options of sampling.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 1 something that the user can put right, 2 wrong usage, 130 interrupted."""
    try:
        return run(list(sys.argv[1:] if argv is None else argv))
    except VAEError as e:
        print(f"vae: {one_line(e)}", file=sys.stderr)
        return 2 if isinstance(e, UsageError) else 1
    except KeyboardInterrupt as e:
        print(f"vae: interrupted. {one_line(e)}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, `| head` say, has what it wanted; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run(arguments: list[str]) -> int:
    """Hand what follows the verb to its handler, whose own parser knows its flags."""
    parser = Parser("vae", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"vae-simpsons {__version__}")
    kind = argparse.ArgumentParser  # not Parser: these only list the verbs
    verbs = parser.add_subparsers(dest="verb", metavar="{train,sample}", required=True, parser_class=kind)
    for verb, (_, said) in VERBS.items():
        verbs.add_parser(verb, help=said, add_help=False)
    verb = parser.parse_args(arguments[:1]).verb
    return VERBS[verb][0](arguments[1:])


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

    training.train(config, runfolder.new_folder(config, name), ["vae", "train", *arguments], resume=None)
    return 0


def resume(which: str, settings: dict[str, Any], name: str, has_config: bool, arguments: list[str]) -> int:
    """`vae train --resume`: go on in the run's own folder, with the settings that its checkpoint holds."""
    from vae_simpsons import checkpoint
    from vae_simpsons.training import run as training
    from vae_simpsons.training import runfolder

    path = runfolder.find_last(which, settings.get("out"), name)
    found = checkpoint.read(path, setting="--resume")
    config = from_flat(settings if has_config else to_flat(found.config) | settings)
    training.check_resume(config, found)
    folder = runfolder.resumed_folder(settings.get("out"), path)
    training.train(config, folder, ["vae", "train", *arguments], resume=found)
    return 0


def parse_train(arguments: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of `vae train` that were given, and the settings that were, by dotted name.

    Raises:
        UsageError: an unknown flag, or one without its value.
        VAEError: a value that a setting cannot take.
    """
    parser = ArgumentParser(
        prog="vae train", description="Train, as a YAML file and flags say.", exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings; flags override it")
    parser.add_argument(
        "--resume", metavar="last|PATH", help="go on: the newest run of this config, a run folder, or a checkpoint"
    )
    # jsonargparse has a --print_config of its own wherever it reads the config, and always hands this one a value
    parser.add_argument("--print_config", nargs="?", const="", help="print all settings as they would be, and stop")
    add_flags(parser)
    try:
        flat = parser.parse_args(arguments, defaults=False).as_flat()
    except ArgumentError as e:
        raise explain(str(e), list(keys())) from None
    values = dict(vars(flat))
    given = {key: value for key, value in values.items() if key in keys()}
    return {key: value for key, value in values.items() if key not in given}, given


def explain(said: str, settings: list[str]) -> VAEError:
    """The parser's complaint as one of ours: a bad value, or wrong usage with the nearest flag."""
    value = re.search(r'Parser key "([^"]+)":.*(?:Got|Given) value: (.*)', said, re.DOTALL)
    if value and value[1] in settings:
        return bad_value(value[1], value[2])
    unknown = re.match(r"unrecognized arguments: (?:--)?([^\s=]+)", said, re.IGNORECASE)
    if unknown:
        return unknown_flag("vae train", unknown[1], [*settings, "config", "resume", "print_config"])
    return UsageError(f"vae train: {one_line(said)}. 'vae train --help' lists every setting.")


def unknown_flag(command: str, flag: str, known: list[str]) -> UsageError:
    """The error for a flag that does not exist, with the nearest that does."""
    near = get_close_matches(flag, known, n=1, cutoff=0.5)
    hint = f"Did you mean --{near[0]}?" if near else f"'{command} --help' lists what there is."
    return UsageError(f"{command}: no such option: {flag}. {hint}")


def sample(arguments: list[str]) -> int:
    """`vae sample`: a checkpoint to pictures drawn from the prior."""
    options = sample_parser().parse_args(arguments)
    require_at_least("-n", options.n, 1)
    require_at_least("--seed", options.seed, 0)
    require_at_least("--nrow", options.nrow, 1)
    from vae_simpsons import checkpoint, images, sampling

    found = checkpoint.read(Path(options.ckpt))
    network = checkpoint.network_of(found).to(sampling.pick_device(options.device))
    drawn = map(images.denormalise, sampling.sample(network, options.n, options.seed))
    if options.out_dir:
        images.write_each("--out-dir", Path(options.out_dir), drawn, "sample_{:06d}.png")
        print(f"{options.n:,} samples in {options.out_dir}")
    else:
        images.write_grid("--out", Path(options.out), drawn, options.n, options.nrow)
        print(f"{options.n:,} samples in {options.out}")
    return 0


def sample_parser() -> argparse.ArgumentParser:
    """The options of `vae sample`."""
    parser = Parser("vae sample", description="Draw pictures from a trained model: z ~ N(0, I) through the decoder.")
    parser.add_argument("--ckpt", required=True, metavar="FILE", help="checkpoint of a run: last.ckpt or best.ckpt")
    parser.add_argument("-n", type=int, default=64, metavar="N", help="how many (default 64)")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--out", default="samples.png", metavar="FILE", help="one PNG, a grid (default samples.png)")
    target.add_argument("--out-dir", metavar="DIR", help="a PNG each, in this folder")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same pixels (default 0)")
    parser.add_argument("--nrow", type=int, default=8, help="pictures in a row of the grid (default 8)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="(default auto)")
    return parser


def require_at_least(setting: str, value: int, low: int) -> None:
    """Raise VAEError where a number is below its range; torch's generators take seeds below 2^63."""
    if not low <= value < 2**63:
        raise VAEError(f"{setting}: {value} is not accepted. Give a whole number >= {low}.")


class Parser(argparse.ArgumentParser):
    """argparse's parser whose complaints are one line of ours."""

    def __init__(self, prog: str, **settings: Any) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, formatter_class=form, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of printing the usage and leaving."""
        unknown = re.match(r"unrecognized arguments: (?:--?)?([^\s=]+)", message)
        if unknown:
            known = [option.lstrip("-") for option in self._option_string_actions]
            raise unknown_flag(self.prog, unknown[1], known)
        raise UsageError(f"{self.prog}: {message}. See '{self.prog} --help'.")


VERBS = {
    "train": (train, "train a model on a folder of pictures, or on drawn cartoon faces"),
    "sample": (sample, "draw new pictures from a trained model"),
}
