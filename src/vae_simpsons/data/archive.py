"""A zip or tar of images -> a folder of them, whatever else a stranger put into it.

Nothing is written outside of the folder, no link is made, no name is trusted, and bytes are counted as they are
unpacked, not as the archive claims. Only images come out, recognised by their first bytes.
"""

import errno
import lzma
import re
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Set
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, Self

from vae_simpsons.data.folder import EXTENSIONS
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import format_bytes
from vae_simpsons.progress import Progress

MAX_MEMBERS = 5_000_000
MAX_IMAGE_BYTES = 2**28  # of one file, unpacked
MAX_RATIO = 200  # unpacked to packed bytes of a whole archive; images hardly shrink
FREE_BYTES = 2**26  # that any archive may unpack to, whatever its ratio
MAX_HEADER_BYTES = 2**20  # of a tar's header for a long name or for attributes
SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM|GIF8[79]a|II\*\0|MM\0\*", re.DOTALL)
SIGNATURE_BYTES = 12
BAD_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ)
DAMAGED: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, MemoryError)
DAMAGED += (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)

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


class Member(NamedTuple):
    """One entry of an archive, as it describes itself."""

    name: str
    is_file: bool  # not a folder, link or device
    skip_bytes: int  # that must be unpacked to skip it: a tar has no index
    open: Callable[[], IO[bytes]]


class BoundedTarInfo(tarfile.TarInfo):
    """The header of a tar entry; long names and attributes come in headers of their own, which tarfile reads whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Returns the entry of a header block, unless it claims to be larger than any name is."""
        entry = super().frombuf(buf, encoding, errors)
        names = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        attributes = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        if entry.type in names + attributes and entry.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {entry.size:,} bytes")
        return entry


def is_archive(path: Path) -> bool:
    """Whether `path` is a zip or tar file, by content.

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
    raise VAEError(f"archive: {path} is a file, and no zip or tar. Give a folder of images, or an archive of one.")


def unpack(archive: Path, folder: Path, progress: Progress) -> Unpacked:
    """Writes the images of `archive` into `folder`, which is made.

    Of the Kaggle archive `characters` gets a folder a character, once, and `test` the test pictures.

    Raises:
        VAEError: damaged, encrypted or a bomb; no image in it.
        OSError: `folder` cannot be written.
    """
    left_bytes = max(FREE_BYTES, MAX_RATIO * archive.stat().st_size)
    result = Unpacked(folder)
    names: set[PurePosixPath] = set()
    with closing(_read_members(archive, progress)) as members:
        for member in members:
            target = target_of(member.name)
            content, reason = _read_image(member, target, names)
            left_bytes -= max(len(content), member.skip_bytes)
            if left_bytes < 0:
                raise VAEError(
                    f"archive: {archive} unpacks to more than {MAX_RATIO} times its size, as a bomb does and images "
                    "do not. Unpack it yourself if you trust it."
                )
            if target and not reason:
                reason = _write_image(folder / target, content)
            if reason:
                result.skipped[reason] += 1
            elif target:
                names.add(target)
    del result.skipped["folders"]
    result.written = len(names)
    if not names:
        skipped = describe_skipped(result.skipped)
        raise VAEError(f"archive: no images in {archive} ({skipped}). Give an archive of images.")
    in_folders = {name.parts[0] for name in names if len(name.parts) > 1}
    if CHARACTERS in in_folders and in_folders <= {CHARACTERS, TEST}:
        result.images = folder / CHARACTERS
        result.test = folder / TEST if TEST in in_folders else None
    return result


def target_of(name: str) -> PurePosixPath | None:
    """Returns where the entry called `name` is written, relative to the folder; None if that would be outside it."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    if not parts or re.match(r"[/\\]|[A-Za-z]:", name) or ".." in parts or "\0" in name:
        return None
    if KAGGLE in parts:
        rest = [part for part in parts[parts.index(KAGGLE) :] if part != KAGGLE]
        return PurePosixPath(CHARACTERS, *rest) if rest else None
    return PurePosixPath(TEST, parts[-1]) if KAGGLE_TEST in parts else PurePosixPath(*parts)


def describe_skipped(skipped: Counter[str]) -> str:
    """Returns what was skipped in words, the most frequent first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in skipped.most_common()) or "it is empty"


def _read_members(archive: Path, progress: Progress) -> Generator[Member, None, None]:
    """Yields the entries of an archive, and shows how many are done; damage may show at any of them."""
    try:
        if zipfile.is_zipfile(archive):
            opened: Any = zipfile.ZipFile(archive)
            entries, count = opened.infolist(), len(opened.infolist())
        else:
            opened = entries = tarfile.open(archive, tarinfo=BoundedTarInfo)
            count = 0
        with opened:
            show = progress("unpacking", count)
            for number, entry in enumerate(entries, start=1):
                if number > MAX_MEMBERS:
                    raise VAEError(f"archive: {archive} has more than {MAX_MEMBERS:,} entries. Unpack it yourself.")
                yield _member(opened, entry)
                show(number)
    except DAMAGED as e:
        raise VAEError(f"archive: {archive} is damaged: {one_line(e)}. Download it again.") from None


def _member(opened: Any, entry: zipfile.ZipInfo | tarfile.TarInfo) -> Member:
    if isinstance(entry, zipfile.ZipInfo):
        kind = entry.external_attr >> 28  # the upper bits of a Unix mode: 8 a file, 10 a link; 0 where there is none
        return Member(entry.filename, not entry.is_dir() and kind in (0, 8), 0, partial(opened.open, entry))
    name = entry.name + ("/" if entry.isdir() else "")
    return Member(name, entry.isfile() and not entry.issparse(), entry.size, partial(opened.extractfile, entry))


def _read_image(member: Member, target: PurePosixPath | None, names: Set) -> tuple[bytes, str | None]:
    """Returns what was unpacked of an entry, and why it is not an image for `target`, if it is not."""
    if not member.is_file:
        return b"", "folders" if member.name.endswith("/") else "links or devices"
    if target is None:
        return b"", "names that lead outside"
    if target.name.startswith("."):
        return b"", "hidden files"
    if target.suffix.lower() not in EXTENSIONS:
        return b"", "not images"
    if target in names:
        return b"", "copies of a name"
    try:
        with member.open() as source:
            content = source.read(SIGNATURE_BYTES)
            if not SIGNATURES.match(content):
                return content, "not images"
            content += source.read(MAX_IMAGE_BYTES + 1 - len(content))
    except DAMAGED:
        return b"", "damaged"
    return content, f"larger than {format_bytes(MAX_IMAGE_BYTES)}" if len(content) > MAX_IMAGE_BYTES else None


def _write_image(path: Path, content: bytes) -> str | None:
    """Writes an image, or returns why it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as e:
        if e.errno not in BAD_NAME:
            raise
        return "names that the system refuses"
    return None
