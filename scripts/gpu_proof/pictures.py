"""Part 6: what the runs drew, as few PNG files as can be taken home."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from gpu_proof.setup import Deadline, Notes, Setup

MOST_FILES = 6  # with proof.json and proof.md there are eight
MOST_BYTES = 16_000_000


def copy_pictures(setup: Setup, notes: Notes, deadline: Deadline) -> None:
    """Copy the last samples and reconstructions of each run, and the published run's first ones, into `out`."""
    chosen = choose_pictures(find_pictures(setup.work))
    for name, path in chosen:
        shutil.copyfile(path, setup.out / name)
    notes.add(files=[name for name, _ in chosen], total_bytes=sum(path.stat().st_size for _, path in chosen))


def find_pictures(work: Path) -> list[tuple[str, Path]]:
    """The names that pictures will have, and where they are, the most wanted first."""
    runs = {"published": work / "published" / "run"}
    runs |= {path.name: path / "run" for path in sorted((work / "quality").glob("*"))}
    drawn = {
        name: {kind: sorted((run / "pictures").glob(f"*{kind}_*.png")) for kind in ("samples", "reconstructions")}
        for name, run in runs.items()
    }
    last = [
        (name, found[-1])
        for kinds in zip(*(d.values() for d in drawn.values()), strict=True)
        for name, found in zip(drawn, kinds, strict=True)
        if found
    ]
    first = [("published", found[0]) for found in drawn["published"].values() if len(found) > 1]
    return [(plain_name(f"{name}_{path.name}"), path) for name, path in last + first]


def plain_name(name: str) -> str:
    """`name` in letters, digits, '.', '_' and '-' alone."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def choose_pictures(
    found: Sequence[tuple[str, Path]], most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES
) -> list[tuple[str, Path]]:
    """The first of them that are at most so many, and so many bytes in all; one that is too large is left out."""
    chosen, total = [], 0
    for name, path in found:
        size = path.stat().st_size
        if len(chosen) < most_files and total + size <= most_bytes:
            chosen.append((name, path))
            total += size
    return chosen
