"""`vae encode`: pictures to their posteriors."""

import argparse
from pathlib import Path

from vae_simpsons.cli.folders import make_way
from vae_simpsons.cli.parsing import Parser
from vae_simpsons.configfile import from_flat
from vae_simpsons.errors import cannot_write
from vae_simpsons.settings import to_flat


def encode(arguments: list[str]) -> int:
    """`vae encode`: the images of a folder or archive to mu and log_var, prepared as in training."""
    options = encode_parser().parse_args(arguments)
    folder = Path(options.out)
    from vae_simpsons import checkpoint, encoding, sampling
    from vae_simpsons.data.dataset import source_of
    from vae_simpsons.data.pack import open_pack
    from vae_simpsons.files import publish_folder
    from vae_simpsons.memory import keep_freed_buffers
    from vae_simpsons.progress import progress_bar

    keep_freed_buffers()
    found = checkpoint.read(Path(options.ckpt))
    network = checkpoint.network_of(found).to(sampling.pick_device(options.device))
    given = {"data.path": options.path, "data.cache_dir": options.cache_dir}
    data = from_flat(to_flat(found.config) | {key: value for key, value in given.items() if value is not None}).data
    make_way("--out", folder)
    pack = open_pack(source_of(data, progress_bar), data, progress_bar)
    try:
        with publish_folder(folder) as beside:
            made = encoding.write(network, pack, beside, progress_bar)
    except OSError as e:
        raise cannot_write("--out", folder, e) from None
    if left_out := pack.index.left_out():
        print(left_out)
    print(f"{len(pack.index.paths):,} images in {folder}: {', '.join(path.name for path in made)}")
    return 0


def encode_parser() -> argparse.ArgumentParser:
    """The options of `vae encode`."""
    said = "Encode pictures, prepared as in training: mu.npy, log_var.npy and, row by row, images.csv."
    parser = Parser("vae encode", description=said)
    parser.add_argument("path", nargs="?", metavar="PATH", help="folder, zip or tar; default: the run's data.path")
    parser.add_argument("--ckpt", required=True, metavar="FILE", help="checkpoint of a run: last.ckpt or best.ckpt")
    parser.add_argument(
        "--out", default="latents", metavar="DIR", help="a new folder, or an empty one (default latents)"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="(default auto)")
    parser.add_argument(
        "--data.cache_dir", dest="cache_dir", metavar="DIR", help="where packed images are kept; default: the run's"
    )
    return parser
