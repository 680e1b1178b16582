"""The pictures of runs, epoch by epoch, under one slider: thinned out until they fit."""

import json
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vae_simpsons.data.order import spread
from vae_simpsons.evaluation.embed import webp, webp_uri
from vae_simpsons.evaluation.page import clean, paragraph
from vae_simpsons.evaluation.runs import FinishedRun
from vae_simpsons.progress import Progress

KINDS = ("samples", "reconstructions", "traversal")  # in the order shown
BUDGET = 9_000_000  # bytes of all pictures in the page
WIDTH, QUALITY = 480, 72  # pixels, and of lossy WebP
MOST_PIXELS = 40_000_000  # of a picture; one that claims more is not opened
THINNER = 0.8  # by which the number of epochs shrinks while they do not fit


class Shown(NamedTuple):
    """The slider, and what it leaves out."""

    html: str
    epochs: int  # that it shows
    of: int  # that the runs have


Frames = Callable[[Path], str]  # the picture at a path as a data URI; nothing where it cannot be read


def epoch_slider(runs: Sequence[FinishedRun], progress: Progress, budget: int = BUDGET) -> Shown:
    """Returns the runs' pictures beside each other, of the epoch that a slider says; at most `budget` bytes of them."""
    epochs = sorted({epoch for run in runs for kind in KINDS for epoch in run.pictures.get(kind, ())})
    if not epochs:
        return Shown("", 0, 0)
    frames, count = cache(_frame), len(epochs)
    ends = sum(len(frames(path)) for run in runs for path in _of_epochs(run, epochs[-1:]))
    count = max(1, min(count, int(budget / max(1, ends))))
    report = progress("reading pictures", count)
    while True:
        chosen = evenly(epochs, count)
        size = 0
        for number, epoch in enumerate(chosen):
            size += sum(len(frames(path)) for run in runs for path in _of_epochs(run, [epoch]))
            report(min(number + 1, count))
        if size <= budget or count == 1:
            break
        count = max(1, int(THINNER * count))
    return Shown(
        _slider(chosen) + "".join(_kind(kind, runs, chosen, frames) for kind in KINDS), len(chosen), len(epochs)
    )


def evenly(epochs: Sequence[int], count: int) -> list[int]:
    """Returns `count` of `epochs`, evenly spread, the last among them, and the first where there are two."""
    return [epochs[i] for i in spread(len(epochs), count)] if count > 1 else [epochs[-1]]


def last_pictures(runs: Sequence[FinishedRun], kind: str) -> str:
    """Returns the last picture of a kind of each run, in columns; nothing where no run has one."""
    columns = [_column(run.name, [max(p)], p, _frame) for run in runs if (p := run.pictures.get(kind))]
    return f'<div class="runs">{"".join(columns)}</div>' if columns else ""


def _of_epochs(run: FinishedRun, epochs: Sequence[int]) -> list[Path]:
    """Returns the pictures of a run of these epochs, of every kind."""
    return [run.pictures[k][e] for k in KINDS if k in run.pictures for e in epochs if e in run.pictures[k]]


def _slider(epochs: Sequence[int]) -> str:
    last = len(epochs) - 1
    words = f"epoch {epochs[-1]}"
    slider = (
        f'<input type="range" min="0" max="{last}" value="{last}" aria-label="epoch" aria-valuetext="{words}" '
        f'data-epochs="{escape(json.dumps(list(epochs)))}">'
    )
    return f'<div class="slider">{slider}<output>{words}</output></div>'


def _kind(kind: str, runs: Sequence[FinishedRun], epochs: Sequence[int], frames: Frames) -> str:
    columns = [_column(run.name, epochs, run.pictures.get(kind, {}), frames) for run in runs]
    if not any("<img" in column for column in columns):
        return ""
    return f'<h3>{clean(kind)}</h3><div class="runs">{"".join(columns)}</div>'


def _column(name: str, epochs: Sequence[int], pictures: dict[int, Path], frames: Frames) -> str:
    """Returns a run's pictures of `epochs`, all hidden but the last."""
    found = [(epoch, frames(pictures[epoch])) for epoch in epochs if epoch in pictures]
    found = [(epoch, uri) for epoch, uri in found if uri]
    tags = "".join(
        f'<img src="{uri}" alt="{clean(name)}, epoch {epoch}" data-epoch="{epoch}"'
        f"{'' if epoch == found[-1][0] else ' hidden'}>"
        for epoch, uri in found
    )
    content = f'<div class="stack">{tags}</div>' if tags else paragraph("No pictures.", "note")
    return f"<figure>{content}<figcaption>{clean(name)}</figcaption></figure>"


def _frame(path: Path) -> str:
    """Returns the picture at `path` as the data URI of a small WebP; nothing where it is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    return ""
                picture = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    if picture.width > WIDTH:
        height = max(1, round(picture.height * WIDTH / picture.width))
        picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    return webp_uri(webp(picture, quality=QUALITY))
