"""Progress bars, warnings, and durations in words."""

import os
import sys
from collections.abc import Callable

from tqdm import tqdm

from vae_simpsons.errors import one_line

# Called with a title and a total (0: unknown); returns a function that is called with the number done.
Progress = Callable[[str, int], Callable[[int], None]]


def progress_bar(title: str, total: int) -> Callable[[int], None]:
    """A `Progress` that shows a bar with the time left on a terminal, until all is done; elsewhere it shows nothing."""
    bar = tqdm(total=total or None, desc=title, unit="", dynamic_ncols=True, disable=not shows_bars(), leave=False)

    def show(done: int) -> None:
        bar.update(done - bar.n)
        if done >= total > 0:
            bar.close()

    return show


def shows_bars() -> bool:
    """Whether stderr is a terminal whose width is known, so that a line can be drawn again and again."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def no_progress(title: str, total: int) -> Callable[[int], None]:
    """A `Progress` that shows nothing, as in every process but the first."""
    return lambda done: None


def warn(text: str) -> None:
    """Prints a warning on stderr, as the command line prints errors."""
    print(f"vae: {one_line(text)}", file=sys.stderr, flush=True)


def format_duration(seconds: float) -> str:
    """Returns `seconds` in words: 45 s, 3 min 20 s, 2 h 5 min."""
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_epochs(count: int) -> str:
    """Returns a number of epochs in words: 1 epoch, 12 epochs."""
    return f"{count:,} epoch" if count == 1 else f"{count:,} epochs"


def format_about(seconds: float) -> str:
    """Returns a duration as roughly as it is known: 40 s, 4 minutes, 2.5 hours."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
