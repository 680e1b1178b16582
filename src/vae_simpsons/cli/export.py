"""`vae export`: writes a trained model to share."""

from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_checkpoint
from vae_simpsons.errors import renamed


def add_export_options(parser: Parser) -> None:
    """Adds the options of `vae export`."""
    add_checkpoint(parser)
    parser.add_argument("--out", required=True, metavar="PATH", help="new or empty folder")


def run_export(options: Namespace) -> int:
    """Writes the weights and settings without what only training needs."""
    from vae_simpsons import VAE
    from vae_simpsons.files import output_folder

    folder = Path(options.out)
    with renamed(path="--ckpt"):
        model = VAE.load(options.ckpt)
    with output_folder("--out", folder) as temporary:
        files = model.export(temporary, folder.name)
    print(f"the model after epoch {model.epochs} in {folder}: {', '.join(file.name for file in files)}")
    print(f"next: vae sample --ckpt {folder} -n 64")
    return 0


EXPORT = Verb("write a trained model to share: its weights and settings alone", add_export_options, run_export)
