"""What is printed: it never ends a command, and what a terminal or its encoding cannot show is escaped."""

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from vae_simpsons.errors import escape_unprintable, one_line

LINES = re.compile(r"(\n|\t)")  # what stands between words
BARS = re.compile(r"(\n|\t|\r|\x1b\[A)")  # and what a progress bar moves with


class Stream:
    """Stands for stdout or stderr: text that can be shown there, until it cannot be written any more."""

    def __init__(self, stream: TextIO, keeps: re.Pattern) -> None:
        self.stream, self.keeps = stream, keeps
        self.failed: OSError | ValueError | None = None  # a ValueError from one that was closed

    def write(self, text: str) -> int:
        """Writes `text`, escaped where need be; returns its length, as streams do."""
        parts = self.keeps.split(text)  # every second one is to be kept
        parts[::2] = map(escape_unprintable, parts[::2])
        encoding = self.encoding or "utf-8"
        self._try(self.stream.write, "".join(parts).encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, act: Callable[..., object], *arguments: object) -> None:
        if self.failed is None:
            try:
                act(*arguments)
            except (OSError, ValueError) as e:
                self.failed = e
                with suppress(OSError, ValueError):  # what waits in its buffer would fail again when Python ends
                    os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def safe_streams() -> Iterator[Stream]:
    """Lets nothing that is printed in this block raise an error; yields what stands for stdout."""
    open_missing_streams()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Stream(before[0], LINES), Stream(before[1], BARS)
    try:
        yield sys.stdout
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def open_missing_streams() -> None:
    """Opens what the shell closed (2>&-), to nowhere; the next file that is opened would get its number, and output."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")


def say_lost(out: Stream) -> bool:
    """Whether what was printed was lost, as on a full disk, which a line on stderr then says; `| head` may stop."""
    out.flush()
    if out.failed is None or getattr(out.failed, "errno", None) == errno.EPIPE:
        return False
    print(f"vae: not all could be printed: {one_line(getattr(out.failed, 'strerror', out.failed))}.", file=sys.stderr)
    return True
