"""A folder of files -> one file of pixels, decoded once and mapped into memory ever after.

A pack is a folder of the cache: pixels.npy, uint8 (N, C, S, S), which `numpy.load` opens too, and index.json, a list of
each column of `Index`. Its name holds a hash of all that decides its content: the files' names, sizes and times, how
they are cropped and resized, and PACK_VERSION. So a pack never goes stale: a folder that has changed has another name.
"""

import hashlib
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.data import archive
from vae_simpsons.data.cache import alone, cache_folder, cannot_keep, check_space, publishing
from vae_simpsons.data.decode import Block as DecodedBlock
from vae_simpsons.data.decode import decode_block
from vae_simpsons.data.folder import File, find_files
from vae_simpsons.data.index import Facts, Index, Unreadable
from vae_simpsons.data.similar import Fingerprints, fingerprints, groups
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Data
from vae_simpsons.threads import ahead

PACK_VERSION = 1  # raise it when the same files would give other pixels or another index
MOST_UNREADABLE = 0.1  # share of unreadable images at which a folder is taken for something else than data
BLOCK = 64  # images that a thread decodes at a time
BLOCKS_AHEAD = 4  # for each core


@dataclass(frozen=True)
class Pack:
    """The images of a folder at one size."""

    folder: Path
    pixels: Tensor  # uint8 (N, C, S, S); mapped: what is not read takes no memory
    index: Index


def open_pack(source: Path, data: Data, progress: Progress) -> Pack:
    """The pack of `source`, a folder of images or an archive of one; made now if there is none.

    Args:
        progress: called with a title and a total, returns what is called with the number done.

    Raises:
        VAEError: no such folder, no images in it, more than a tenth of them unreadable; no room to keep the pack.
    """
    packed = archive.is_archive(source)
    files = [archive.as_file(source)] if packed else find_files(source)
    name = pack_name(source, files, data)
    folder = cache_folder(data) / "packs" / name
    found = _open(folder, data)
    if found is not None:
        return found
    try:
        with alone(cache_folder(data), name, progress):
            if _open(folder, data) is None:  # by another process, meanwhile
                shutil.rmtree(folder, ignore_errors=True)  # damaged, or not there
                with publishing(folder) as beside:
                    if packed:
                        unpacked = beside / "unpacked"
                        source = archive.unpack(source, unpacked, progress).images
                        files = find_files(source)
                    write(source, files, data, beside, progress)
                    if packed:
                        shutil.rmtree(unpacked)
    except OSError as e:
        raise cannot_keep(folder.parent, e) from None
    _prune(folder)
    made = _open(folder, data)
    assert made is not None, "a pack that was just written opens"
    return made


def pack_name(source: Path, files: Sequence[File], data: Data) -> str:
    """The name of the folder of the cache that `source` is packed in; the last part of it changes with its files."""
    root = str(source.resolve())
    view = [data.image_size, data.channels, data.crop, data.resize]
    readable = re.sub(r"[^A-Za-z0-9]+", "_", source.resolve().name)[:40]
    return f"{readable}-{data.image_size}px-{_digest(root, view)[:8]}-{_digest(PACK_VERSION, files)[:16]}"


def write(source: Path, files: Sequence[File], data: Data, folder: Path, progress: Progress) -> Index:
    """Decode `files` of `source` into a pack in the empty `folder`.

    Raises:
        OSError: `folder` cannot be written.
        VAEError: more than a tenth are unreadable.
    """
    shape = (data.channels, data.image_size, data.image_size)
    check_space(folder, len(files) * math.prod(shape))
    with open(folder / "pixels.npy", "wb") as file:
        _write_header(file, (len(files), *shape))
        index = read_all(source, files, data, progress, lambda pixels: file.write(pixels.numpy()))
        refuse_too_many(index, len(files))
        file.seek(0)
        _write_header(file, (len(index.paths), *shape))  # as long as the first: numpy leaves room in it
        _sync(file)
    with open(folder / "index.json", "w", encoding="ascii") as file:
        json.dump(vars(index), file)
        _sync(file)
    return index


def read_all(
    source: Path, files: Sequence[File], data: Data, progress: Progress, keep: Callable[[Tensor], object] | None = None
) -> Index:
    """Decode `files` of `source` on all cores and say what they are.

    Args:
        keep: called with the pixels of the readable ones, uint8 (n, C, S, S), in order, block by block.
    """
    index = Index()
    prints: list[Fingerprints] = []
    done = progress("reading images", len(files))
    read = 0
    for block, decoded, printed in _in_order(source, files, data):
        for file, outcome in zip(block, decoded.outcomes, strict=True):
            if isinstance(outcome, str):
                index.unreadable.append(Unreadable(file.path, outcome))
            else:
                index.paths.append(file.path)
                index.facts.append(outcome)
        prints.append(printed)
        if keep:
            keep(decoded.pixels)
        read += len(block)
        done(read)
    if index.paths:
        every = Fingerprints(*map(np.concatenate, zip(*prints, strict=True)))
        index.groups.extend(groups(every, progress("finding near-duplicates", len(index.paths))).tolist())
    return index


def _in_order(
    source: Path, files: Sequence[File], data: Data
) -> Iterator[tuple[Sequence[File], DecodedBlock, Fingerprints]]:
    """The files block by block, with what is in them; a few blocks are decoded ahead."""

    def read(block: Sequence[File]) -> tuple[Sequence[File], DecodedBlock, Fingerprints]:
        decoded = decode_block(source, block, data)
        return block, decoded, fingerprints(decoded.pixels)

    blocks = (files[i : i + BLOCK] for i in range(0, len(files), BLOCK))
    cores = os.cpu_count() or 1
    with warnings.catch_warnings(action="ignore"):
        yield from ahead(read, blocks, cores, BLOCKS_AHEAD * cores)


def refuse_too_many(index: Index, count: int) -> None:
    """Refuse a folder of which more than a tenth is unreadable.

    Raises:
        VAEError: naming the first.
    """
    if len(index.unreadable) > MOST_UNREADABLE * count:
        path, reason = index.unreadable[0]
        raise VAEError(
            f"data.path: {len(index.unreadable)} of {count} images are unreadable, the first {path!r} ({reason}). "
            f"Up to {MOST_UNREADABLE:.0%} are passed over. 'vae data check' lists them: mend or remove them."
        )


def _open(folder: Path, data: Data) -> Pack | None:
    """The pack in `folder`; None if there is none, or it is damaged."""
    try:
        columns = json.loads((folder / "index.json").read_text(encoding="ascii"))
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        index = Index(
            paths=columns["paths"],
            facts=[Facts(*row) for row in columns["facts"]],
            groups=columns["groups"],
            unreadable=[Unreadable(*row) for row in columns["unreadable"]],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    count = len(index.paths)
    if pixels.shape != (count, data.channels, data.image_size, data.image_size) or pixels.dtype != np.uint8:
        return None
    return Pack(folder, _mapped(pixels), index) if len(index.groups) == count else None


def _mapped(pixels: np.ndarray) -> Tensor:
    """`pixels` as a tensor, still mapped and read-only, which torch has no word for: a write would crash."""
    with warnings.catch_warnings(action="ignore"):
        return torch.from_numpy(pixels)


def _prune(folder: Path) -> None:
    """Remove the packs that the same source had at the same settings before it changed."""
    prefix = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{prefix}-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _sync(file: BinaryIO) -> None:
    """On the disk before the folder gets its name: a crash of the machine must not leave a named pack of zeros."""
    file.flush()
    with suppress(OSError):  # some network file systems cannot
        os.fsync(file.fileno())
