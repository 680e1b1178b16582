"""The objective: squared error, KL divergence and ELBO, as pure functions of tensors.

The model is p(z) = N(0, I), p(x|z) = N(recon(z), sigma^2 I), q(z|x) = N(mu(x), diag exp(log_var(x))). Its evidence
lower bound is, for one image of D = C*H*W values,

    elbo = -(nll + kl)
    nll  = -E_q[log p(x|z)] = D/2 ln(2 pi sigma^2) + D/(2 sigma^2) mse
    kl   = KL(q(z|x) || p(z))

The published loss is mse + w kl with w = beta * kld_weight. Multiplied by D/(2 sigma^2) it is -elbo up to a constant
when w = 2 sigma^2 / D: the weight of the KL term *is* an assumption about the noise of a pixel. With objective.sigma
the noise is said instead, or fitted, and the loss is (nll + beta kl) / D, nats a value.

Source: Kingma & Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114, Eq. 3, 10 and Appendix B;
Rybkin et al., Simple and Effective VAE Training with Calibrated Decoders, arXiv 2006.13202, Eq. 3 to 5.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_simpsons import settings

SMALLEST_MSE = 1e-8  # of which optimal_sigma makes a noise; 8-bit pixels are rounded by more, 5e-6


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


def implied_sigma(kl_weight: float, values: int) -> float:
    """The pixel noise, on pixels in [-1, 1], for which mse + kl_weight * kl is the negative ELBO; `values` is D."""
    return math.sqrt(kl_weight * values / 2)


def gaussian_nll(mse: Tensor, sigma: Tensor | float, values: int) -> Tensor:
    """-log N(x; recon, sigma^2 I) in nats an image; `values` is D."""
    log_sigma = sigma.log() if isinstance(sigma, Tensor) else math.log(sigma)
    return values * (0.5 * math.log(2 * math.pi) + log_sigma) + values / (2 * sigma**2) * mse


def elbo(mse: Tensor, kl: Tensor, sigma: float, values: int) -> Tensor:
    """-(nll + kl) in nats an image, larger is better; the KL always counts once, whatever beta trains."""
    return -(gaussian_nll(mse, sigma, values) + kl)


def optimal_sigma(mse: Tensor) -> Tensor:
    """The pixel noise under which the images are most likely: sigma^2 = mse (Rybkin et al., Eq. 3 to 5)."""
    return mse.clamp_min(SMALLEST_MSE).sqrt()


def kl_cost(kl_per_dimension: Tensor, free_bits: float) -> Tensor:
    """What the KL term costs, (), nats: sum of max(free_bits, KL) over the dimensions of a batch's mean KL, (D,).

    A dimension whose KL is below `free_bits` has no gradient, and so no reason to shrink further.
    Source: Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, arXiv 1606.04934, Eq. 15.
    """
    return kl_per_dimension.clamp_min(free_bits).sum()


class Terms(NamedTuple):
    """The loss of a batch, or of a validation, and what it is made of."""

    loss: Tensor  # () what is minimised
    mse: Tensor  # () mean over images, channels and pixels
    kl: Tensor  # () nats an image
    elbo: Tensor  # () nats an image, beta 1 and nothing free, at the noise that is assumed, fitted or learned


class Objective:
    """The loss that the settings ask for.

    Args:
        chosen: the section of the settings.
        values: D = C * H * W of an image.
    """

    def __init__(self, chosen: settings.Objective, values: int) -> None:
        self.chosen, self.values = chosen, values

    def assumed_sigma(self) -> float | None:
        """The pixel noise that the settings assume, at beta 1; None where it is fitted or learned."""
        sigma = self.chosen.sigma
        if sigma is None:
            return implied_sigma(self.chosen.kld_weight, self.values)
        return None if isinstance(sigma, str) else sigma

    def implied_sigma(self) -> float | None:
        """The noise for which the loss, with its beta, is a negative ELBO: assumed_sigma * sqrt(beta)."""
        sigma = self.assumed_sigma()
        return None if sigma is None else sigma * math.sqrt(self.chosen.beta)

    def terms(
        self, mse: Tensor, kl_per_dimension: Tensor, kl_share: Tensor | float = 1.0, log_sigma: Tensor | None = None
    ) -> Terms:
        """Returns the loss and its terms.

        Args:
            mse: mean squared error, ().
            kl_per_dimension: mean KL of each latent dimension, (D,), nats.
            kl_share: of the KL term's weight, as warm-up grows it from 0 to 1.
            log_sigma: of the learned noise, ().
        """
        cost = self.chosen.beta * kl_share * kl_cost(kl_per_dimension, self.chosen.free_bits)
        kl = kl_per_dimension.sum()
        sigma: Tensor | float | None = self.assumed_sigma()
        if sigma is None:
            sigma = optimal_sigma(mse) if log_sigma is None else log_sigma.exp()
        nll = gaussian_nll(mse, sigma, self.values)
        published = self.chosen.sigma is None
        loss = mse + self.chosen.kld_weight * cost if published else (nll + cost) / self.values
        return Terms(loss, mse, kl, -(nll + kl))
