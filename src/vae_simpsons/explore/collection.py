"""The pictures that the page has on its map: a user's, the run's, or samples of the prior."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vae_simpsons.api import VAE
from vae_simpsons.data.order import spread
from vae_simpsons.data.pictures import pictures_of
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.posterior import kl_by_dimension
from vae_simpsons.images import denormalise
from vae_simpsons.inference.blocks import block_size
from vae_simpsons.inference.latents import encode_pictures
from vae_simpsons.progress import Progress

MOST = 4000  # pictures; a sheet of so many thumbnails is still one that browsers show
SAMPLES = 128  # of the prior, at most: a flow takes seconds for each dozen


class Collection(NamedTuple):
    """Some pictures, each with its name and class."""

    source: str  # in words
    pixels: Tensor  # uint8 (n, C, H, W)
    names: list[str]
    labels: list[str]  # the class of each, '' for none


def gather(
    model: VAE, paths: Sequence[str], most: int, cache_dir: str | None, progress: Progress
) -> tuple[Collection, list[str]]:
    """Returns at most `most` pictures, spread evenly over what there is, and remarks on what was left out.

    Args:
        paths: files, folders and archives; none: the validation images of the run or, where they are gone, samples.

    Raises:
        VAEError: naming PATH: no pictures there; none given, none of the run, and no prior to draw from.
    """
    if not 2 <= most <= MOST:
        raise VAEError(f"most: {most} is not accepted. Give a whole number from 2 to {MOST:,}.")
    if paths:
        return _from_paths(model, paths, most, cache_dir, progress)
    try:
        return _from_run(model, most, cache_dir, progress), []
    except VAEError as e:
        if not model.network.variational:
            raise VAEError(f"PATH: none given, and the run's pictures are not there: {e}") from None
        return _from_prior(model, most, progress), [f"samples instead of the run's pictures: {e}"]


def _from_paths(
    model: VAE, paths: Sequence[str], most: int, cache_dir: str | None, progress: Progress
) -> tuple[Collection, list[str]]:
    names, labels, folders = [], [], [Path(path) for path in paths]
    pictures = model.open_pictures("PATH", folders, cache_dir, progress)
    for folder, part in zip(folders, pictures.parts, strict=True):
        for path in map(Path, part.names):
            names.append(path.relative_to(folder.parent).as_posix())  # where the folder is, the page need not know
            labels.append(label_of(path, folder, len(folders) > 1))
    chosen = spread(len(pictures), most).tolist()
    source = f"{len(chosen):,} of your {len(pictures):,} pictures" if len(chosen) < len(pictures) else "your pictures"
    found = Collection(source, pictures.take(chosen), [names[i] for i in chosen], [labels[i] for i in chosen])
    return found, pictures.left_out


def _from_run(model: VAE, most: int, cache_dir: str | None, progress: Progress) -> Collection:
    dataset = model.open_dataset(None, cache_dir, progress)
    chosen = dataset.val[spread(len(dataset.val), most)]
    pictures, classes = pictures_of(dataset.pack, chosen), dataset.pack.index.classes
    source = f"{len(chosen):,} validation images of the run"
    return Collection(source, pictures.take(range(len(chosen))), pictures.names, [classes[i] for i in chosen])


def _from_prior(model: VAE, most: int, progress: Progress) -> Collection:
    classes = model.class_names[:most]
    each = max(1, min(most, SAMPLES) // max(1, len(classes)))
    count = each * max(1, len(classes))
    pixels = denormalise(model.sample(count, class_names=classes or None, progress=progress))
    labels = [name for name in classes or [""] for _ in range(each)]
    return Collection(f"{count:,} samples of the prior", pixels, [f"sample {i}" for i in range(count)], labels)


def encode_all(model: VAE, pixels: Tensor, progress: Progress) -> tuple[Tensor, Tensor | None]:
    """Returns mu (n, *latent) of uint8 pictures (n, C, H, W), and the mean KL of each latent dimension, nats, (D,).

    An autoencoder has None for the KL.

    Raises:
        VAEError: naming `path`: the model encodes to numbers that are not finite.
    """
    blocks = pixels.split(block_size(model.network))
    found = list(encode_pictures(model.network, blocks, len(pixels), progress))
    mu = torch.cat([mu for mu, _ in found])
    if not mu.isfinite().all():
        raise VAEError("path: the model encodes pictures to numbers that are not finite. Give an earlier checkpoint.")
    if not model.network.variational:
        return mu, None
    log_var = torch.cat([part for _, part in found if part is not None])
    return mu, kl_by_dimension(mu.flatten(1), log_var.flatten(1))


def label_of(path: Path, folder: Path, named: bool) -> str:
    """Returns the class of the picture at `path` in `folder`: the sub-folder that it is in.

    Args:
        named: with the folder's own name before it, since there are others.
    """
    parts = path.relative_to(folder).parts[:-1]
    own = (folder.name,) if named and path != folder else ()
    return "/".join((*own, *parts))
