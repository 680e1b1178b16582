"""A folder of image files -> one file of pixels, decoded once and then mapped into memory.

A pack is a folder in the cache: pixels.npy, uint8 (N, C, S, S), and index.json, the fields of `Index`. Its name holds a
hash of all that decides its content: names, sizes and times of the files, how they are cropped and resized, and
PACK_VERSION. So a pack is never out of date: a folder that has changed gets a new one.
"""

import hashlib
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.data.archive import as_file, unpack
from vae_simpsons.data.cache import cache_folder, make_cached
from vae_simpsons.data.decode import Block, decode_block
from vae_simpsons.data.folder import File, find_files
from vae_simpsons.data.index import Facts, Index, Unreadable
from vae_simpsons.data.members import is_archive
from vae_simpsons.data.requirements import check_readable
from vae_simpsons.data.similar import Fingerprints, compute_fingerprints, group_near_duplicates
from vae_simpsons.errors import renamed
from vae_simpsons.files import check_free_space, npy_writer, sync_file
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Data
from vae_simpsons.threads import map_ahead

PACK_VERSION = 1  # raise it when the same files would give other pixels or another index.json
BLOCK_FILES = 64  # that a thread decodes at a time
BLOCKS_AHEAD = 4  # for each core


@dataclass(frozen=True)
class Pack:
    """The images of a folder at one size."""

    folder: Path
    pixels: Tensor  # uint8 (N, C, S, S), mapped: what is not read takes no memory
    index: Index


def open_pack(source: Path, data: Data, progress: Progress) -> Pack:
    """Returns the pack of `source`, a folder of images or an archive of one; makes it if there is none.

    Raises:
        VAEError: no such folder, no images in it, more than a tenth of them unreadable; the cache cannot be written.
    """
    with renamed(archive="data.path"):
        packed = is_archive(source)
        files = [as_file(source)] if packed else find_files(source)
        cache = cache_folder(data)
        folder = cache / "packs" / pack_name(source, files, data)
        pack = read_pack(folder, data)
        if pack is not None:
            return pack

        def fill(temporary: Path) -> None:
            if packed:
                _write_archive_pack(source, data, temporary, progress)
            else:
                write_pack(source, files, data, temporary, progress)

        make_cached(cache, folder, lambda: read_pack(folder, data) is not None, fill, progress)
    _remove_outdated(folder)
    pack = read_pack(folder, data)
    assert pack is not None, "a pack that was just written is readable"
    return pack


def pack_name(source: Path, files: Sequence[File], data: Data) -> str:
    """Returns the name of the folder that `source` is packed in; its last part changes with the files."""
    root = str(source.resolve())
    view = [data.image_size, data.channels, data.crop, data.resize]
    readable = re.sub(r"[^A-Za-z0-9]+", "_", source.resolve().name)[:40]
    return f"{readable}-{data.image_size}px-{_digest(root, view)[:8]}-{_digest(PACK_VERSION, files)[:16]}"


def write_pack(source: Path, files: Sequence[File], data: Data, folder: Path, progress: Progress) -> None:
    """Decodes `files` of `source` into a pack in the empty `folder`.

    Raises:
        OSError: `folder` cannot be written.
        VAEError: more than a tenth of the files are unreadable.
    """
    shape = (len(files), data.channels, data.image_size, data.image_size)
    check_free_space(folder, math.prod(shape))
    with npy_writer(folder / "pixels.npy", shape, np.uint8) as append:
        index = read_images(source, files, data, progress, lambda pixels: append(pixels.numpy()))
        check_readable(index)
    with open(folder / "index.json", "w", encoding="ascii") as file:
        json.dump(vars(index), file)
        sync_file(file)  # a crash of the machine must not leave a named pack of zeros


def read_images(
    source: Path, files: Sequence[File], data: Data, progress: Progress, use: Callable[[Tensor], object] | None = None
) -> Index:
    """Decodes `files` of `source` on all cores and returns what is known of them.

    Args:
        use: called with the pixels of the readable images, uint8 (n, C, S, S), in order, block by block.
    """
    index = Index()
    prints: list[Fingerprints] = []
    show = progress("reading images", len(files))
    done = 0
    for block_files, block, block_prints in _decode_in_order(source, files, data):
        for file, outcome in zip(block_files, block.outcomes, strict=True):
            if isinstance(outcome, str):
                index.unreadable.append(Unreadable(file.path, outcome))
            else:
                index.paths.append(file.path)
                index.facts.append(outcome)
        prints.append(block_prints)
        if use:
            use(block.pixels)
        done += len(block_files)
        show(done)
    if index.paths:
        all_prints = Fingerprints(*map(np.concatenate, zip(*prints, strict=True)))
        show = progress("finding near-duplicates", len(index.paths))
        index.groups.extend(group_near_duplicates(all_prints, show).tolist())
    return index


def read_pack(folder: Path, data: Data) -> Pack | None:
    """Returns the pack in `folder`; None if there is none, or it is damaged."""
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
    shape = (count, data.channels, data.image_size, data.image_size)
    if pixels.shape != shape or pixels.dtype != np.uint8 or len(index.groups) != count:
        return None
    with warnings.catch_warnings(action="ignore"):  # torch does not know read-only memory; writing to it would crash
        return Pack(folder, torch.from_numpy(pixels), index)


def _write_archive_pack(archive: Path, data: Data, folder: Path, progress: Progress) -> None:
    unpacked = folder / "unpacked"
    images = unpack(archive, unpacked, progress).images
    write_pack(images, find_files(images), data, folder, progress)
    shutil.rmtree(unpacked)


def _decode_in_order(
    source: Path, files: Sequence[File], data: Data
) -> Iterator[tuple[Sequence[File], Block, Fingerprints]]:
    """Yields the files block by block with their images; some blocks are decoded ahead."""

    def decode_files(block_files: Sequence[File]) -> tuple[Sequence[File], Block, Fingerprints]:
        block = decode_block(source, block_files, data)
        return block_files, block, compute_fingerprints(block.pixels)

    blocks = (files[i : i + BLOCK_FILES] for i in range(0, len(files), BLOCK_FILES))
    cores = os.cpu_count() or 1
    with warnings.catch_warnings(action="ignore"):
        yield from map_ahead(decode_files, blocks, cores, BLOCKS_AHEAD * cores)


def _remove_outdated(folder: Path) -> None:
    """Removes the packs that the same source had at the same settings before it changed."""
    prefix = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{prefix}-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
