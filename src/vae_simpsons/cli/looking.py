"""Options that the verbs that look at a model share."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from vae_simpsons.cli.parsing import Parser
from vae_simpsons.cli.trained import add_cache_dir, add_checkpoint, add_device
from vae_simpsons.errors import VAEError, cannot_write


def add_model(parser: Parser) -> None:
    """Adds --ckpt, --data.cache_dir and --device."""
    add_checkpoint(parser)
    add_cache_dir(parser)
    add_device(parser)


def add_run_images(parser: Parser, use: str) -> None:
    """Adds --data.path, for verbs that need the images of the run."""
    parser.add_argument("--data.path", dest="path", metavar="PATH", help=use)


def check_file(flag: str, path: str | None, ending: str) -> None:
    """Refuses a name for an output that has another ending, or is a folder.

    Raises:
        VAEError: naming `flag`.
    """
    if path is None:
        return
    if Path(path).suffix.lower() != ending:
        raise VAEError(f"{flag}: {path} does not end in {ending}, the format written. Give such a name.")
    if Path(path).is_dir():
        raise VAEError(f"{flag}: {path} is a folder. Give the name of a file.")


def write_json(flag: str, path: str, content: object) -> None:
    """Writes `content` as JSON; `path` is replaced atomically.

    Raises:
        VAEError: naming `flag`: it cannot be written.
    """
    _write_text(flag, path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_table(flag: str, path: str, rows: Sequence[dict[str, object]]) -> None:
    """Writes rows of the same keys as CSV; `path` is replaced atomically.

    Raises:
        VAEError: naming `flag`: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write_text(flag, path, text.getvalue())


def _write_text(flag: str, path: str, text: str) -> None:
    from vae_simpsons.files import atomic_path

    try:
        with atomic_path(Path(path)) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as e:
        raise cannot_write(flag, path, e, "path") from None
