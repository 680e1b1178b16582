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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.data.archive import is_archive, unpack
from vae_simpsons.data.cache import cache_folder, make_cached
from vae_simpsons.data.decode import Block, decode_block
from vae_simpsons.data.folder import File, file_of, find_files
from vae_simpsons.data.index import Facts, Index, Unreadable
from vae_simpsons.data.similar import Fingerprints, compute_fingerprints, group_near_duplicates
from vae_simpsons.errors import VAEError, renamed
from vae_simpsons.files import check_free_space, npy_writer, sync_file
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Data
from vae_simpsons.threads import map_ahead

PACK_VERSION = 2  # raise it when the same files would give other pixels or another index.json
BLOCK_FILES = 64  # that a thread decodes at a time
BLOCKS_AHEAD = 4  # for each core
MAX_UNREADABLE = 0.1  # share of unreadable images above which a folder is not a data set


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
            images = unpack(source, temporary / "unpacked", progress).images
            write_pack(images, find_files(images), data, temporary, progress)
            shutil.rmtree(temporary / "unpacked")
        else:
            write_pack(source, files, data, temporary, progress)
        for outdated in folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*"):  # of the source before it changed
            shutil.rmtree(outdated, ignore_errors=True)

    with renamed(archive="data.path"):
        packed = is_archive(source)
        files = [file_of(source, source.parent)] if packed else find_files(source)
        cache = cache_folder(data)
        folder = cache / "packs" / pack_name(source, files, data)
        return make_cached(cache, folder, lambda: read_pack(folder, data), fill, progress)


def pack_name(source: Path, files: Sequence[File], data: Data) -> str:
    """Returns the name of the folder that `source` is packed in; its last part changes with the files."""

    def digest(*parts: object) -> str:
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    root = source.resolve()
    height, width = data.size
    is_square = height == width
    view = [height if is_square else data.size, data.channels, data.crop, data.resize]
    readable = re.sub(r"[^A-Za-z0-9]+", "_", root.name)[:40]
    size = f"{height}px" if is_square else f"{height}x{width}px"
    return f"{readable}-{size}-{digest(str(root), view)[:8]}-{digest(PACK_VERSION, files)[:16]}"


def write_pack(source: Path, files: Sequence[File], data: Data, folder: Path, progress: Progress) -> None:
    """Decodes `files` of `source` into a pack in the empty `folder`."""
    shape = (len(files), data.channels, *data.size)
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
    """Decodes `files` of `source` on all cores, some blocks ahead, and returns what is known of them.

    Args:
        use: called with the pixels of the readable images, uint8 (n, C, H, W), in order, block by block.
    """

    def decode_files(block_files: Sequence[File]) -> tuple[Block, Fingerprints]:
        block = decode_block(source, block_files, data)
        return block, compute_fingerprints(block.pixels)

    index, prints, cores = Index(), [], os.cpu_count() or 1
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
            if use:
                use(block.pixels)
            show(len(index.paths) + len(index.unreadable))
    if index.paths:
        all_prints = Fingerprints(*map(np.concatenate, zip(*prints, strict=True)))
        show = progress("finding near-duplicates", len(index.paths))
        index.groups.extend(group_near_duplicates(all_prints, show).tolist())
    return index


def check_readable(index: Index) -> None:
    """Refuses a folder of which more than a tenth is unreadable."""
    count = len(index.paths) + len(index.unreadable)
    if len(index.unreadable) > MAX_UNREADABLE * count:
        path, reason = index.unreadable[0]
        raise VAEError(
            f"data.path: {len(index.unreadable)} of {count} images are unreadable, the first {path!r} ({reason}). "
            f"Up to {MAX_UNREADABLE:.0%} are skipped. 'vae data check' lists them: fix or remove them."
        )


def read_pack(folder: Path, data: Data) -> Pack | None:
    """Returns the pack in `folder`; None if there is none, or it is damaged."""
    try:
        columns = json.loads((folder / "index.json").read_text(encoding="ascii"))
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        facts = [Facts(*row) for row in columns["facts"]]
        unreadable = [Unreadable(*row) for row in columns["unreadable"]]
        index = Index(columns["paths"], facts, columns["groups"], unreadable)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    count = len(index.paths)
    shape = (count, data.channels, *data.size)
    if pixels.shape != shape or pixels.dtype != np.uint8 or len(index.groups) != count:
        return None
    with warnings.catch_warnings(action="ignore"):  # torch does not know read-only memory; writing to it would crash
        return Pack(folder, torch.from_numpy(pixels), index)
