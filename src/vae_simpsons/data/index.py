"""What is known of the images of a folder after reading them."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from posixpath import dirname
from typing import NamedTuple

import numpy as np


class Facts(NamedTuple):
    """What a file contains."""

    sha256: str  # of its bytes
    width: int  # as stored, before EXIF orientation
    height: int
    format: str  # by content: JPEG, PNG ...
    mode: str  # Pillow's: RGB, L, P, RGBA, CMYK ...


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

    def left_out(self) -> str | None:
        """How many images are unreadable, the first five by name and why; None if there are none."""
        if not self.unreadable:
            return None
        named = "; ".join(f"{path!r}: {reason}" for path, reason in self.unreadable[:5])
        more = f"; and {len(self.unreadable) - 5} more" if len(self.unreadable) > 5 else ""
        return f"{len(self.unreadable):,} left out: {named}{more}"


def _positions_by_value(values: Iterable[Hashable]) -> list[list[int]]:
    positions: dict[Hashable, list[int]] = defaultdict(list)
    for i, value in enumerate(values):
        positions[value].append(i)
    return list(positions.values())
