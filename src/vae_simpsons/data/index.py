"""What is known of the images of a folder once they have been read."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from vae_simpsons.data.folder import class_of


class Facts(NamedTuple):
    """What a file is, of itself."""

    sha256: str  # of its bytes
    width: int  # as stored, before EXIF turns it
    height: int
    format: str  # by content: JPEG, PNG ...
    mode: str  # Pillow's: RGB, L, P, RGBA, CMYK ...


class Unreadable(NamedTuple):
    """A file that training goes on without."""

    path: str
    reason: str


@dataclass(frozen=True)
class Index:
    """The N readable images of a folder, in the order of their paths."""

    paths: list[str] = field(default_factory=list)  # in the folder, with / between parts
    facts: list[Facts] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)  # near-duplicates have the same number: that of the first of them
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The sub-folder of each image."""
        return [class_of(path) for path in self.paths]

    def copies(self) -> list[list[int]]:
        """The images with the same bytes, set by set, in the order of their first; most sets have one image."""
        sets: dict[str, list[int]] = defaultdict(list)
        for i, facts in enumerate(self.facts):
            sets[facts.sha256].append(i)
        return list(sets.values())

    def near_duplicates(self) -> list[list[int]]:
        """The images of each group, in the order of their first; most groups have one image."""
        sets: dict[int, list[int]] = defaultdict(list)
        for i, group in enumerate(self.groups):
            sets[group].append(i)
        return list(sets.values())

    def left_out(self) -> str | None:
        """How many images could not be read, the first few by name and why; None where all could."""
        if not self.unreadable:
            return None
        named = "; ".join(f"{path!r}: {reason}" for path, reason in self.unreadable[:5])
        more = f"; and {len(self.unreadable) - 5} more" if len(self.unreadable) > 5 else ""
        return f"{len(self.unreadable):,} left out: {named}{more}"
