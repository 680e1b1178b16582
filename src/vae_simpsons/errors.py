"""What a user can put right, said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager


class VAEError(Exception):
    """A fault that the user can mend; the command line prints it as one line and exits with 1.

    Written as: *setting: what is wrong, with the value. What is accepted. What to do.*
    A fault of ours is never a VAEError: it keeps its traceback.
    """

    status = 1  # that the command line exits with


class UsageError(VAEError):
    """A command line that cannot be understood; exits with 2."""

    status = 2


class Interrupted(VAEError):
    """A run that a signal has ended in good order; exits with 128 and the signal's number, as shells count."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@contextmanager
def renamed(**names: str) -> Iterator[None]:
    """Names a function's arguments in its errors as the caller's user does.

    In a block under renamed(path="--ckpt"), a VAEError that begins with "path: " begins with "--ckpt: " instead.
    """
    try:
        yield
    except VAEError as e:
        argument, separator, rest = str(e).partition(": ")
        if separator and argument in names:
            e.args = (f"{names[argument]}: {rest}",)
        raise


def one_line(text: object) -> str:
    """`text` with each run of white space, newlines included, as one space, and what terminals obey spelt out."""
    words = " ".join(str(text).split())
    return words if words.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def cannot_write(setting: str, path: object, error: OSError, give: str = "folder") -> VAEError:
    """The error for a path that the system will not write to, where the user is to give another `give`."""
    return VAEError(f"{setting}: cannot write {path}: {one_line(error.strerror or error)}. Give another {give}.")
