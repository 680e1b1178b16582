"""A pack of images -> their posteriors, in files that numpy opens."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from vae_simpsons.data.pack import Pack
from vae_simpsons.files import check_free_space, npy_writer, write_csv
from vae_simpsons.inference.blocks import block_size
from vae_simpsons.inference.latents import encode_pictures
from vae_simpsons.models import Autoencoder
from vae_simpsons.progress import Progress


def encode_pack(network: Autoencoder, pack: Pack, folder: Path, progress: Progress) -> list[Path]:
    """Writes mu.npy and log_var.npy, float32 (N, *latent), row i of image i of images.csv, into the empty `folder`.

    Returns the files' paths. They grow while the next blocks are encoded. An autoencoder has no file of log_var.
    """
    count = len(pack.index.paths)
    names = ["mu.npy", "log_var.npy"] if network.variational else ["mu.npy"]
    shape = (count, *network.latent_shape)
    check_free_space(folder, len(names) * 4 * int(np.prod(shape)))
    blocks = pack.pixels.split(block_size(network))
    with ExitStack() as stack:
        writers = [stack.enter_context(npy_writer(folder / name, shape, np.float32)) for name in names]
        for latents in encode_pictures(network, blocks, count, progress):
            for append, part in zip(writers, latents, strict=False):
                if part is not None:
                    append(part.numpy())
    write_csv(folder / "images.csv", ("path", "class"), zip(pack.index.paths, pack.index.classes, strict=True))
    return [*(folder / name for name in names), folder / "images.csv"]
