"""`vae export`: a checkpoint to a folder for passing on."""

import argparse
from pathlib import Path

from vae_simpsons.cli.folders import make_way
from vae_simpsons.cli.parsing import Parser
from vae_simpsons.errors import cannot_write


def export(arguments: list[str]) -> int:
    """`vae export`: the weights as safetensors and the settings as JSON; nothing that only training needs."""
    options = export_parser().parse_args(arguments)
    folder = Path(options.out)
    from vae_simpsons import checkpoint, exported
    from vae_simpsons.files import format_bytes, publish_folder

    found = checkpoint.read(Path(options.ckpt))
    payload = checkpoint.to_export(found)
    make_way("--out", folder)
    try:
        with publish_folder(folder) as beside:
            exported.write(payload, beside)
        size = format_bytes(exported.weights(folder).stat().st_size)
    except OSError as e:
        raise cannot_write("--out", folder, e) from None
    print(f"the model after epoch {found.epochs} in {folder}: {exported.weights(folder).name} ({size}) and config.json")
    print(f"next: vae sample --ckpt {folder} -n 64")
    return 0


def export_parser() -> argparse.ArgumentParser:
    """The options of `vae export`."""
    parser = Parser("vae export", description="Write a trained model as safetensors and JSON, which cannot hold code.")
    parser.add_argument("--ckpt", required=True, metavar="FILE", help="checkpoint of a run: last.ckpt or best.ckpt")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder, or an empty one")
    return parser
