"""The entries of a zip or tar, whatever a stranger made of it."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from vae_simpsons.errors import VAEError, one_line

MAX_HEADER_BYTES = 2**20  # of a tar's header for a long name or for attributes
HEADERS = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
DAMAGED = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError, MemoryError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)


class Member(NamedTuple):
    """One entry of an archive, as it describes itself."""

    name: str
    is_file: bool  # not a folder, link or device
    skip_bytes: int  # that must be unpacked to skip it: a tar has no index
    open: Callable[[], IO[bytes] | None]


class BoundedTarInfo(tarfile.TarInfo):
    """The header of a tar entry; long names and attributes come in headers of their own, which tarfile reads whole."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        """Returns the entry of a header block.

        Raises:
            tarfile.ReadError: a header that claims to be larger than any name is.
        """
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in HEADERS and entry.size > MAX_HEADER_BYTES:
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


@contextmanager
def open_members(archive: Path) -> Iterator[tuple[int, Iterator[Member]]]:
    """Yields how many entries `archive` has, 0 if unknown, and an iterator over them.

    Raises:
        VAEError: it is damaged, which may show at any entry.
    """
    with ExitStack() as stack:
        with _damage_as_error(archive):
            if zipfile.is_zipfile(archive):
                opened = stack.enter_context(zipfile.ZipFile(archive))
                count, members = len(opened.infolist()), (_zip_member(opened, entry) for entry in opened.infolist())
            else:
                opened = stack.enter_context(tarfile.open(archive, tarinfo=BoundedTarInfo))
                count, members = 0, (_tar_member(opened, entry) for entry in opened)
        yield count, _each(members, archive)


def _each(members: Iterator[Member], archive: Path) -> Iterator[Member]:
    while True:
        with _damage_as_error(archive):
            member = next(members, None)
        if member is None:
            return
        yield member


@contextmanager
def _damage_as_error(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as e:
        raise VAEError(f"archive: {archive} is damaged: {one_line(e)}. Download it again.") from None


def _zip_member(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Member:
    kind = entry.external_attr >> 28  # the upper bits of a Unix mode: 8 a file, 10 a link; 0 where there is none
    return Member(entry.filename, not entry.is_dir() and kind in (0, 8), 0, lambda: opened.open(entry))


def _tar_member(opened: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    name = entry.name + ("/" if entry.isdir() else "")
    return Member(name, entry.isfile() and not entry.issparse(), entry.size, lambda: opened.extractfile(entry))
