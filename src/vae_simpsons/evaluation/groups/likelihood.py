"""KL and bounds on the likelihood, at the pixel noise that the loss implies and at the one that fits the residual."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.evaluation import likelihood as bounds
from vae_simpsons.evaluation.figures import Figure, mean_figure, standard_error
from vae_simpsons.evaluation.groups.subject import TRAIN, Subject, choose
from vae_simpsons.objective import kl_divergence

SIGMA = "fitted sigma"
SIGMA_IS = "pixel noise of greatest ELBO: root mean squared error under q, pixels in [-1, 1]"
RAW = "raw 8-bit pixels"


class Noise(NamedTuple):
    """A pixel noise to read the model with."""

    name: str  # implied or fitted
    sigma: float


def likelihood(subject: Subject, missing: list[str]) -> list[Figure]:
    """kl, sigma, elbo, bits per dimension, IWAE and its effective sample size."""
    mu, log_var = subject.posterior
    kl = kl_divergence(mu.double().flatten(1), log_var.double().flatten(1))
    fitted = _fitted_sigma(subject)
    noises = [Noise("fitted", fitted.value)]
    if subject.sigma:
        noises.insert(0, Noise("implied", subject.sigma))
        fitted = replace(fitted, reference=noises[0].sigma, reference_is="implied by the loss")
    elif subject.sigma == 0:
        missing.append(
            "elbo, implied sigma: objective.beta 0 implies no pixel noise, and so no likelihood. Those at the fitted "
            "sigma are given."
        )
    figures = [mean_figure("kl", kl, bounds.DEFINITIONS["kl"])]
    elbos = _elbos(subject, noises)
    for noise, of_density, of_bits in zip(noises, elbos[0], elbos[1], strict=True):
        figures += _bound_figures(subject, noise, of_density, of_bits)
    for noise, of_density in zip(noises, elbos[0], strict=True):
        figures += _weighted_figures(subject, noise, of_density, noise is noises[0])
    return [figures[0], fitted, *figures[1:]]


def _fitted_sigma(subject: Subject) -> Figure:
    pixels = subject.pixels(choose(subject.dataset.train, subject.plan.fitted, subject.seed))
    show = subject.bar.part("fit", len(pixels))
    mu, log_var = bounds.posteriors(subject.encode, pixels)
    z = bounds.sampled_latents(mu, log_var, subject.seed)
    mse = bounds.residuals(subject.decode, z, pixels, show)
    sigma = bounds.fitted_sigma(mse)
    error = standard_error(mse)  # of sigma^2; sigma moves by 1 / 2 sigma of it
    return Figure(SIGMA, sigma, error and error / (2 * sigma), len(mse), SIGMA_IS, split=TRAIN)


def _elbos(subject: Subject, noises: list[Noise]) -> tuple[Tensor, Tensor]:
    """The ELBO of each image, of densities and of 8-bit values, (noises, n) each, nats."""
    mu, log_var = subject.posterior
    z = bounds.sampled_latents(mu, log_var, subject.seed)
    read = [reading(noise.sigma) for reading in (bounds.continuous, bounds.discrete) for noise in noises]
    show = subject.bar.part("bounds", len(mu))
    expected = bounds.expected_log_likelihoods(subject.decode, z, subject.originals, read, show)
    both = bounds.elbos(mu, log_var, expected).T
    return both[: len(noises)], both[len(noises) :]


def _bound_figures(subject: Subject, noise: Noise, of_density: Tensor, of_bits: Tensor) -> list[Figure]:
    at = f"{noise.name} sigma"
    bits = bounds.bits_per_dim(of_bits, subject.values)
    name, said = "bits per dimension", bounds.DEFINITIONS["bits per dimension"]
    return [
        mean_figure(f"elbo, {at}", of_density, bounds.DEFINITIONS["elbo"]),
        mean_figure(f"{name}, {at}", bits, said, bounds.RAW_BITS, RAW),
    ]


def _weighted_figures(subject: Subject, noise: Noise, elbo: Tensor, first: bool) -> list[Figure]:
    """The importance-weighted bound beside the ELBO of the same images, and how many of its samples count."""
    chosen = torch.from_numpy(choose(np.arange(len(elbo)), subject.plan.weighted, subject.seed))
    samples = subject.plan.weights
    show = subject.bar.part("iwae", 2 * len(chosen))
    before = 0 if first else len(chosen)
    bound, sizes = bounds.iwae(
        subject.encode, subject.decode, subject.originals[chosen], bounds.continuous(noise.sigma), samples,
        subject.seed, lambda done: show(before + done),
    )  # fmt: skip
    at = f"{noise.name} sigma"
    said = f"importance-weighted bound with K = {samples} samples an image, nats; at least the elbo on average"
    size_is = f"(sum w)^2 / sum w^2 of the K = {samples} weights, mean over images; near 1 the bound is loose"
    return [
        mean_figure(f"IWAE, {at}", bound, said, elbo[chosen].mean().item(), "elbo of the same images"),
        mean_figure(f"effective sample size, {at}", sizes, size_is, float(samples), "K, all weights equal"),
    ]
