"""What is in a folder of images, what is skipped and why, and what would train. For `vae data check`."""

import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vae_simpsons.data.archive import unpack
from vae_simpsons.data.cache import cache_folder, cannot_write_cache
from vae_simpsons.data.colour import CONVERTED, IGNORED
from vae_simpsons.data.folder import find_files
from vae_simpsons.data.index import Index, check_readable
from vae_simpsons.data.members import is_archive
from vae_simpsons.data.pack import read_images
from vae_simpsons.data.split import check_count, draw_split
from vae_simpsons.errors import VAEError, one_line, renamed
from vae_simpsons.files import format_bytes
from vae_simpsons.progress import Progress, format_about
from vae_simpsons.settings import Data, Settings

MAX_LINES = 8  # of each list in the text; the JSON has all


@dataclass
class Report:
    """What `vae data check` has found."""

    source: Path
    data: Data
    index: Index
    seconds: float  # that reading the images took
    one_value: list[str] = field(default_factory=list)  # images of one colour, by path
    train: int = 0  # images
    validate: int = 0
    problem: str | None = None  # why training would not start

    @property
    def readable(self) -> int:
        """How many images can be read."""
        return len(self.index.paths)


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
                found = unpack(source, Path(unpacked), progress)
                return _report_on_folder(source, found.images, settings, progress, found.index(found.images))
        except OSError as e:
            raise cannot_write_cache(cache, e) from None


def to_json(report: Report) -> dict[str, Any]:
    """Returns `report` for a machine; counts are by decreasing frequency."""
    index, data, facts = report.index, report.data, report.index.facts
    height, width = data.size
    return {
        "source": str(report.source),
        "files": report.readable + len(index.unreadable),
        "readable": report.readable,
        "unreadable": [file._asdict() for file in index.unreadable],
        "ignored": index.others,
        "formats": _count(f.format for f in facts),
        "modes": _count(f.mode for f in facts),
        "sizes": _count(f"{f.width}x{f.height}" for f in facts),
        "levels": index.levels,  # black and white of samples of more than 8 bits, by their type
        "profiles": _count(f.profile for f in facts if f.profile),
        "one_value": report.one_value,
        "smaller": sum(f.width < width or f.height < height for f in facts),  # they would be enlarged
        "copies": _paths_of(index, index.copies()),  # byte for byte
        "near_duplicates": _paths_of(index, index.near_duplicates()),  # copies included
        "classes": dict(sorted(Counter(index.classes).items())),
        "split": data.split,
        "train": report.train,
        "validate": report.validate,
        "left_out": report.readable - report.train - report.validate if report.train else 0,
        "problem": report.problem,
        "pack_bytes": math.prod((report.readable, data.channels, height, width)),
        "pack_seconds": round(report.seconds, 3),
    }


def format_report(report: Report) -> str:
    """Returns `report` for people, in lines."""
    r = to_json(report)
    lines = [f"{r['source']}: {r['files']:,} files, {r['readable']:,} readable, {len(r['unreadable']):,} not", ""]
    lines += _list("unreadable", [f"{u.path!r}: {u.reason}" for u in report.index.unreadable])
    lines += _list("ignored", [report.index.ignored() or ""]) if r["ignored"] else []
    for name in ("formats", "modes", "sizes"):
        lines += _list_counts(name, r[name])
    if r["levels"]:
        found = "found in this folder" if not report.data.levels else "as data.levels gives them, the rest found"
        lines += _list("levels", [f"{r['levels']}: black and white of more than 8 bits, {found}"])
    said = {CONVERTED: "converted to sRGB", IGNORED: "ignored: broken, or of other colours"}
    lines += _list("profiles", [f"{n:,} {said[outcome]}" for outcome, n in r["profiles"].items()])
    if r["one_value"]:
        lines += _list("one value", [f"{len(r['one_value']):,} images are of a single colour, perhaps by mistake"])
        lines += _list("", [repr(path) for path in r["one_value"]])
    if r["smaller"]:
        lines += _list("", [f"{r['smaller']:,} are smaller than what is trained on and will be enlarged"])
    lines += _list_counts("classes", {one_line(name) or "(no sub-folder)": n for name, n in r["classes"].items()})
    extra = sum(len(paths) - 1 for paths in r["copies"])
    lines += _list("copies", [f"{extra:,} files are byte for byte another one"])
    lines += _list("", [" = ".join(map(repr, paths)) for paths in r["copies"]])
    grouped = sum(map(len, r["near_duplicates"]))
    lines += _list("near-duplicates", [f"{grouped:,} images in {len(r['near_duplicates']):,} groups"])
    lines += _list("", [", ".join(map(repr, paths[:4])) for paths in r["near_duplicates"]])
    if r["problem"]:
        lines += _list("training", [f"would not start: {r['problem']}"])
    else:
        left_out = f", {r['left_out']:,} left out (copies)" if r["left_out"] else ""
        lines += _list(f"{r['split']} split", [f"{r['train']:,} would train, {r['validate']:,} validate{left_out}"])
    size, rate = format_bytes(r["pack_bytes"]), r["files"] / max(report.seconds, 1e-3)
    lines += _list("pack", [f"about {report.seconds:.1f} s ({rate:,.0f} images a second) and {size} of disk, once"])
    return "\n".join(lines)


def format_epoch(seconds: float, memory: int) -> str:
    """Returns what an epoch costs, as another line of the report."""
    cost = f"about {format_about(seconds)} and {format_bytes(memory)} of memory"
    return _list("epoch", [f"{cost}, for the autoencoder of these settings on this machine"])[0]


def _report_on_folder(
    source: Path, folder: Path, settings: Settings, progress: Progress, begun: Index | None = None
) -> Report:
    others: Counter[str] = Counter()
    files = find_files(folder, others)
    one_value: list[bool] = []

    def note(pixels: np.ndarray) -> None:
        one_value.extend((pixels == pixels[..., :1, :1]).all(axis=(1, 2, 3)))

    def begin() -> nullcontext:
        one_value.clear()
        return nullcontext(note)

    start = time.monotonic()
    index = read_images(folder, files, settings.data, progress, begin, begun or Index(others=others))
    report = Report(source, settings.data, index, time.monotonic() - start)
    report.one_value = [path for path, is_one in zip(index.paths, one_value, strict=True) if is_one]
    try:
        check_readable(index)
        split = draw_split(index, settings.data, settings.seed)
        report.train, report.validate = len(split.train), len(split.val)
        check_count(split, settings.data, processes=1)
    except VAEError as e:
        report.problem = str(e)
    return report


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _paths_of(index: Index, sets: list[list[int]]) -> list[list[str]]:
    """Returns the paths of those of `sets` that have two images or more."""
    return [[index.paths[i] for i in images] for images in sets if len(images) > 1]


def _list_counts(name: str, counts: dict[str, int]) -> list[str]:
    """Returns the most frequent of `counts` in one line, no line if there are none."""
    entries = [f"{key} {n:,}" for key, n in sorted(counts.items(), key=lambda item: -item[1])]
    return _list(name, [", ".join(_shortened(entries))]) if entries else []


def _list(name: str, entries: list[str]) -> list[str]:
    """Returns a line for each of the first `entries`, `name` in front of the first."""
    return [f"{name if i == 0 else '':>15}  {entry}" for i, entry in enumerate(_shortened(entries))]


def _shortened(entries: list[str]) -> list[str]:
    more = [f"and {len(entries) - MAX_LINES:,} more"] if len(entries) > MAX_LINES else []
    return entries[:MAX_LINES] + more
