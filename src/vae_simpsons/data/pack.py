"""A folder of image files -> one file of pixels, decoded once and then mapped into memory.

A pack is a folder in the cache: pixels.npy, uint8 (N, C, H, W), and index.json, the fields of `Index`. Its name holds a
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
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.data.archive import unpack
from vae_simpsons.data.cache import cache_folder, make_cached
from vae_simpsons.data.decode import Block, decode_block
from vae_simpsons.data.folder import File, file_of, find_files
from vae_simpsons.data.index import Facts, Index, Unreadable, check_readable
from vae_simpsons.data.levels import Extremes, find_ranges, format_levels, parse_levels, usual_range
from vae_simpsons.data.members import is_archive
from vae_simpsons.data.similar import Fingerprints, compute_fingerprints, group_near_duplicates
from vae_simpsons.errors import renamed
from vae_simpsons.files import check_free_space, npy_writer, sync_file
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Data
from vae_simpsons.threads import map_ahead

PACK_VERSION = 3  # raise it when the same files would give other pixels or another index.json
BLOCK_FILES = 64  # that a thread decodes at a time
BLOCKS_AHEAD = 4  # for each core


@dataclass(frozen=True)
class Pack:
    """The images of a folder at one size."""

    folder: Path
    pixels: Tensor  # uint8 (N, C, H, W), mapped: what is not read takes no memory
    index: Index


def open_pack(source: Path, data: Data, progress: Progress) -> Pack:
    """Returns the pack of `source`, a folder of images or an archive of one; makes it if there is none.

    Raises:
        VAEError: no such folder, no images in it, more than a tenth of them unreadable; the cache cannot be written.
    """

    def fill(temporary: Path) -> None:
        if packed:
            unpacked = unpack(source, temporary / "unpacked", progress)
            images = unpacked.images
            write_pack(images, find_files(images), data, temporary, progress, unpacked.index(images))
            shutil.rmtree(temporary / "unpacked")
        else:
            write_pack(source, files, data, temporary, progress)
        for outdated in folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*"):  # of the source before it changed
            shutil.rmtree(outdated, ignore_errors=True)

    def read() -> Pack | None:
        pack = read_pack(own, data)  # whose levels are its own
        return pack if pack and data.levels in (None, pack.index.levels) else read_pack(folder, data)

    with renamed(archive="data.path"):
        packed, others = is_archive(source), Counter[str]()
        files = [file_of(source, source.parent)] if packed else find_files(source, others)
        cache = cache_folder(data)
        own, folder = (cache / "packs" / pack_name(source, files, view) for view in (replace(data, levels=None), data))
        pack = make_cached(cache, folder, read, fill, progress)
        return pack if packed else replace(pack, index=replace(pack.index, others=others))


def pack_name(source: Path, files: Sequence[File], data: Data) -> str:
    """Returns the name of the folder that `source` is packed in; its last part changes with the files."""

    def digest(*parts: object) -> str:
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    root = source.resolve()
    height, width = data.size
    is_square = height == width
    view = [height if is_square else data.size, data.channels, data.crop, data.resize, data.levels]
    readable = re.sub(r"[^A-Za-z0-9]+", "_", root.name)[:40]
    size = f"{height}px" if is_square else f"{height}x{width}px"
    return f"{readable}-{size}-{digest(str(root), view)[:8]}-{digest(PACK_VERSION, files)[:16]}"


def write_pack(
    source: Path, files: Sequence[File], data: Data, folder: Path, progress: Progress, begun: Index | None = None
) -> None:
    """Decodes `files` of `source` into a pack in the empty `folder`; `begun` is as read_images takes it."""
    shape = (len(files), data.channels, *data.size)
    check_free_space(folder, math.prod(shape))
    index = read_images(
        source, files, data, progress, lambda: npy_writer(folder / "pixels.npy", shape, np.uint8), begun
    )
    check_readable(index)
    with open(folder / "index.json", "w", encoding="ascii") as file:
        json.dump(vars(index), file)
        sync_file(file)  # a crash of the machine must not leave a named pack of zeros


def read_images(
    source: Path,
    files: Sequence[File],
    data: Data,
    progress: Progress,
    writer: Callable[[], AbstractContextManager[Callable[[np.ndarray], object]]] = lambda: nullcontext(lambda _: None),
    begun: Index | None = None,
) -> Index:
    """Decodes `files` of `source` on all cores, some blocks ahead, and returns what is known of them.

    Samples of more than 8 bits whose range no file states are read twice: all of a type get the same black and white,
    which is known only when all are read, and which the first reading may not have taken.

    Args:
        writer: opens what is called with the pixels of the readable images, uint8 (n, C, H, W), in order, block by
            block; the last that it opened counts.
        begun: which files are known to be unreadable already, and how many are ignored.
    """
    with writer() as append:
        index, prints, extremes = _decode_files(source, files, data, progress, append)
    ranges = find_ranges(extremes)
    levels = format_levels(parse_levels(data.levels) | ranges)
    if any(usual_range(own) != ranges[own.kind] for own in extremes):
        return read_images(source, files, replace(data, levels=levels), progress, writer, begun)
    if prints:
        show = progress("finding near-duplicates", len(index.paths))
        index.groups.extend(group_near_duplicates(prints, show).tolist())
    begun = begun or Index()
    return replace(index, unreadable=begun.unreadable + index.unreadable, others=begun.others, levels=levels)


def _decode_files(
    source: Path, files: Sequence[File], data: Data, progress: Progress, append: Callable[[np.ndarray], object]
) -> tuple[Index, Fingerprints | None, list[Extremes]]:
    """Decodes `files` and returns what each contains, without groups, their fingerprints and the ranges of samples."""

    def decode_files(block_files: Sequence[File]) -> tuple[Block, Fingerprints]:
        block = decode_block(source, block_files, data)
        return block, compute_fingerprints(block.pixels)

    index, prints, extremes, cores = Index(), [], [], os.cpu_count() or 1
    show = progress("reading images", len(files))
    blocks = [files[i : i + BLOCK_FILES] for i in range(0, len(files), BLOCK_FILES)]
    with warnings.catch_warnings(action="ignore"):
        decoded = map_ahead(decode_files, blocks, cores, BLOCKS_AHEAD * cores)
        for block_files, (block, block_prints) in zip(blocks, decoded, strict=True):
            for file, outcome in zip(block_files, block.outcomes, strict=True):
                if isinstance(outcome, str):
                    index.unreadable.append(Unreadable(file.path, outcome))
                else:
                    index.paths.append(file.path)
                    index.facts.append(outcome)
            prints.append(block_prints)
            extremes += block.extremes
            append(block.pixels.numpy())
            show(len(index.paths) + len(index.unreadable))
    all_prints = Fingerprints(*map(np.concatenate, zip(*prints, strict=True))) if index.paths else None
    return index, all_prints, extremes


def read_pack(folder: Path, data: Data) -> Pack | None:
    """Returns the pack in `folder`; None if there is none, or it is damaged."""
    try:
        columns = json.loads((folder / "index.json").read_text(encoding="ascii"))
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        columns["facts"] = [Facts(*row) for row in columns["facts"]]
        columns["unreadable"] = [Unreadable(*row) for row in columns["unreadable"]]
        index = Index(**columns)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    count = len(index.paths)
    shape = (count, data.channels, *data.size)
    if pixels.shape != shape or pixels.dtype != np.uint8 or len(index.groups) != count:
        return None
    with warnings.catch_warnings(action="ignore"):  # torch does not know read-only memory; writing to it would crash
        return Pack(folder, torch.from_numpy(pixels), index)
