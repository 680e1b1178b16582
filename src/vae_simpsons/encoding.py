"""A pack of images -> their posteriors, in files that numpy opens."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from vae_simpsons import sampling
from vae_simpsons.data.pack import Pack
from vae_simpsons.files import check_free_space, npy_writer, write_csv
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
    check_free_space(folder, len(paths) * count * network.latent_dim * 4)
    done, encoded = progress("encoding images", count), 0
    with ExitStack() as stack:
        appends = [stack.enter_context(npy_writer(path, (count, network.latent_dim), np.float32)) for path in paths]
        for block in sampling.encode(network, pack.pixels):
            for append, part in zip(appends, block, strict=False):
                append(part.numpy())
            encoded += len(block[0])
            done(encoded)
    write_csv(folder / "images.csv", COLUMNS, zip(pack.index.paths, pack.index.classes, strict=True))
    return [*paths, folder / "images.csv"]
