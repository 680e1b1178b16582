"""A pack of images -> their posteriors, in files that numpy opens."""

import csv
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from vae_simpsons import sampling
from vae_simpsons.data.cache import check_space
from vae_simpsons.data.index import Index
from vae_simpsons.data.pack import Pack
from vae_simpsons.models import ConvVAE
from vae_simpsons.progress import Progress

COLUMNS = ("path", "class")


def write(network: ConvVAE, pack: Pack, folder: Path, progress: Progress) -> list[Path]:
    """The files made in `folder`: mu.npy and log_var.npy, float32 (N, latent_dim), row i of image i of images.csv.

    They are written block by block while the next ones are encoded. An autoencoder has no log_var, and no file of it.

    Args:
        network: in eval mode.
        progress: called with a title and a total, returns what is called with the number done.

    Raises:
        OSError: `folder` cannot be written, or the disk has not the room.
    """
    count = len(pack.index.paths)
    paths = [folder / f"{name}.npy" for name in ("mu", "log_var")[: 1 + network.variational]]
    check_space(folder, len(paths) * count * network.latent_dim * 4)
    # Not mapped into memory: a disk that fills up would then end the process with a signal.
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, network.latent_dim)}
    done, encoded = progress("encoding images", count), 0
    with ExitStack() as stack:
        files = [stack.enter_context(open(path, "wb")) for path in paths]
        for file in files:
            np.lib.format.write_array_header_1_0(file, header)
        for block in sampling.encode(network, pack.pixels):
            for file, part in zip(files, block, strict=False):
                file.write(part.numpy())
            encoded += len(block[0])
            done(encoded)
    write_images(folder / "images.csv", pack.index)
    return [*paths, folder / "images.csv"]


def write_images(path: Path, index: Index) -> None:
    """Write path and class of every image as CSV, in order.

    Raises:
        OSError: it cannot be written.
    """
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(zip(index.paths, index.classes, strict=True))
