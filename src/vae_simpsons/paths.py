"""Paths as users write them: with ~ for a home folder, and quoted for a shell."""

import os
import re
import shlex
import subprocess
from pathlib import Path

from vae_simpsons.errors import VAEError, shorten


def expand_home(name: str, path: str | os.PathLike) -> str:
    """Returns `path`, which the user calls `name`, with ~ and ~user replaced; ./~ stays a name.

    Raises:
        VAEError: no such user, or none whose home folder is known.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        user = expanded.split(os.sep)[0]
        whose = f"there is no user {user[1:]!r}" if user[1:] else "this user has no home folder"
        raise VAEError(f"{name}: {shorten(str(path))}: {whose}. Write the path in full, or ./{user} for that name.")
    return os.path.abspath(expanded) if str(Path(expanded)).startswith("~") else expanded


def for_shell(path: object) -> str:
    """Returns `path` as a shell takes it, in a command that is printed for the user."""
    text = str(path)
    return quoted(os.path.join(".", text) if text.startswith("-") else text)  # which would be taken for an option


def quoted(text: str) -> str:
    """Returns `text` as one word for a shell, every byte of it."""
    if os.name == "nt":
        return subprocess.list2cmdline([text])
    if text.isprintable():
        return shlex.quote(text)
    escaped = re.sub(rb"[^\w./-]", lambda found: b"\\x%02x" % found[0][0], os.fsencode(text))
    return f"$'{escaped.decode()}'"
