"""The entries of a zip or tar, as they describe themselves; what an archive is that cannot be read, in words."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from vae_simpsons.data.index import IN_ARCHIVE
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.progress import Progress

MAX_MEMBERS = 5_000_000
MAX_HEADER_BYTES = 2**20  # of a tar's header for a long name or for attributes
MAX_REST = 64  # blocks of a mebibyte that are read behind the last entry, for the checksum at the end
ENCRYPTED, FLAG_ENCRYPTED = "encrypted", 1  # bit of a zip's entry
METHOD = "packed with a method that is not supported"
DAMAGED: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, MemoryError)
DAMAGED += (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)

CUT_SHORT = "ends too early: it is cut short, or was not downloaded in full. Download it again"
NEITHER = "is a file, and no zip or tar. Give a folder of images, or an archive of one"
NO_TAR = "and not a tar, or cut short. Download it again, or give a zip or tar of images"
UNPACK = "Unpack it yourself and give the folder"
KINDS = {  # what a file is that is no zip or tar, by its first bytes
    b"PK\3\4": f"starts like a zip and {CUT_SHORT}",
    b"Rar!\x1a\7": f"is a RAR archive, and no zip or tar. {UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"is a 7z archive, and no zip or tar. {UNPACK}",
    b"\x28\xb5\x2f\xfd": f"is packed with zstd, and no zip or tar. {UNPACK}",
    b"\x1f\x8b\x08": f"is packed with gzip, {NO_TAR}",
    b"BZh": f"is packed with bzip2, {NO_TAR}",
    b"\xfd7zXZ\0": f"is packed with xz, {NO_TAR}",
}


class Member(NamedTuple):
    """One entry of an archive, as it describes itself."""

    name: str
    is_file: bool  # not a folder, symbolic link or device
    skip_bytes: int  # that must be unpacked to skip it: a tar has no index
    open: Callable[[], IO[bytes]]
    encrypted: bool = False
    same_as: str | None = None  # the name of an earlier entry that a tar's hard link means


class CutShort(tarfile.ReadError):
    """A tar without its end."""


class CheckedTarInfo(tarfile.TarInfo):
    """The header of a tar's entry; tarfile itself takes a bad one for the end, and reads long names whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Returns the entry of a header block, unless it is none or claims to be larger than any name is."""
        try:
            entry = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as e:
            if not any(buf) and len(buf) == tarfile.BLOCKSIZE:
                raise  # the end
            if len(buf) < tarfile.BLOCKSIZE:
                raise CutShort from None
            raise tarfile.ReadError(f"an entry without a header ({e})") from None
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
        tarfile.open(path, tarinfo=CheckedTarInfo).close()
        return True
    with suppress(OSError), open(path, "rb") as file:
        start = file.read(8)
        for signature, what in KINDS.items():
            if start.startswith(signature) and (len(start) == 8 or signature != b"PK\3\4"):
                raise VAEError(f"archive: {path} {what}.")
    raise VAEError(f"archive: {path} {NEITHER}.")


def read_members(archive: Path, progress: Progress) -> Generator[Member, None, None]:
    """Yields the entries of an archive, and shows how many are done; damage may show at any of them.

    Raises:
        VAEError: damaged beyond single entries, or too many entries.
    """
    try:
        if zipfile.is_zipfile(archive):
            opened: Any = zipfile.ZipFile(archive)
            entries, count = opened.infolist(), len(opened.infolist())
        else:
            opened = entries = tarfile.open(archive, tarinfo=CheckedTarInfo)
            count = 0
        with opened:
            show = progress("unpacking", count)
            for number, entry in enumerate(entries, start=1):
                if number > MAX_MEMBERS:
                    raise VAEError(f"archive: {archive} has more than {MAX_MEMBERS:,} entries. Unpack it yourself.")
                yield _member(opened, entry)
                show(number)
            if opened is entries:
                _read_rest(opened.fileobj)
    except DAMAGED as e:
        if isinstance(e, (EOFError, CutShort)) or "unexpected end of data" in str(e):
            raise VAEError(f"archive: {archive} {CUT_SHORT}.") from None
        raise VAEError(f"archive: {archive} is damaged: {one_line(e)}. Download it again.") from None


def why_unreadable(error: Exception) -> str:
    """Returns the reason why an entry cannot be unpacked."""
    return METHOD if isinstance(error, NotImplementedError) else IN_ARCHIVE


def _read_rest(file: IO[bytes]) -> None:
    """Reads what is behind the last entry: a compressed tar ends with a checksum of all that was unpacked."""
    for _ in range(MAX_REST):
        if not file.read(2**20):
            return


def _member(opened: Any, entry: zipfile.ZipInfo | tarfile.TarInfo) -> Member:
    if isinstance(entry, zipfile.ZipInfo):
        kind = entry.external_attr >> 28  # the upper bits of a Unix mode: 8 a file, 10 a link; 0 where there is none
        is_file, encrypted = not entry.is_dir() and kind in (0, 8), bool(entry.flag_bits & FLAG_ENCRYPTED)
        return Member(entry.filename, is_file, 0, partial(opened.open, entry), encrypted)
    name = entry.name + ("/" if entry.isdir() else "")
    same_as = entry.linkname if entry.islnk() else None
    is_file = bool(same_as) or (entry.isfile() and not entry.issparse())
    return Member(name, is_file, entry.size, partial(opened.extractfile, entry), same_as=same_as)
