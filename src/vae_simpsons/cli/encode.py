"""`vae encode`: encodes images to the mean and variance of their posteriors."""

from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_checkpoint, add_device
from vae_simpsons.errors import renamed


def add_encode_options(parser: Parser) -> None:
    """Adds the options of `vae encode`."""
    parser.add_argument("path", nargs="?", metavar="PATH", help="folder, zip or tar of images (default: the run's)")
    add_checkpoint(parser)
    parser.add_argument(
        "--out",
        default="latents",
        metavar="PATH",
        help="new or empty folder for mu.npy, log_var.npy and images.csv, which names the image of each row "
        "(default latents)",
    )
    parser.add_argument(
        "--data.cache_dir", dest="cache_dir", metavar="PATH", help="folder for packed images (default: the run's)"
    )
    add_device(parser)


def run_encode(options: Namespace) -> int:
    """Writes mu, log_var and a table of the images, prepared as in training."""
    from vae_simpsons import VAE
    from vae_simpsons.files import output_folder
    from vae_simpsons.progress import progress_bar

    folder = Path(options.out)
    with renamed(path="--ckpt", device="--device"):
        model = VAE.load(options.ckpt, options.device)
    with output_folder("--out", folder) as temporary:
        files, index = model.encode_folder(temporary, options.path, options.cache_dir, progress_bar)
    if left_out := index.left_out():
        print(left_out)
    print(f"{len(index.paths):,} images in {folder}: {', '.join(file.name for file in files)}")
    return 0


ENCODE = Verb("encode a folder of images to mu and log_var", add_encode_options, run_encode)
