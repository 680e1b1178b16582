"""How work goes, for people: bars on a terminal, warnings, durations in words."""

import sys
from collections.abc import Callable

from tqdm import tqdm

# A display is asked for with what is being done and how many there are to do (0: nobody knows), and returns what is
# called with the number done.
Progress = Callable[[str, int], Callable[[int], None]]


def bar(title: str, total: int) -> Callable[[int], None]:
    """A bar with the time left, gone when all is done; silent off a terminal."""
    shown = tqdm(
        total=total or None, desc=title, unit="", dynamic_ncols=True, disable=not sys.stderr.isatty(), leave=False
    )

    def done(count: int) -> None:
        shown.update(count - shown.n)
        if count >= total > 0:
            shown.close()

    return done


progress_bar = bar


def silent(title: str, total: int) -> Callable[[int], None]:
    """Nothing: another process speaks."""
    return lambda count: None


def warn(text: str) -> None:
    """Say `text` on stderr, as the command line says its errors, and go on."""
    print(f"vae: {text}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`seconds` for people: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
