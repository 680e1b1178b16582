"""Bounds on the log-likelihood of images: ELBO, bits per dimension, and the importance-weighted bound.

The decoder's distribution is N(recon(z), sigma^2) for each value x = u / 127.5 - 1 of an 8-bit pixel u. Two readings:

- continuous: the density at x, in nats. It can be any number, and says nothing about storage.
- discrete: the probability of u itself, the Gaussian's mass between u - 1/2 and u + 1/2, where 0 takes all that lies
  below and 255 all above. These sum to 1 over the 256 values, so -log2 of it is the length of a code for the 8-bit
  image, and the ELBO made of it a true bound: `bits_per_dim`, beside 8 for the raw image.

A model is two functions: encode(x) -> (mu, log_var), x (B, C, H, W) in [-1, 1], mu (B, ...); decode(z) -> recon.
Where noise is drawn, image i always gets the same, whatever the number of images and the batch.

Source: Kingma & Welling, arXiv 1312.6114; Salimans et al., PixelCNN++, arXiv 1701.05517, Sec. 2.1 (the bins);
Burda et al., Importance Weighted Autoencoders, arXiv 1509.00519, Eq. 8.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.special import log_ndtr

from vae_simpsons.evaluation.blocks import BLOCK, in_blocks, noise_source
from vae_simpsons.images import normalise
from vae_simpsons.objective import kl_divergence

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
Decode = Callable[[Tensor], Tensor]
LogLikelihood = Callable[[Tensor, Tensor], Tensor]  # recon, uint8 pixels -> log p, nats an image, (B,), float64
Progress = Callable[[int], None] | None

HALF_BIN = 1 / 255  # half the distance of two 8-bit values in [-1, 1]
RAW_BITS = 8.0  # per dimension, of the image as it is
DEFINITIONS = {
    "kl": "KL(q(z|x) || p(z)), nats an image, summed over the latents",
    "elbo": "evidence lower bound of the density of pixels in [-1, 1], nats an image; one z an image, KL exact",
    "bits per dimension": "ELBO of the 8-bit pixels themselves (mass of each bin), -log2 a value: a true bound",
}


def continuous(sigma: float) -> LogLikelihood:
    """log N(x; recon, sigma^2), summed over an image: a density, in nats."""

    def log_density(recon: Tensor, pixels: Tensor) -> Tensor:
        residual = (recon.double() - normalise(pixels).double()).flatten(1)
        log_norm = residual.shape[1] / 2 * math.log(2 * math.pi * sigma**2)
        return -residual.square().sum(1) / (2 * sigma**2) - log_norm

    return log_density


def discrete(sigma: float) -> LogLikelihood:
    """log P(u), summed over an image: the probability of its 8-bit values, in nats, never above 0."""

    def log_probability(recon: Tensor, pixels: Tensor) -> Tensor:
        return log_bin_probability(recon, pixels, sigma).flatten(1).sum(1)

    return log_probability


def log_bin_probability(recon: Tensor, pixels: Tensor, sigma: float) -> Tensor:
    """log of the mass of N(recon, sigma^2) in the bin of each uint8 pixel, in nats, of recon's shape, float64.

    With Phi the normal distribution's integral, this is log(Phi(b) - Phi(a)); in the tail both are near 1 and their
    difference is lost, so the interval is mirrored to where both are small, and the difference taken of logarithms.
    """
    residual = pixels.double() / 127.5 - 1 - recon.double()
    a = torch.where(pixels == 0, -torch.inf, (residual - HALF_BIN) / sigma)
    b = torch.where(pixels == 255, torch.inf, (residual + HALF_BIN) / sigma)
    mirrored = a + b > 0
    a, b = torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)
    log_a, log_b = log_ndtr(a), log_ndtr(b)
    return log_b + torch.log(-torch.expm1(log_a - log_b))


def bits_per_dim(log_likelihood: Tensor, values: int) -> Tensor:
    """-log2 P(image) a value: of nats (N,) of a `discrete` likelihood or its bound, with `values` = C H W."""
    return -log_likelihood / (values * math.log(2))


def posteriors(encode: Encode, pixels: Tensor, on_progress: Progress = None) -> tuple[Tensor, Tensor]:
    """mu and log_var, (N, ...) each, of uint8 images (N, C, H, W)."""
    mu, log_var = in_blocks(lambda block: encode(normalise(block)), pixels, on_progress=on_progress)
    return mu, log_var


def sampled_latents(mu: Tensor, log_var: Tensor, seed: int) -> Tensor:
    """One z of q(z|x) for each image, (N, ...)."""
    sources = (noise_source(seed, block) for block in range(-(-len(mu) // BLOCK)))
    eps = torch.cat([torch.randn((BLOCK, *mu.shape[1:]), generator=source) for source in sources])[: len(mu)]
    return mu + eps.to(mu.dtype) * torch.exp(0.5 * log_var)


def residuals(decode: Decode, z: Tensor, pixels: Tensor, on_progress: Progress = None) -> Tensor:
    """The squared error of each image, (N,), float64, mean over its values, of what z (N, ...) decodes to."""

    def errors(z: Tensor, pixels: Tensor) -> Tensor:
        return (decode(z).double() - normalise(pixels).double()).square().flatten(1).mean(1)

    return in_blocks(errors, z, pixels, on_progress=on_progress)[0]


def fitted_sigma(mse: Tensor) -> float:
    """The pixel noise of greatest ELBO: sqrt of the mean squared error under q, of `residuals` of *training* images.

    Source: Rybkin et al., arXiv 2006.13202, Eq. 5.
    """
    return math.sqrt(mse.double().mean().item())


def expected_log_likelihoods(
    decode: Decode, z: Tensor, pixels: Tensor, likelihoods: Sequence[LogLikelihood], on_progress: Progress = None
) -> Tensor:
    """E_q[log p(x|z)] of each image by the one z given of it, nats, (N, len(likelihoods)), float64."""

    def logs(z: Tensor, pixels: Tensor) -> Tensor:
        recon = decode(z)
        return torch.stack([of(recon, pixels) for of in likelihoods], dim=1)

    return in_blocks(logs, z, pixels, on_progress=on_progress)[0]


def elbos(mu: Tensor, log_var: Tensor, expected: Tensor) -> Tensor:
    """E_q[log p(x|z)] - KL of each image, nats, (N, L), of `expected` (N, L); the KL is exact, not sampled."""
    return expected - kl_divergence(mu.double().flatten(1), log_var.double().flatten(1))[:, None]


def iwae(
    encode: Encode, decode: Decode, pixels: Tensor, likelihood: LogLikelihood, samples: int, seed: int,
    on_progress: Progress = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The importance-weighted bound of each image with K = `samples`, nats, and its effective sample size, (N,) each.

    log 1/K sum_k w_k with w_k = p(x|z_k) p(z_k) / q(z_k|x), z_k of q: no smaller than the ELBO on average, and rising
    with K to log p(x). The effective sample size, (sum w)^2 / sum w^2, is 1 where one z carries all, K at best.
    The first K noises are the same for every K.

    Source: Burda et al., arXiv 1509.00519, Eq. 8.
    """
    numbers = torch.arange(len(pixels))

    def bound(block: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = encode(normalise(block))
        source = noise_source(seed, int(numbers[0]) // BLOCK)
        rows = torch.stack([_log_weight(mu, log_var, block, decode, likelihood, source) for _ in range(samples)])
        log_bound = torch.logsumexp(rows, 0) - math.log(samples)
        return log_bound, torch.exp(2 * torch.logsumexp(rows, 0) - torch.logsumexp(2 * rows, 0))

    bounds, sizes = in_blocks(bound, pixels, numbers, on_progress=on_progress)
    return bounds, sizes


def _log_weight(
    mu: Tensor, log_var: Tensor, pixels: Tensor, decode: Decode, likelihood: LogLikelihood, source: torch.Generator
) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x), (B,), float64, with the next z of each image."""
    eps = torch.randn(mu.shape, generator=source).to(mu)
    z = mu + eps * torch.exp(0.5 * log_var)
    log_prior = -0.5 * z.double().square().flatten(1).sum(1)
    log_posterior = -0.5 * (eps.double().square() + log_var.double()).flatten(1).sum(1)
    return likelihood(decode(z), pixels).cpu() + (log_prior - log_posterior).cpu()
