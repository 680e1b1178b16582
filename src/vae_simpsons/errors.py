"""Errors that the user can fix, each printed as one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from reprlib import Repr


class VAEError(Exception):
    """An error that the user can fix, as *name: what is wrong, with the value. What is accepted or what to do.*"""

    status = 1  # exit status of the command line


class UsageError(VAEError):
    """A command line that cannot be parsed; exit status 2."""

    status = 2


class Interrupted(VAEError):
    """A run that was stopped by a signal and saved; the exit status is 128 plus the signal's number, as in shells."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@contextmanager
def renamed(**names: str) -> Iterator[None]:
    """Names arguments in errors as the user does: under renamed(path="--ckpt"), "path: x" is "--ckpt: x"."""
    try:
        yield
    except VAEError as e:
        argument, separator, rest = str(e).partition(": ")
        if separator and argument in names:
            e.args = (f"{names[argument]}: {rest}",)
        raise


def one_line(text: object) -> str:
    """Returns `text` on one line, with what a terminal cannot show escaped."""
    return escape_unprintable(re.sub(r"\s*[^\S ]\s*", " ", str(text)).strip())


def escape_unprintable(text: str) -> str:
    """Returns `text` with control characters, and bytes of file names that are no UTF-8, escaped."""

    def escape(character: str) -> str:
        byte = ord(character) - 0xDC00  # how Python reads a byte that is no UTF-8
        return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else ascii(character)[1:-1]

    return text if text.isprintable() else "".join(c if c.isprintable() else escape(c) for c in text)


def shorten(value: object) -> str:
    """Returns `value` as Python writes it, cut to a length that fits an error message."""
    short = Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)


@contextmanager
def writing(name: str, path: object, give: str = "path") -> Iterator[None]:
    """Makes of an OSError in the block the error for a `path`, called `name`, where the user should `give` another."""
    try:
        yield
    except OSError as e:
        raise VAEError(f"{name}: cannot write {path}: {one_line(e.strerror or e)}. Give another {give}.") from None
