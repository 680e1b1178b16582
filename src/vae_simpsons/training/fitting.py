"""Gaussians fitted to the latents of a finished model, in its checkpoint."""

import time
from dataclasses import replace
from pathlib import Path

import torch

from vae_simpsons import images
from vae_simpsons.checkpoint import PRIOR, read_checkpoint, write_checkpoint
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.images import denormalise
from vae_simpsons.inference.latents import encode_posteriors
from vae_simpsons.inference.sample import sample
from vae_simpsons.loading import load_network
from vae_simpsons.models import check_prior_size
from vae_simpsons.models.priors import fit_gaussian
from vae_simpsons.progress import Progress
from vae_simpsons.training.resuming import autoencoder_of
from vae_simpsons.training.stages import told_by

SAMPLES, COLUMNS = 64, 8  # of the picture that shows them


def fit_gaussians(path: Path, dataset: Dataset, pictures: Path, progress: Progress) -> str:
    """Fits Gaussians to the latents of the images that train, adds them to the checkpoint at `path`, and draws samples.

    Returns what was done in words.
    """
    started = time.monotonic()
    model = read_checkpoint(path)
    network = load_network(autoencoder_of(model))
    names = told_by(None, model.settings, dataset)
    check_prior_size(model.settings, len(names))
    chosen = torch.from_numpy(dataset.train)
    flip = model.settings.data.horizontal_flip
    encoded = encode_posteriors(network, dataset.pack.pixels[chosen], flip, progress)  # (n, flips, 2, *latent)
    labels = dataset.numbered(names)[chosen].repeat_interleave(encoded.shape[1]) if names else None
    mu, log_var = encoded.flatten(0, 1).unbind(1)
    prior = fit_gaussian(mu, log_var, labels, len(names), model.settings.prior.components, model.settings.seed)
    network.prior = prior
    tensors = model.tensors | {PRIOR + name: tensor for name, tensor in prior.state_dict().items()}
    write_checkpoint(replace(model, tensors=tensors, class_names=names))
    grid = images.make_grid(denormalise(torch.cat(list(sample(network, SAMPLES, 0)))), COLUMNS)
    images.write_png(pictures / f"samples_{path.stem}.png", grid)
    count = f"{len(prior.weights)} Gaussian" + "s" * (len(prior.weights) > 1)
    return f"{count} fitted to the latents of {path} in {time.monotonic() - started:.1f} s"
