"""The pictures of an evaluation: reconstructions, neighbours, a traversal and a map of the latents."""

import numpy as np
import torch

from vae_simpsons.evaluation.blocks import filled
from vae_simpsons.evaluation.groups.latents import kl_of_each_dimension
from vae_simpsons.evaluation.groups.subject import Subject, choose
from vae_simpsons.evaluation.memorisation import nearest_numbers
from vae_simpsons.evaluation.posterior import find_components
from vae_simpsons.evaluation.result import LatentMap, Neighbours, Reconstructions, Traversal
from vae_simpsons.images import denormalise, shrink

SHOWN = 8  # reconstructions of each kind
QUERIES, NEAREST = 16, 3  # samples whose nearest training images are shown, and how many
STEPS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # of a traversal, standard deviations of mu over the images
DIMENSIONS = 8  # of a traversal
POINTS, THUMB = 800, 32  # images on the map, and their largest side in pixels


def reconstructions(subject: Subject) -> dict[str, Reconstructions]:
    """Returns the best, the middle and the worst reconstructions by mse, each from its best to its worst."""
    found = subject.reconstructed
    order = found.mse.argsort(stable=True)
    shown = min(SHOWN, len(order))
    middle = (len(order) - shown) // 2
    parts = {"best": order[:shown], "median": order[middle : middle + shown], "worst": order[-shown:]}
    return {
        name: Reconstructions(subject.originals[rows], found.recon[rows], found.mse[rows])
        for name, rows in parts.items()
    }


def neighbours(subject: Subject) -> Neighbours:
    """Returns the first samples and the training images nearest to them in pixels, mirrored where that is nearer."""
    queries = subject.samples[:QUERIES]
    training = subject.pixels(choose(subject.dataset.train, subject.plan.searched, subject.seed))
    flat, mirrored, count = queries.flatten(1), queries.flip(-1).flatten(1), min(NEAREST, len(training))
    nearest = training[nearest_numbers(flat, mirrored, training.flatten(1), count)]  # (n, k, C, H, W)
    ways = torch.stack([nearest, nearest.flip(-1)])
    distances, way = (ways.double() - queries[:, None].double()).square().mean((3, 4, 5)).sqrt().min(0)
    return Neighbours(queries, torch.where(way[:, :, None, None, None] > 0, ways[1], ways[0]), distances)


def traversal(subject: Subject) -> Traversal:
    """Returns the dimensions of largest KL, each moved alone away from the mean of the posteriors' means."""
    mu = subject.posterior[0]
    flat = mu.flatten(1)
    kl = kl_of_each_dimension(subject)
    order = sorted(range(len(kl)), key=lambda d: (-kl[d], d))[:DIMENSIONS]
    centre, spread = flat.mean(0), flat.std(0, correction=0)
    z = centre.repeat(len(order), len(STEPS), 1)  # (dimensions, steps, D)
    for row, dimension in enumerate(order):
        z[row, :, dimension] += spread[dimension] * torch.tensor(STEPS)
    z = z.flatten(0, 1).unflatten(1, mu.shape[1:])
    with torch.inference_mode():
        parts = [subject.decode(filled(part, subject.block))[: len(part)] for part in z.split(subject.block)]
    images = denormalise(torch.cat(parts)).unflatten(0, (len(order), len(STEPS)))
    return Traversal(order, [kl[d] for d in order], list(STEPS), images)


def latent_map(subject: Subject) -> LatentMap | None:
    """Returns some of the images on the first two principal components of mu; None below three images or dimensions."""
    rows = torch.from_numpy(choose(np.arange(len(subject.images)), POINTS, subject.seed))
    mu = subject.posterior[0].flatten(1)[rows].double()
    if min(mu.shape) < 2 or len(mu) < 3:
        return None
    found = find_components(mu)
    points, (first, second) = (mu - found.mean) @ found.vectors[:2].T.double(), found.shares[:2].tolist()
    labels = subject.dataset.labels[torch.from_numpy(subject.images)][rows]
    thumbnails = shrink(subject.originals[rows], THUMB)
    return LatentMap(points, (first, second), thumbnails, labels, subject.dataset.class_names)
