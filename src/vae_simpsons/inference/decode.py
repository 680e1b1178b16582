"""Latents in files -> pictures in files: the inverse of encode."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.files import read_csv
from vae_simpsons.images import denormalise, write_png
from vae_simpsons.inference.blocks import block_size, map_blocks
from vae_simpsons.inference.latents import decode
from vae_simpsons.models import Autoencoder
from vae_simpsons.paths import expand_home
from vae_simpsons.progress import Progress

PATTERN = "latent_{:06d}.png"  # of a picture whose latent has no name


class Latents(NamedTuple):
    """Latents of a file, mapped into memory, and the names of their pictures."""

    z: np.ndarray  # (N, *latent), floats
    names: list[str]  # of the PNGs, relative to a folder, with / between parts


def open_latents(path: str | Path, shape: Sequence[int]) -> Latents:
    """Returns the latents in a .npy file, or in the folder that `vae encode` wrote, whose images.csv names them.

    Args:
        shape: of one latent of the model.

    Raises:
        VAEError: naming `z`: no such file, no array, or one of another shape; a damaged images.csv.
    """
    path = Path(expand_home("z", path))
    file = path / "mu.npy" if path.is_dir() else path
    if not file.is_file():
        raise VAEError(f"z: no such file: {file}. Give a .npy file of latents, or the folder that vae encode wrote.")
    try:
        z = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise VAEError(f"z: cannot read {file}: {one_line(e)}. Give a .npy file of numbers.") from None
    if not isinstance(z, np.ndarray):
        raise VAEError(f"z: {file} is an archive of arrays. Give one array, as a .npy file.")
    check_latents(z.shape, np.issubdtype(z.dtype, np.floating), shape, str(file))
    table = path / "images.csv"
    names = read_names(table) if path.is_dir() and table.exists() else [PATTERN.format(i) for i in range(len(z))]
    if len(names) != len(z):
        raise VAEError(f"z: {table} names {len(names)} images, and {file} has {len(z)} latents. Encode them again.")
    return Latents(z, names)


def check_latents(actual: Sequence[int], are_floats: bool, shape: Sequence[int], what: str) -> None:
    """Refuses an array of latents that the model cannot decode.

    Args:
        shape: of one latent of the model.

    Raises:
        VAEError: naming `z`.
    """
    if tuple(actual[1:]) != tuple(shape) or not are_floats or not actual[0]:
        wanted = ", ".join(["N", *map(str, shape)])
        kind = "" if are_floats else ", and no floats"
        raise VAEError(
            f"z: {what} has the shape {tuple(actual)}{kind}. The model decodes floats of ({wanted}), N >= 1."
        )


def read_names(table: Path) -> list[str]:
    """Returns where the picture of each row of images.csv belongs: its path, ending in .png.

    Two images whose paths differ in the ending alone keep it: a.jpg.png.

    Raises:
        VAEError: not such a table, a path that leads out of the folder, or a path that comes twice.
    """
    try:
        paths = [row["path"] for row in read_csv(table)]
    except (OSError, KeyError, csv.Error) as e:
        raise VAEError(f"z: cannot read {table}: {one_line(e)}. It should have a column path.") from None
    for path in paths:
        local = Path(path or "")  # as this system reads it
        if not local.parts or ".." in local.parts or local.anchor or "\0" in path:
            raise VAEError(f"z: {table} names {path!r:.80}, which is no path inside a folder. Remove that table.")
    short = [str(PurePosixPath(path).with_suffix(".png")) for path in paths]
    times = Counter(short)
    names = [f"{path}.png" if times[name] > 1 else name for path, name in zip(paths, short, strict=True)]
    if len(set(names)) != len(names):
        raise VAEError(f"z: {table} names an image twice. Encode them again.")
    return names


def decode_to_folder(network: Autoencoder, latents: Latents, folder: Path, progress: Progress) -> None:
    """Writes the picture of each latent into `folder` under its name, block by block.

    Raises:
        VAEError: naming `z`: a latent that is not finite.
        OSError: `folder` cannot be written.
    """
    size, count = block_size(network), len(latents.z)

    def pictures(start: int) -> Tensor:
        z = torch.from_numpy(np.array(latents.z[start : start + size], dtype=np.float32))
        if not z.isfinite().all():
            number = start + int((~z.flatten(1).isfinite().all(1)).nonzero()[0])
            raise VAEError(f"z: latent {number} is not finite. Give numbers.")
        return denormalise(decode(network, z))

    report = progress("decoding", count)
    names = iter(latents.names)
    starts = range(0, count, size)
    for start, block in zip(starts, map_blocks(network, pictures, starts, len(starts)), strict=True):
        for pixels in block:
            path = folder / next(names)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, pixels)
        report(start + len(block))
