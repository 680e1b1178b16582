"""A zip or tar of images -> a folder of them, whatever else a stranger put into it.

Nothing is written outside of the folder, no link is made, no name is trusted, and what is unpacked is counted as it
comes, not as the archive says. Only images come out, told by their first bytes.
"""

import errno
import lzma
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from vae_simpsons.data.cache import in_bytes
from vae_simpsons.data.folder import EXTENSIONS, File
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.progress import Progress

MAX_MEMBERS = 5_000_000
MAX_IMAGE_BYTES = 2**28  # of one file, unpacked
MAX_RATIO = 200  # unpacked to packed bytes of a whole archive; images hardly shrink
FREE_BYTES = 2**26  # that any archive may unpack to, whatever its ratio
CHUNK = 2**20
SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM|GIF8[79]a|II\*\0|MM\0\*", re.DOTALL)
SIGNATURE_BYTES = 12
MAX_HEADER_BYTES = 2**20
HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
UNNAMEABLE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ)
DAMAGED = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError, MemoryError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)

# The Kaggle archive "The Simpsons Characters Data": one folder a character in KAGGLE, all of it once more in
# KAGGLE/KAGGLE, and pictures to test with, without folders, in KAGGLE_TEST.
KAGGLE, KAGGLE_TEST = "simpsons_dataset", "kaggle_simpson_testset"
CHARACTERS, TEST = "characters", "test"


class Member(NamedTuple):
    """One entry of an archive, as it describes itself."""

    name: str
    is_file: bool  # not a folder, link or device
    passed: int  # bytes that are unpacked to get past it even if it is not wanted: a tar has no index
    open: Callable[[], IO[bytes] | None]


@dataclass
class Unpacked:
    """What came out of an archive."""

    images: Path  # the folder to train on
    test: Path | None = None  # test pictures, kept apart
    written: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # why, and how many


def is_archive(path: Path, setting: str = "data.path") -> bool:
    """Whether `path` is a zip or tar file, by content; `setting` names it in errors.

    Raises:
        VAEError: a file that is neither.
    """
    if not path.is_file():
        return False
    with suppress(*DAMAGED):
        if zipfile.is_zipfile(path):
            return True
        tarfile.open(path, tarinfo=BoundedTarInfo).close()
        return True
    raise VAEError(f"{setting}: {path} is a file, and no zip or tar. Give a folder of images, or an archive of one.")


def as_file(path: Path) -> File:
    """The archive itself, as a pack's name depends on it."""
    status = path.stat()
    return File(path.name, status.st_size, status.st_mtime_ns)


def unpack(archive: Path, folder: Path, progress: Progress) -> Unpacked:
    """The images of `archive`, written into `folder`, which is made.

    The Kaggle archive comes out clean: a folder a character in `characters`, once, and its test pictures in `test`.

    Args:
        progress: called with a title and a total, returns what is called with the number done.

    Raises:
        VAEError: damaged, encrypted or a bomb; no image in it.
        OSError: `folder` cannot be written.
    """
    budget = Budget(max(FREE_BYTES, MAX_RATIO * archive.stat().st_size), archive)
    with _members(archive) as (count, members):
        done = progress("unpacking", count)
        result = Unpacked(folder)
        names: set[PurePosixPath] = set()
        for number, member in enumerate(members, start=1):
            if number > MAX_MEMBERS:
                raise VAEError(f"ARCHIVE: {archive} has more than {MAX_MEMBERS:,} entries. Unpack it yourself.")
            reason = _write_member(member, folder, names, budget)
            if reason is None:
                result.written += 1
            else:
                budget.spend(member.passed)
                result.skipped[reason] += 1
            done(number)
    del result.skipped["folders"]
    if not result.written:
        raise VAEError(f"ARCHIVE: no images in {archive} ({in_words(result.skipped)}). Give an archive of images.")
    if (folder / CHARACTERS).is_dir() and _is_kaggle(names):
        result.images = folder / CHARACTERS
        result.test = folder / TEST if (folder / TEST).is_dir() else None
    return result


@dataclass
class Budget:
    """How many bytes may still be unpacked."""

    left: int
    archive: Path

    def spend(self, count: int) -> None:
        """Count bytes that came out.

        Raises:
            VAEError: more than images of an archive this size can be.
        """
        self.left -= count
        if self.left < 0:
            raise VAEError(
                f"ARCHIVE: {self.archive} unpacks to more than {MAX_RATIO} times its size, as a bomb does and images "
                "do not. Unpack it yourself if you trust it."
            )


def target_of(name: str) -> PurePosixPath | None:
    """Where the entry called `name` is written, in the folder; None: its name leads outside, or nowhere."""
    parts = name.replace("\\", "/").split("/")
    parts = [part for part in parts if part not in ("", ".")]
    if not parts or name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        return None
    if KAGGLE in parts:
        kept = [part for part in parts[parts.index(KAGGLE) :] if part != KAGGLE]
        return PurePosixPath(CHARACTERS, *kept) if kept else None
    if KAGGLE_TEST in parts:
        return PurePosixPath(TEST, parts[-1])
    return PurePosixPath(*parts)


def _is_kaggle(names: set[PurePosixPath]) -> bool:
    return all(name.parts[0] in (CHARACTERS, TEST) or len(name.parts) == 1 for name in names)


def _write_member(member: Member, folder: Path, names: set[PurePosixPath], budget: Budget) -> str | None:
    """Write one entry if it is an image; otherwise say why not."""
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
        return f"larger than {in_bytes(MAX_IMAGE_BYTES)}"
    path = folder.joinpath(*target.parts)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as e:
        if e.errno in UNNAMEABLE:
            return "names that the system refuses"
        raise
    names.add(target)
    return None


class BoundedTarInfo(tarfile.TarInfo):
    """An entry's header; long names and attributes come in headers of their own, which tarfile reads whole."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        """The entry of a header block.

        Raises:
            tarfile.ReadError: a header that claims to be larger than any name is.
        """
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in HEADERS and entry.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {entry.size:,} bytes")
        return entry


@contextmanager
def _members(archive: Path) -> Iterator[tuple[int, Iterator[Member]]]:
    """How many entries `archive` has, 0 where nobody knows, and each of them."""
    with ExitStack() as stack:
        with _damage_said(archive):
            if zipfile.is_zipfile(archive):
                opened = stack.enter_context(zipfile.ZipFile(archive))
                count, members = len(opened.infolist()), (_zip_member(opened, entry) for entry in opened.infolist())
            else:
                opened = stack.enter_context(tarfile.open(archive, tarinfo=BoundedTarInfo))
                count, members = 0, (_tar_member(opened, entry) for entry in opened)
        yield count, _each(members, archive)


def _each(members: Iterator[Member], archive: Path) -> Iterator[Member]:
    """`members`, where reading the next one may find the archive damaged."""
    while True:
        with _damage_said(archive):
            member = next(members, None)
        if member is None:
            return
        yield member


@contextmanager
def _damage_said(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as e:
        raise VAEError(f"ARCHIVE: {archive} is damaged: {one_line(e)}. Download it again.") from None


def _zip_member(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
    kind = entry.external_attr >> 28  # the upper bits of a Unix mode: 8 a file, 10 a link; 0 where there is none
    return Member(entry.filename, not entry.is_dir() and kind in (0, 8), 0, lambda: opened.open(entry))


def _tar_member(opened: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    name = entry.name + ("/" if entry.isdir() else "")
    return Member(name, entry.isfile() and not entry.issparse(), entry.size, lambda: opened.extractfile(entry))


def in_words(skipped: Counter[str]) -> str:
    """What was left out of an archive, most of it first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in skipped.most_common()) or "it is empty"
