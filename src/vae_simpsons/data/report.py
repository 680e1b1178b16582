"""What is in a folder of images, what is skipped and why, and what would train. For `vae data check`."""

import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vae_simpsons.data.archive import unpack
from vae_simpsons.data.cache import cache_folder, cannot_write_cache
from vae_simpsons.data.folder import find_files
from vae_simpsons.data.index import Index, Unreadable
from vae_simpsons.data.members import is_archive
from vae_simpsons.data.pack import read_images
from vae_simpsons.data.requirements import check_count, check_readable
from vae_simpsons.data.split import draw_split
from vae_simpsons.errors import VAEError, renamed
from vae_simpsons.files import format_bytes
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Settings

MAX_LINES = 8  # of each list in the text; the JSON has all


@dataclass(frozen=True)
class Report:
    """What `vae data check` reports."""

    source: str
    files: int  # with the name of an image
    readable: int
    unreadable: list[Unreadable]
    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[str, int]  # 'width x height': images
    smaller: int  # than image_size on their short side: they are enlarged
    copies: list[list[str]]  # paths of files that are byte for byte the same
    near_duplicates: list[list[str]]  # paths of each group, exact copies included
    classes: dict[str, int]
    split: str
    train: int
    validate: int
    left_out: int
    problem: str | None  # why training would not start
    pack_bytes: int
    pack_seconds: float


def make_report(source: Path, settings: Settings, progress: Progress) -> Report:
    """Reads every image of `source`, a folder or an archive, and reports on it; nothing is kept.

    Raises:
        VAEError: no such folder, no images in it; the cache cannot be written.
    """
    with renamed(archive="data.path"):
        if not is_archive(source):
            return _report_on_folder(source, source, settings, progress)
        cache = cache_folder(settings.data)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as unpacked:
                images = unpack(source, Path(unpacked), progress).images
                return _report_on_folder(source, images, settings, progress)
        except OSError as e:
            raise cannot_write_cache(cache, e) from None


def to_json(report: Report) -> dict[str, Any]:
    """Returns `report` for a machine; an unreadable file is {path, reason}."""
    return asdict(report) | {"unreadable": [u._asdict() for u in report.unreadable]}


def format_report(r: Report) -> str:
    """Returns report `r` for people, in lines."""
    lines = [f"{r.source}: {r.files:,} files, {r.readable:,} readable, {len(r.unreadable):,} not", ""]
    lines += _list("unreadable", [f"{u.path!r}: {u.reason}" for u in r.unreadable])
    lines += _counts("formats", r.formats) + _counts("modes", r.modes) + _counts("sizes", r.sizes)
    if r.smaller:
        lines += _list("", [f"{r.smaller:,} are smaller than what is trained on and will be enlarged"])
    lines += _counts("classes", {name or "(no sub-folder)": n for name, n in r.classes.items()})
    extra = sum(len(paths) - 1 for paths in r.copies)
    lines += _list("copies", [f"{extra:,} files are byte for byte another one"])
    lines += _list("", [" = ".join(map(repr, paths)) for paths in r.copies])
    grouped = sum(map(len, r.near_duplicates))
    lines += _list("near-duplicates", [f"{grouped:,} images in {len(r.near_duplicates):,} groups"])
    lines += _list("", [", ".join(map(repr, paths[:4])) for paths in r.near_duplicates])
    if r.problem:
        lines += _list("training", [f"would not start: {r.problem}"])
    else:
        left_out = f", {r.left_out:,} left out (copies)" if r.left_out else ""
        lines += _list(f"{r.split} split", [f"{r.train:,} would train, {r.validate:,} validate{left_out}"])
    size, rate = format_bytes(r.pack_bytes), r.files / max(r.pack_seconds, 1e-3)
    lines += _list("pack", [f"about {r.pack_seconds:.1f} s ({rate:,.0f} images a second) and {size} of disk, once"])
    return "\n".join(lines)


def _report_on_folder(source: Path, folder: Path, settings: Settings, progress: Progress) -> Report:
    data = settings.data
    files = find_files(folder)
    start = time.monotonic()
    index = read_images(folder, files, data, progress)
    seconds = time.monotonic() - start
    train, validate, problem = _split_or_problem(index, settings)
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
        copies=_paths_of(index, index.copies()),
        near_duplicates=_paths_of(index, index.near_duplicates()),
        classes=dict(sorted(Counter(index.classes).items())),
        split=data.split,
        train=train,
        validate=validate,
        left_out=len(index.paths) - train - validate if train else 0,
        problem=problem,
        pack_bytes=len(index.paths) * data.channels * data.image_size**2,
        pack_seconds=round(seconds, 3),
    )


def _split_or_problem(index: Index, settings: Settings) -> tuple[int, int, str | None]:
    """Returns how many images would train and validate, and the error that training would end in, if any."""
    train = validate = 0
    try:
        check_readable(index)
        split = draw_split(index, settings.data, settings.seed)
        train, validate = len(split.train), len(split.val)
        check_count(split, settings.data, processes=1)
    except VAEError as e:
        return train, validate, str(e)
    return train, validate, None


def _paths_of(index: Index, sets: list[list[int]]) -> list[list[str]]:
    """Returns the paths of those of `sets` that have two images or more."""
    return [[index.paths[i] for i in images] for images in sets if len(images) > 1]


def _counts(name: str, counts: dict[str, int]) -> list[str]:
    """Returns the most frequent of `counts` in one line, no line if there are none."""
    entries = [f"{key} {n:,}" for key, n in sorted(counts.items(), key=lambda item: -item[1])]
    return _list(name, [", ".join(_shortened(entries))]) if entries else []


def _list(name: str, entries: list[str]) -> list[str]:
    """Returns a line for each of the first `entries`, `name` in front of the first."""
    return [f"{name if i == 0 else '':>15}  {entry}" for i, entry in enumerate(_shortened(entries))]


def _shortened(entries: list[str]) -> list[str]:
    more = [f"and {len(entries) - MAX_LINES:,} more"] if len(entries) > MAX_LINES else []
    return entries[:MAX_LINES] + more
