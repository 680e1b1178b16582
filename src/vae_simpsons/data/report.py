"""What is in a folder of images: found, dropped and why; what would train. For `vae data check`."""

import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vae_simpsons.data import archive
from vae_simpsons.data.cache import cache_folder, cannot_keep, in_bytes
from vae_simpsons.data.folder import find_files
from vae_simpsons.data.index import Index, Unreadable
from vae_simpsons.data.pack import MOST_UNREADABLE, read_all
from vae_simpsons.data.split import split
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Settings

SHOWN = 8  # lines of each list that people are shown; --json has all


@dataclass(frozen=True)
class Report:
    """What `vae data check` found."""

    source: str
    files: int  # that by their names are images
    readable: int
    unreadable: list[Unreadable]
    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[str, int]  # 'width x height': images
    smaller: int  # than image_size on their short side: they are enlarged
    copies: list[list[str]]  # paths that are byte for byte the same
    near_duplicates: list[list[str]]  # paths of each group, exact copies among them
    classes: dict[str, int]
    split: str
    train: int
    validate: int
    left_out: int
    problem: str | None  # why training would not start
    pack_bytes: int
    pack_seconds: float


def check(source: Path, config: Settings, progress: Progress) -> Report:
    """Read everything in `source`, a folder or an archive, and say what it is; nothing is kept.

    Raises:
        VAEError: no such folder, no images in it.
    """
    if not archive.is_archive(source):
        return _check_folder(source, source, config, progress)
    cache = cache_folder(config.data)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as unpacked:
            return _check_folder(source, archive.unpack(source, Path(unpacked), progress).images, config, progress)
    except OSError as e:
        raise cannot_keep(cache, e) from None


def _check_folder(source: Path, folder: Path, config: Settings, progress: Progress) -> Report:
    data = config.data
    files = find_files(folder)
    began = time.monotonic()
    index = read_all(folder, files, data, progress)
    seconds = time.monotonic() - began
    train = validate = 0
    problem = None
    try:
        if len(index.unreadable) > MOST_UNREADABLE * len(files):
            raise VAEError(f"more than {MOST_UNREADABLE:.0%} of the images are unreadable")
        sides = split(index, data, config.seed)
        train, validate = len(sides.train), len(sides.val)
        if train < data.batch_size:
            raise VAEError(f"{train} training images are fewer than data.batch_size {data.batch_size}")
    except VAEError as e:
        problem = str(e)
    sizes = Counter((f.width, f.height) for f in index.facts)
    return Report(
        source=str(source),
        files=len(files),
        readable=len(index.paths),
        unreadable=index.unreadable,
        formats=dict(Counter(f.format for f in index.facts).most_common()),
        modes=dict(Counter(f.mode for f in index.facts).most_common()),
        sizes={f"{w}x{h}": n for (w, h), n in sizes.most_common()},
        smaller=sum(min(f.width, f.height) < data.image_size for f in index.facts),
        copies=paths_of(index, index.copies()),
        near_duplicates=paths_of(index, index.near_duplicates()),
        classes=dict(sorted(Counter(index.classes).items())),
        split=data.split,
        train=train,
        validate=validate,
        left_out=len(index.paths) - train - validate if train else 0,
        problem=problem,
        pack_bytes=len(index.paths) * data.channels * data.image_size**2,
        pack_seconds=round(seconds, 3),
    )


def paths_of(index: Index, sets: list[list[int]]) -> list[list[str]]:
    """The paths of those of `sets` that have two images or more."""
    return [[index.paths[i] for i in found] for found in sets if len(found) > 1]


def as_json(report: Report) -> dict[str, Any]:
    """`report` for a machine; an unreadable file is {path, reason}."""
    return asdict(report) | {"unreadable": [u._asdict() for u in report.unreadable]}


def in_words(report: Report) -> str:
    """`report` for people, in lines."""
    r = report
    groups, in_groups = len(r.near_duplicates), sum(map(len, r.near_duplicates))
    spare = sum(len(found) - 1 for found in r.copies)
    lines = [f"{r.source}: {r.files:,} files, {r.readable:,} readable, {len(r.unreadable):,} not", ""]
    lines += _list("unreadable", [f"{u.path!r}: {u.reason}" for u in r.unreadable])
    lines += _line("formats", r.formats) + _line("modes", r.modes) + _line("sizes", r.sizes)
    if r.smaller:
        lines.append(f"{'':>15}  {r.smaller:,} are smaller than what is trained on and will be enlarged")
    lines += _line("classes", {name or "(no sub-folder)": n for name, n in r.classes.items()})
    lines.append(f"{'copies':>15}  {spare:,} files are byte for byte another one")
    lines += _list("", [" = ".join(map(repr, found)) for found in r.copies])
    lines.append(f"{'near-duplicates':>15}  {in_groups:,} images in {groups:,} groups")
    lines += _list("", [", ".join(map(repr, found[:4])) for found in r.near_duplicates])
    if r.problem:
        lines.append(f"{'training':>15}  would not start: {r.problem}")
    else:
        dropped = f", {r.left_out:,} left out (copies)" if r.left_out else ""
        lines.append(f"{r.split + ' split':>15}  {r.train:,} would train, {r.validate:,} validate{dropped}")
    size, rate = in_bytes(r.pack_bytes), r.files / max(r.pack_seconds, 1e-3)
    lines.append(f"{'pack':>15}  about {r.pack_seconds:.1f} s ({rate:,.0f} images a second) and {size} of disk, once")
    return "\n".join(lines)


def _line(name: str, counts: dict[str, int]) -> list[str]:
    shown = [f"{key} {n:,}" for key, n in sorted(counts.items(), key=lambda item: -item[1])[:SHOWN]]
    more = [f"and {len(counts) - SHOWN:,} more"] if len(counts) > SHOWN else []
    return [f"{name:>15}  {', '.join(shown + more)}"] if counts else []


def _list(name: str, entries: list[str]) -> list[str]:
    shown = entries[:SHOWN] + ([f"and {len(entries) - SHOWN:,} more"] if len(entries) > SHOWN else [])
    return [f"{name if i == 0 else '':>15}  {entry}" for i, entry in enumerate(shown)]
