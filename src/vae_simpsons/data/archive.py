"""A zip or tar of images -> a folder of them, whatever else a stranger put into it.

Nothing is written outside of the folder, no link is made, no name is trusted, and bytes are counted as they are
unpacked, not as the archive claims. Only images come out, recognised by their first bytes.
"""

import errno
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vae_simpsons.data.folder import EXTENSIONS, File
from vae_simpsons.data.members import DAMAGED, Member, open_members
from vae_simpsons.errors import VAEError
from vae_simpsons.files import format_bytes
from vae_simpsons.progress import Progress

MAX_MEMBERS = 5_000_000
MAX_IMAGE_BYTES = 2**28  # of one file, unpacked
MAX_RATIO = 200  # unpacked to packed bytes of a whole archive; images hardly shrink
FREE_BYTES = 2**26  # that any archive may unpack to, whatever its ratio
SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM|GIF8[79]a|II\*\0|MM\0\*", re.DOTALL)
SIGNATURE_BYTES = 12
BAD_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ)

# The Kaggle archive "The Simpsons Characters Data": one folder a character in KAGGLE, all of it again in
# KAGGLE/KAGGLE, and test pictures, without folders, in KAGGLE_TEST.
KAGGLE, KAGGLE_TEST = "simpsons_dataset", "kaggle_simpson_testset"
CHARACTERS, TEST = "characters", "test"


@dataclass
class Unpacked:
    """What came out of an archive."""

    images: Path  # the folder to train on
    test: Path | None = None  # test pictures, kept separate
    written: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # entries by the reason


@dataclass
class Budget:
    """How many bytes may still be unpacked."""

    left: int
    archive: Path

    def spend(self, count: int) -> None:
        """Counts unpacked bytes.

        Raises:
            VAEError: more than the images in an archive of this size can have.
        """
        self.left -= count
        if self.left < 0:
            raise VAEError(
                f"archive: {self.archive} unpacks to more than {MAX_RATIO} times its size, as a bomb does and images "
                "do not. Unpack it yourself if you trust it."
            )


def as_file(path: Path) -> File:
    """Returns the archive itself as the one file that a pack's name depends on."""
    status = path.stat()
    return File(path.name, status.st_size, status.st_mtime_ns)


def unpack(archive: Path, folder: Path, progress: Progress) -> Unpacked:
    """Writes the images of `archive` into `folder`, which is made.

    Of the Kaggle archive `characters` gets a folder a character, once, and `test` the test pictures.

    Raises:
        VAEError: damaged, encrypted or a bomb; no image in it.
        OSError: `folder` cannot be written.
    """
    budget = Budget(max(FREE_BYTES, MAX_RATIO * archive.stat().st_size), archive)
    result = Unpacked(folder)
    names: set[PurePosixPath] = set()
    with open_members(archive) as (count, members):
        show = progress("unpacking", count)
        for number, member in enumerate(members, start=1):
            if number > MAX_MEMBERS:
                raise VAEError(f"archive: {archive} has more than {MAX_MEMBERS:,} entries. Unpack it yourself.")
            reason = _write_member(member, folder, names, budget)
            if reason is None:
                result.written += 1
            else:
                budget.spend(member.skip_bytes)
                result.skipped[reason] += 1
            show(number)
    del result.skipped["folders"]
    if not result.written:
        skipped = describe_skipped(result.skipped)
        raise VAEError(f"archive: no images in {archive} ({skipped}). Give an archive of images.")
    if (folder / CHARACTERS).is_dir() and _is_kaggle(names):
        result.images = folder / CHARACTERS
        result.test = folder / TEST if (folder / TEST).is_dir() else None
    return result


def target_of(name: str) -> PurePosixPath | None:
    """Returns where the entry called `name` is written, relative to the folder; None if that would be outside it."""
    parts = name.replace("\\", "/").split("/")
    parts = [part for part in parts if part not in ("", ".")]
    if not parts or name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        return None
    if KAGGLE in parts:
        rest = [part for part in parts[parts.index(KAGGLE) :] if part != KAGGLE]
        return PurePosixPath(CHARACTERS, *rest) if rest else None
    if KAGGLE_TEST in parts:
        return PurePosixPath(TEST, parts[-1])
    return PurePosixPath(*parts)


def describe_skipped(skipped: Counter[str]) -> str:
    """Returns what was skipped in words, the most frequent first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in skipped.most_common()) or "it is empty"


def _is_kaggle(names: set[PurePosixPath]) -> bool:
    return all(name.parts[0] in (CHARACTERS, TEST) or len(name.parts) == 1 for name in names)


def _write_member(member: Member, folder: Path, names: set[PurePosixPath], budget: Budget) -> str | None:
    """Writes one entry if it is an image; otherwise returns the reason why not."""
    if not member.is_file:
        return "folders" if member.name.endswith("/") else "links or devices"
    target = target_of(member.name)
    if target is None:
        return "names that lead outside"
    if target.name.startswith("."):
        return "hidden files"
    if target.suffix.lower() not in EXTENSIONS:
        return "not images"
    if target in names:
        return "copies of a name"
    try:
        with member.open() as source:
            start = source.read(SIGNATURE_BYTES)
            if not SIGNATURES.match(start):
                return "not images"
            content = start + source.read(MAX_IMAGE_BYTES + 1 - len(start))
    except DAMAGED:
        return "damaged"
    budget.spend(len(content))
    if len(content) > MAX_IMAGE_BYTES:
        return f"larger than {format_bytes(MAX_IMAGE_BYTES)}"
    path = folder.joinpath(*target.parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as e:
        if e.errno in BAD_NAME:
            return "names that the system refuses"
        raise
    names.add(target)
    return None
