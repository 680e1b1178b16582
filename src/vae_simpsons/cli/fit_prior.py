"""`vae fit-prior`: gives a trained model another prior, in a run folder of its own."""

from argparse import SUPPRESS, Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_setting_flags, given_flags
from vae_simpsons.cli.trained import add_checkpoint
from vae_simpsons.configfile import from_flat
from vae_simpsons.errors import UsageError, renamed
from vae_simpsons.settings import keys

SECTIONS = ("prior.", "trainer.", "data.path", "data.cache_dir", "data.gpu_share")
CHOSEN = [key for key in keys() if key.startswith(SECTIONS) and key != "trainer.max_epochs"]  # the autoencoder's


def add_fit_prior_options(parser: Parser) -> None:
    add_checkpoint(parser)
    folder = "new run folder (default runs/<name>-<kind>/<time>)"
    parser.add_argument("--out", metavar="PATH", default=SUPPRESS, help=folder)
    add_setting_flags(parser, CHOSEN, "as flags (--prior.kind flow); the rest are the model's", "default: the model's")


def run_fit_prior(options: Namespace) -> None:
    """Fits a prior to the latents of a model, which stays as it is."""
    from vae_simpsons.checkpoint import read_checkpoint
    from vae_simpsons.training import newprior, runfolder

    given = given_flags(options)
    with renamed(path="--ckpt", manifest="--ckpt"):
        model = read_checkpoint(Path(options.ckpt))
        if "prior.kind" not in given and model.settings.prior.kind == "normal":
            raise UsageError("which prior? Give --prior.kind gaussian or --prior.kind flow.")
        newprior.check_finished(model)
        settings = from_flat(newprior.settings_with(model, given))
        folder = runfolder.new_folder(settings, newprior.name_of(model, settings.prior.kind))
        with runfolder.locked(folder):
            newprior.fit_prior(model, settings, folder, options.command)


FIT_PRIOR = Verb("give a trained model a prior that draws better pictures", add_fit_prior_options, run_fit_prior)
