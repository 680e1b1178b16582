"""`vae decode`: the inverse of `vae encode`."""

from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_option
from vae_simpsons.cli.trained import add_checkpoint, add_device, load_model
from vae_simpsons.errors import renamed
from vae_simpsons.progress import progress_bar


def add_decode_options(parser: Parser) -> None:
    parser.add_argument("latents", metavar="LATENTS", help=".npy file, or the folder that vae encode wrote")
    add_checkpoint(parser)
    contents = "new or empty folder for one PNG a latent, named as in the folder's images.csv"
    add_option(parser, "--out-dir", "decoded", "PATH", contents)
    add_device(parser)


def run_decode(options: Namespace) -> None:
    """Writes the image that each latent decodes to."""
    from vae_simpsons.files import output_folder
    from vae_simpsons.inference.decode import decode_to_folder, open_latents

    folder, model = Path(options.out_dir), load_model(options)
    with renamed(z="LATENTS"):
        latents = open_latents(options.latents, model.network.latent_shape)
        with output_folder("--out-dir", folder) as temporary:
            decode_to_folder(model.network, latents, temporary, progress_bar)
    print(f"{len(latents.names):,} images in {folder}")


DECODE = Verb("decode arrays of latents to PNGs, the inverse of encode", add_decode_options, run_decode)
