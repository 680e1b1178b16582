"""What is known of the images of a folder after reading them."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from posixpath import dirname
from typing import NamedTuple

import numpy as np

from vae_simpsons.data.formats import EXTENSIONS, HEIC_EXTENSIONS, HEIC_PLUGIN
from vae_simpsons.errors import VAEError, one_line

MAX_UNREADABLE = 0.1  # share of unreadable images above which a folder is not a data set
SHOWN_OTHERS = 8
IN_ARCHIVE = "damaged in the archive"  # why an image is unreadable


class Facts(NamedTuple):
    """What a file contains."""

    sha256: str  # of its bytes
    width: int  # as stored, before EXIF orientation
    height: int
    format: str  # by content: JPEG, PNG ...
    mode: str  # Pillow's: RGB, L, P, RGBA, CMYK ...
    profile: str = ""  # what became of its colour profile: colour.CONVERTED, colour.IGNORED or nothing


class Unreadable(NamedTuple):
    """A file that is skipped."""

    path: str
    reason: str


@dataclass(frozen=True)
class Index:
    """The N readable images of a folder, sorted by path."""

    paths: list[str] = field(default_factory=list)  # relative to the folder, with / between parts
    facts: list[Facts] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)  # near-duplicates share a number, that of the first of them
    unreadable: list[Unreadable] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)  # how many other files there are, by ending or reason
    levels: str | None = None  # black and white of samples of more than 8 bits, as the setting data.levels has them

    @property
    def classes(self) -> list[str]:
        """The class of each image: the sub-folder that it is in; '' at the top."""
        return [dirname(path) for path in self.paths]

    @property
    def class_names(self) -> list[str]:
        """The names of all classes, sorted."""
        return sorted(set(self.classes))

    @property
    def labels(self) -> np.ndarray:
        """The class of each image, int64 (N,), as an index into `class_names`."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        return np.array([numbers[name] for name in self.classes], dtype=np.int64)

    def copies(self) -> list[list[int]]:
        """The images with the same bytes, set by set, in the order of their first; most sets have one image."""
        return _positions_by_value(facts.sha256 for facts in self.facts)

    def near_duplicates(self) -> list[list[int]]:
        """The images of each group, in the order of their first; most groups have one image."""
        return _positions_by_value(self.groups)

    def ignored(self) -> str | None:
        """How many files are ignored, by ending, and what would read them; None if there are none."""
        count = sum(self.others.values())
        return f"{count:,} other {'file' if count == 1 else 'files'}: {describe_others(self.others)}" if count else None

    def left_out(self) -> str | None:
        """How many images are unreadable, the first five by name and why; None if there are none."""
        if not self.unreadable:
            return None
        named = "; ".join(f"{path!r}: {reason}" for path, reason in self.unreadable[:5])
        more = f"; and {len(self.unreadable) - 5} more" if len(self.unreadable) > 5 else ""
        return f"{len(self.unreadable):,} left out: {named}{more}"


def describe_others(others: Mapping[str, int]) -> str:
    """Returns how many files are ignored, by ending or reason, the most frequent first, and what reads HEIC."""
    counts = sorted(others.items(), key=lambda entry: (-entry[1], entry[0]))
    entries = [f"{one_line(k)} {n:,}" if k.startswith(".") else f"{n:,} {k}" for k, n in counts[:SHOWN_OTHERS]]
    more = [f"and {len(counts) - SHOWN_OTHERS:,} other endings"] if len(counts) > SHOWN_OTHERS else []
    heic = set(others).intersection(HEIC_EXTENSIONS) - set(EXTENSIONS)
    hint = f" (pip install {HEIC_PLUGIN} reads {' and '.join(sorted(heic))})" if heic else ""
    return ", ".join(entries + more) + hint


def check_readable(index: Index) -> None:
    """Refuses a folder or an archive of which more than a tenth is unreadable."""
    count = len(index.paths) + len(index.unreadable)
    if len(index.unreadable) > MAX_UNREADABLE * count:
        path, reason = index.unreadable[0]
        remedy = "download the archive again" if reason == IN_ARCHIVE else "fix or remove them"
        raise VAEError(
            f"data.path: {len(index.unreadable)} of {count} images are unreadable, the first {path!r} ({reason}). "
            f"Up to {MAX_UNREADABLE:.0%} are skipped. 'vae data check' lists them: {remedy}."
        )


def _positions_by_value(values: Iterable[Hashable]) -> list[list[int]]:
    positions: dict[Hashable, list[int]] = defaultdict(list)
    for i, value in enumerate(values):
        positions[value].append(i)
    return list(positions.values())
