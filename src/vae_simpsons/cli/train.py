"""`vae train`: trains a model and fills a run folder."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from vae_simpsons.cli.parsing import Parser, Verb, add_settings, given_settings
from vae_simpsons.configfile import from_flat, to_yaml
from vae_simpsons.errors import UsageError, renamed
from vae_simpsons.settings import to_flat


def add_train_options(parser: Parser) -> None:
    resumes = "continue the newest run of this config, a run folder or a checkpoint"
    parser.add_argument("--resume", metavar="last|PATH", help=resumes)
    begins = "begin with the weights of a checkpoint or an export, those that fit"
    parser.add_argument("--init", metavar="PATH", help=begins)
    parser.add_argument("--print_config", action="store_true", help="print all settings as YAML and exit")
    add_settings(parser)


def run_train(options: Namespace) -> None:
    """Trains from the start or continues a run."""
    given = given_settings(options)
    if not (options.config or options.resume or given):
        raise UsageError("nothing to train. Give --config configs/toons.yaml, or settings as flags.")
    if options.resume and options.init:
        raise UsageError("--init begins a new run, and --resume continues one. Give one of the two.")
    if options.resume:
        resume_run(options, given)
    elif options.print_config:
        print(to_yaml(from_flat(given)), end="")
    else:
        settings = from_flat(given)
        from vae_simpsons.checkpoint import read_checkpoint
        from vae_simpsons.training import run, runfolder

        with renamed(path="--init"):
            init = read_checkpoint(Path(options.init)) if options.init else None
        folder = runfolder.new_folder(settings, Path(options.config).stem if options.config else "run")
        with runfolder.locked(folder), renamed(init="--init"):
            run.train(settings, folder, options.command, init=init)


def resume_run(options: Namespace, given: dict[str, Any]) -> None:
    """Continues a run in its own folder; without --config, with the settings in its checkpoint."""
    from vae_simpsons.checkpoint import read_checkpoint
    from vae_simpsons.training import resuming, run, runfolder

    name = Path(options.config).stem if options.config else "*"
    with renamed(path="--resume", which="--resume", manifest="--resume"):
        path = runfolder.find_last(options.resume, given.get("out"), name)
        read_checkpoint(path)  # before anything is written; another process may still be training this run
        folder = runfolder.resumed_folder(given.get("out"), path)
        with runfolder.locked(folder):
            last = read_checkpoint(path)
            if given.get("data.levels") is None:  # found in its folder
                given["data.levels"] = last.settings.data.levels
            settings = from_flat(given if options.config else to_flat(last.settings) | given)
            resuming.check_resume(settings, last)
            run.train(settings, folder, options.command, resume=last)


TRAIN = Verb("train a model on a folder of images or on drawn cartoon faces", add_train_options, run_train)
