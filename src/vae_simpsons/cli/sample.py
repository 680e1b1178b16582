"""`vae sample`: draws new images from a trained model."""

from argparse import Namespace
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, Verb, add_checkpoint, add_device, check_at_least
from vae_simpsons.errors import renamed


def add_sample_options(parser: Parser) -> None:
    """Adds the options of `vae sample`."""
    add_checkpoint(parser)
    parser.add_argument("-n", type=int, default=64, metavar="INT", help="number of images (default 64)")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--out", default="samples.png", metavar="PATH", help="grid, as a PNG (default samples.png)")
    target.add_argument("--out-dir", metavar="PATH", help="folder for one PNG per image, instead of a grid")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="INT", help="the same seed gives the same images (default 0)"
    )
    parser.add_argument("--nrow", type=int, default=8, metavar="INT", help="images in a row of the grid (default 8)")
    add_device(parser)


def run_sample(options: Namespace) -> int:
    """Writes images decoded from z ~ N(0, I)."""
    check_at_least("-n", options.n, 1)
    check_at_least("--seed", options.seed, 0)
    check_at_least("--nrow", options.nrow, 1)
    from vae_simpsons import VAE, images

    with renamed(path="--ckpt", device="--device"):
        model = VAE.load(options.ckpt, options.device)
        blocks = map(images.denormalise, model.sample_blocks(options.n, options.seed))
    if options.out_dir:
        images.write_each("--out-dir", Path(options.out_dir), blocks, "sample_{:06d}.png")
    else:
        images.write_grid("--out", Path(options.out), blocks, options.n, options.nrow)
    print(f"{options.n:,} samples in {options.out_dir or options.out}")
    return 0


SAMPLE = Verb("draw new images from a trained model", add_sample_options, run_sample)
