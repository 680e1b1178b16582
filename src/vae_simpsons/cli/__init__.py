"""The command line: finds the verb, parses its options and calls its handler.

The handlers import torch, the modules do not, so that help is instant.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vae_simpsons import __version__
from vae_simpsons.cli.compare import COMPARE
from vae_simpsons.cli.data import CHECK, IMPORT, TOONS
from vae_simpsons.cli.encode import ENCODE
from vae_simpsons.cli.evaluate import EVALUATE
from vae_simpsons.cli.export import EXPORT
from vae_simpsons.cli.parsing import Parser, Verb
from vae_simpsons.cli.sample import SAMPLE
from vae_simpsons.cli.train import TRAIN
from vae_simpsons.errors import VAEError, one_line

EXAMPLES = """examples:
  vae train --config configs/toons.yaml
  vae train --config configs/simpsons.yaml --data.path my_pictures
  vae train --config configs/toons.yaml --resume last
  vae data check my_pictures
  vae sample --ckpt runs/toons/<time>/last.ckpt -n 64
  vae encode my_pictures --ckpt runs/toons/<time>/last.ckpt --out latents
  vae evaluate --ckpt runs/toons/<time>/last.ckpt
  vae export --ckpt runs/toons/<time>/last.ckpt --out toons_model

'vae train -h' lists the settings, 'vae train --help' explains them.
"""


class Group(NamedTuple):
    """Verbs that share their first word."""

    summary: str
    verbs: Mapping[str, "Verb | Group"]


DATA = Group(
    "check a folder of images, unpack an archive, draw cartoon faces",
    {"check": CHECK, "import": IMPORT, "toons": TOONS},
)
VERBS = Group(
    "Train a variational autoencoder on a folder of images and sample from it.",
    {
        "train": TRAIN,
        "sample": SAMPLE,
        "encode": ENCODE,
        "evaluate": EVALUATE,
        "compare": COMPARE,
        "export": EXPORT,
        "data": DATA,
    },
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status.

    0: done, 1: something the user can fix, 2: wrong usage, 128 and more: stopped by a signal.
    """
    try:
        return run(list(sys.argv[1:] if argv is None else argv))
    except VAEError as e:
        print(f"vae: {one_line(e)}", file=sys.stderr)
        return e.status
    except KeyboardInterrupt as e:
        print(f"vae: interrupted. {one_line(e)}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `| head`, has stopped. Without this, Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run(arguments: list[str]) -> int:
    """Finds the verb that `arguments` begin with and runs it on the rest."""
    verb, words = find_verb(arguments)
    options = verb_parser(verb, words).parse_args(arguments[len(words) :])
    options.command = ["vae", *arguments]
    return verb.run(options)


def find_verb(arguments: list[str]) -> tuple[Verb, list[str]]:
    """Returns the verb that `arguments` begin with, and the words of its name."""
    words: list[str] = []
    found: Verb | Group = VERBS
    while isinstance(found, Group):
        parser = group_parser(found, words)
        words.append(parser.parse_args(arguments[len(words) :][:1]).verb)
        found = found.verbs[words[-1]]
    return found, words


def group_parser(group: Group, words: list[str]) -> Parser:
    """Returns the parser of a word that other words must follow."""
    top = group is VERBS
    parser = Parser(" ".join(["vae", *words]), description=sentence(group.summary), epilog=EXAMPLES if top else None)
    if top:
        parser.add_argument("--version", action="version", version=f"vae-simpsons {__version__}")
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="{" + ",".join(group.verbs) + "}", required=True)
    for name, verb in group.verbs.items():
        verbs.add_parser(name, help=verb.summary)  # only lists it: its options are added by verb_parser
    return parser


def verb_parser(verb: Verb, words: list[str]) -> Parser:
    """Returns the parser of a verb's options."""
    parser = Parser(" ".join(["vae", *words]), description=sentence(verb.summary))
    verb.add_options(parser)
    return parser


def sentence(summary: str) -> str:
    """Returns a line of a list as a sentence."""
    return summary[0].upper() + summary[1:].rstrip(".") + "."
