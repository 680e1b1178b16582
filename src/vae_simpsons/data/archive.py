"""A zip or tar of images -> a folder of them, whatever else a stranger put into it.

Nothing is written outside of the folder, no link is made, no name is trusted, and bytes are counted as they are
unpacked, not as the archive claims. Only images come out, recognised by their first bytes.
"""

import errno
import re
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vae_simpsons.data.folder import ending_of
from vae_simpsons.data.formats import EXTENSIONS, FORMATS, SIGNATURE_BYTES, SIGNATURES
from vae_simpsons.data.index import Index, Unreadable, describe_others
from vae_simpsons.data.members import DAMAGED, ENCRYPTED, METHOD, UNPACK, Member, read_members, why_unreadable
from vae_simpsons.errors import VAEError
from vae_simpsons.files import format_bytes
from vae_simpsons.progress import Progress

MAX_IMAGE_BYTES = 2**28  # of one file, unpacked
MAX_RATIO = 200  # unpacked to packed bytes of a whole archive; images hardly shrink
FREE_BYTES = 2**26  # that any archive may unpack to, whatever its ratio
BAD_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ)
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")  # endings
INSIDE = "archives inside it"
REMEDIES = {ENCRYPTED: UNPACK, METHOD: UNPACK, INSIDE: "Unpack it, and give what is inside"}

# The Kaggle archive "The Simpsons Characters Data": one folder a character in KAGGLE, all of it again in
# KAGGLE/KAGGLE, and test pictures, without folders, in KAGGLE_TEST.
KAGGLE, KAGGLE_TEST = "simpsons_dataset", "kaggle_simpson_testset"
CHARACTERS, TEST = "characters", "test"


@dataclass
class Unpacked:
    """What came out of an archive into a folder."""

    folder: Path
    names: set[PurePosixPath] = field(default_factory=set)  # of the images, below `folder`
    damaged: dict[PurePosixPath, str] = field(default_factory=dict)  # images that cannot be read, and why
    others: Counter[str] = field(default_factory=Counter)  # how many entries are ignored, by ending or reason

    @property
    def images(self) -> Path:
        """The folder to train on."""
        return self.folder / CHARACTERS if self._is_kaggle else self.folder

    @property
    def test(self) -> Path | None:
        """The folder of test pictures, kept separate."""
        has_test = self._is_kaggle and any(name.parts[0] == TEST for name in self.names)
        return self.folder / TEST if has_test else None

    def index(self, folder: Path) -> Index:
        """Returns what is known of the images below `folder`: their names, and which cannot be read."""
        below = PurePosixPath(folder.relative_to(self.folder).as_posix())
        names, damaged = (
            sorted(name for name in group if name.is_relative_to(below)) for group in (self.names, self.damaged)
        )
        unreadable = [Unreadable(str(name.relative_to(below)), self.damaged[name]) for name in damaged]
        return Index([str(name.relative_to(below)) for name in names], unreadable=unreadable, others=dict(self.others))

    @property
    def _is_kaggle(self) -> bool:
        in_folders = {name.parts[0] for name in self.names if len(name.parts) > 1}
        return CHARACTERS in in_folders and in_folders <= {CHARACTERS, TEST}


def unpack(archive: Path, folder: Path, progress: Progress) -> Unpacked:
    """Writes the images of `archive` into `folder`, which is made; those that are damaged are named.

    Of the Kaggle archive `characters` gets a folder a character, once, and `test` the test pictures.

    Raises:
        VAEError: damaged as a whole, or a bomb; no image in it that can be read.
        OSError: `folder` cannot be written.
    """
    left_bytes = max(FREE_BYTES, MAX_RATIO * archive.stat().st_size)
    result = Unpacked(folder)
    with closing(read_members(archive, progress)) as members:
        for member in members:
            target, content, damage = target_of(member.name), b"", None
            ignored = _why_ignored(member, target, result)
            if target and not ignored:
                content, damage = _read_image(member, target, result)
            left_bytes -= max(len(content), member.skip_bytes)
            if left_bytes < 0:
                raise VAEError(
                    f"archive: {archive} unpacks to more than {MAX_RATIO} times its size, as a bomb does and images "
                    "do not. Unpack it yourself if you trust it."
                )
            if ignored or not target:
                result.others[ignored or "names that lead outside"] += 1
            elif damage := damage or _write_image(folder / target, content):
                result.damaged[target] = damage
            else:
                result.names.add(target)
                result.damaged.pop(target, None)  # it is in the archive twice
    del result.others["folders"]
    if not result.names:
        counts = result.others + Counter(result.damaged.values())
        remedies = [REMEDIES[why] for why, _ in counts.most_common() if why in REMEDIES]
        remedy = remedies[0] if remedies else "Give an archive of images"
        raise VAEError(f"archive: no images in {archive} ({describe_others(counts) or 'it is empty'}). {remedy}.")
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


def _why_ignored(member: Member, target: PurePosixPath | None, so_far: Unpacked) -> str | None:
    """Returns why an entry is not to be an image, if it is not."""
    if not member.is_file:
        return "folders" if member.name.endswith("/") else "links or devices"
    if target is None:
        return "names that lead outside"
    if any(part.startswith(".") for part in target.parts):
        return "hidden files"
    if target.suffix.lower() in ARCHIVES:
        return INSIDE
    if target.suffix.lower() not in EXTENSIONS:
        return ending_of(target.name)
    if target in so_far.names:
        return "copies of a name"
    if member.same_as is not None:
        source = target_of(member.same_as)
        return None if source in so_far.names or source in so_far.damaged else "links or devices"
    return None


def _read_image(member: Member, target: PurePosixPath, so_far: Unpacked) -> tuple[bytes, str | None]:
    """Returns what was unpacked of an entry, and why it is not an image, if it is not."""
    if member.encrypted:
        return b"", ENCRYPTED
    if member.same_as is not None:
        source = target_of(member.same_as) or target
        damage = so_far.damaged.get(source)
        return b"" if damage else (so_far.folder / source).read_bytes(), damage
    try:
        with member.open() as opened:
            content = opened.read(SIGNATURE_BYTES)
            if not SIGNATURES.match(content):
                return content, f"not an image ({', '.join(FORMATS)})" if content else "empty"
            content += opened.read(MAX_IMAGE_BYTES + 1 - len(content))
    except DAMAGED as e:
        return b"", why_unreadable(e)
    return content, f"larger than {format_bytes(MAX_IMAGE_BYTES)}" if len(content) > MAX_IMAGE_BYTES else None


def _write_image(path: Path, content: bytes) -> str | None:
    """Writes an image, or returns why it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as e:
        if e.errno not in BAD_NAME:
            raise
        return "a name that the system refuses"
    return None
