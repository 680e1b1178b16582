"""`vae sample`: a checkpoint to pictures."""

import argparse
from pathlib import Path

from vae_simpsons.cli.parsing import Parser, require_at_least


def sample(arguments: list[str]) -> int:
    """`vae sample`: a checkpoint to pictures drawn from the prior."""
    options = sample_parser().parse_args(arguments)
    require_at_least("-n", options.n, 1)
    require_at_least("--seed", options.seed, 0)
    require_at_least("--nrow", options.nrow, 1)
    from vae_simpsons import checkpoint, images, sampling
    from vae_simpsons.memory import keep_freed_buffers

    keep_freed_buffers()
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
    parser.add_argument("--ckpt", required=True, metavar="PATH", help="last.ckpt or best.ckpt of a run, or an export")
    parser.add_argument("-n", type=int, default=64, metavar="N", help="how many (default 64)")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--out", default="samples.png", metavar="FILE", help="one PNG, a grid (default samples.png)")
    target.add_argument("--out-dir", metavar="DIR", help="a PNG each, in this folder")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same pixels (default 0)")
    parser.add_argument("--nrow", type=int, default=8, help="pictures in a row of the grid (default 8)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="(default auto)")
    return parser
