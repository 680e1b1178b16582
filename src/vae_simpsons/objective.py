"""The objective: squared error, KL divergence and ELBO, as pure functions of tensors.

The model is p(z) = N(0, I), p(x|z) = N(recon(z), sigma^2 I), q(z|x) = N(mu(x), diag exp(log_var(x))). Its evidence
lower bound is, for one image of D = C*H*W values,

    elbo = -(nll + kl)
    nll  = -E_q[log p(x|z)] = D/2 ln(2 pi sigma^2) + D/(2 sigma^2) mse
    kl   = KL(q(z|x) || p(z))

The loss that is minimised is mse + w kl with w = beta * kld_weight. Multiplied by D/(2 sigma^2) it is -elbo up to a
constant when w = 2 sigma^2 / D: the weight of the KL term *is* an assumption about the noise of a pixel.

Source: Kingma & Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114, Eq. 3, 10 and Appendix B;
Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders, arXiv 2006.13202, Eq. 3 to 5.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class LossTerms(NamedTuple):
    """The loss of a batch and what it is made of."""

    loss: Tensor  # () what is minimised
    mse: Tensor  # () squared error, mean over images, channels and pixels
    kl: Tensor  # (B,) nats an image, summed over the latent dimensions


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in 32 bits or more: sums of squares of half-precision numbers lose their digits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def mean_squared_error(recon: Tensor, x: Tensor) -> Tensor:
    """Squared error of the decoder's mean and the images, both (B, C, H, W), mean over images, channels and pixels."""
    if recon.shape != x.shape:  # a grey image must not be broadcast against an RGB one
        raise ValueError(f"recon {tuple(recon.shape)} and x {tuple(x.shape)} differ in shape")
    return (at_least_float32(recon) - at_least_float32(x)).square().mean()


def kl_per_dimension(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, exp(log_var)) || N(0, 1)) of each latent dimension, (B, *latent), in nats, never negative."""
    mu, log_var = at_least_float32(mu), at_least_float32(log_var)
    # expm1(v) - v is exp(v) - 1 - v without the cancellation near v = 0; its rounding can still dip below zero.
    return 0.5 * (mu.square() + (torch.expm1(log_var) - log_var).clamp_min(0.0))


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)) in nats an image, (B,): summed over the latent dimensions."""
    return kl_per_dimension(mu, log_var).flatten(1).sum(dim=1)


def vae_loss(recon: Tensor, x: Tensor, mu: Tensor, log_var: Tensor, kl_weight: float) -> LossTerms:
    """mse + kl_weight * kl, with kl averaged over the batch; kl_weight is beta * kld_weight."""
    mse = mean_squared_error(recon, x)
    kl = kl_divergence(mu, log_var)
    return LossTerms(mse + kl_weight * kl.mean(), mse, kl)


def autoencoder_loss(recon: Tensor, x: Tensor) -> LossTerms:
    """Squared error alone; a code that is no distribution has no KL."""
    mse = mean_squared_error(recon, x)
    return LossTerms(mse, mse, mse.new_zeros(len(x)))


def implied_sigma(kl_weight: float, values: int) -> float:
    """The pixel noise, on pixels in [-1, 1], for which mse + kl_weight * kl is the negative ELBO; `values` is D."""
    return math.sqrt(kl_weight * values / 2)


def gaussian_nll(mse: Tensor | float, sigma: float, values: int) -> Tensor | float:
    """-log N(x; recon, sigma^2 I) in nats an image; `values` is D."""
    return values / 2 * math.log(2 * math.pi * sigma**2) + values / (2 * sigma**2) * mse


def elbo(mse: Tensor | float, kl: Tensor | float, sigma: float, values: int) -> Tensor | float:
    """-(nll + kl) in nats an image, larger is better; the KL always counts once, whatever beta trains."""
    return -(gaussian_nll(mse, sigma, values) + kl)
