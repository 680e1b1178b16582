"""The door: argv -> Settings -> one call. torch is imported in the handlers only, so that `--help` is instant."""

import argparse
import os
import sys
from collections.abc import Sequence

from vae_simpsons import __version__
from vae_simpsons.cli.data import data
from vae_simpsons.cli.encode import encode
from vae_simpsons.cli.export import export
from vae_simpsons.cli.parsing import Parser
from vae_simpsons.cli.sample import sample
from vae_simpsons.cli.train import train
from vae_simpsons.errors import VAEError, one_line

DESCRIPTION = "Train a variational autoencoder on a folder of pictures, watch it learn, and sample from it."
EXAMPLES = """examples:
  vae train --config configs/toons.yaml
  vae train --config configs/simpsons.yaml --data.path my_pictures --trainer.max_epochs 5
  vae train --config configs/toons.yaml --resume last
  vae data check my_pictures
  vae sample --ckpt runs/toons/<time>/last.ckpt -n 64
  vae encode --ckpt runs/toons/<time>/last.ckpt my_pictures --out latents
  vae export --ckpt runs/toons/<time>/last.ckpt --out toons_model

'vae train --help' lists every setting; 'vae sample --help' the options of sampling.
"""

VERBS = {
    "train": (train, "train a model on a folder of pictures, or on drawn cartoon faces"),
    "sample": (sample, "draw new pictures from a trained model"),
    "encode": (encode, "encode a folder of pictures to arrays of mu and log_var"),
    "export": (export, "write a trained model as safetensors and JSON, for passing on"),
    "data": (data, "check a folder of pictures, unpack an archive, draw cartoon faces"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 1 something that the user can put right, 2 wrong usage, 130 interrupted."""
    try:
        return run(list(sys.argv[1:] if argv is None else argv))
    except VAEError as e:
        print(f"vae: {one_line(e)}", file=sys.stderr)
        return e.status
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
    verbs_named = f"{{{','.join(VERBS)}}}"
    verbs = parser.add_subparsers(dest="verb", metavar=verbs_named, required=True, parser_class=kind)
    for verb, (_, said) in VERBS.items():
        verbs.add_parser(verb, help=said, add_help=False)
    verb = parser.parse_args(arguments[:1]).verb
    return VERBS[verb][0](arguments[1:])
