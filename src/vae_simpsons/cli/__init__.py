"""The command line: parses a verb with its options and calls its handler.

The handlers import torch, the modules do not, so that help is instant.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence

from vae_simpsons import __version__
from vae_simpsons.cli.arithmetic import ARITHMETIC
from vae_simpsons.cli.compare import COMPARE
from vae_simpsons.cli.data import DATA
from vae_simpsons.cli.decode import DECODE
from vae_simpsons.cli.evaluate import EVALUATE
from vae_simpsons.cli.explore import EXPLORE
from vae_simpsons.cli.fit_prior import FIT_PRIOR
from vae_simpsons.cli.interpolate import INTERPOLATE
from vae_simpsons.cli.neighbors import NEIGHBORS
from vae_simpsons.cli.parsing import Group, Parser, Verb
from vae_simpsons.cli.reconstruct import RECONSTRUCT
from vae_simpsons.cli.sample import SAMPLE
from vae_simpsons.cli.train import TRAIN
from vae_simpsons.cli.trained import ENCODE, EXPORT
from vae_simpsons.cli.traverse import TRAVERSE
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import warn
from vae_simpsons.streams import safe_streams, say_lost

EXAMPLES = """examples:
  vae train --config configs/toons.yaml
  vae train --config configs/simpsons.yaml --data.path my_pictures
  vae train --config configs/toons.yaml --resume last
  vae sample --ckpt runs/toons/<time>/last.ckpt -n 64
  vae reconstruct my_pictures --ckpt runs/toons/<time>/last.ckpt

'vae train -h' lists the settings, 'vae train --help' explains them.
"""

VERBS: dict[str, Verb | Group] = {
    "train": TRAIN,
    "fit-prior": FIT_PRIOR,
    "sample": SAMPLE,
    "reconstruct": RECONSTRUCT,
    "interpolate": INTERPOLATE,
    "traverse": TRAVERSE,
    "arithmetic": ARITHMETIC,
    "neighbors": NEIGHBORS,
    "explore": EXPLORE,
    "evaluate": EVALUATE,
    "compare": COMPARE,
    "encode": ENCODE,
    "decode": DECODE,
    "export": EXPORT,
    "data": DATA,
}
ALL_IN_FILES = ("train", "fit-prior")  # verbs that have done their work even where nobody could read what they printed

# How the system's loader, torch on a CPU and torch on a GPU say that there is not enough memory.
NO_ROOM = ("failed to map segment", "DefaultCPUAllocator", "out of memory")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0: done, 1: something the user can fix, 2: wrong usage, 128 and more: interrupted."""
    with safe_streams() as out:
        status, verb = run_command(list(sys.argv[1:] if argv is None else argv))
        return status or int(say_lost(out) and verb not in ALL_IN_FILES)


def run_command(arguments: list[str]) -> tuple[int, str | None]:
    """Runs a command; returns its status and its verb."""
    options = Namespace(verb=None)
    try:
        options = build_parser().parse_args(arguments)
        options.command = ["vae", *arguments]
        return options.run(options) or 0, options.verb
    except VAEError as e:
        warn(str(e))
        return e.status, options.verb
    except KeyboardInterrupt as e:
        warn(f"interrupted. {e}")
        return 130, options.verb
    except (ImportError, MemoryError, RuntimeError) as e:
        if not isinstance(e, MemoryError) and not any(text in str(e) for text in NO_ROOM):
            raise
        warn(
            "there is not enough memory. Free some, raise the limit of this shell (ulimit -v unlimited), or train with "
            "a smaller --data.batch_size."
        )
        return 1, options.verb


def build_parser() -> Parser:
    """Returns the parser of the whole command line."""
    summary = "Train a variational autoencoder on a folder of images and sample from it."
    parser = Parser(prog="vae", description=summary, epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"vae-simpsons {__version__}")
    add_verbs(parser, VERBS)
    return parser


def add_verbs(parser: Parser, verbs: Mapping[str, Verb | Group]) -> None:
    """Adds verbs with their options and the verbs inside them."""
    names = "VERB [--help]" if verbs is VERBS else "{" + ",".join(verbs) + "}"
    choice = parser.add_subparsers(title="verbs", dest="verb", metavar=names, required=True)
    for name, verb in verbs.items():
        inner = choice.add_parser(name, help=verb.summary, description=verb.summary[0].upper() + verb.summary[1:] + ".")
        if isinstance(verb, Group):
            add_verbs(inner, verb.verbs)
        else:
            verb.add_options(inner)
            inner.set_defaults(run=verb.run)
