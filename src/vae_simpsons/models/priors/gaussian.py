"""Gaussians fitted to the encoded images in closed form: one, a mixture, or one for each class.

A latent of image i is drawn from its posterior N(mu_i, diag s_i), s_i = exp(log_var_i). Those of all images together
have the mean E[mu] and, by the law of total variance, the covariance Cov[mu] + diag E[s], whose second term makes it
positive definite however few images there are.
"""

import math

import torch
from torch import Tensor

from vae_simpsons.models.priors.base import FlowOptions, Prior, Shape
from vae_simpsons.models.priors.mixture import mixture_shares, weighted_moments

MIN_IMAGES = 100  # of a class that gets a Gaussian of its own


class GaussianPrior(Prior):
    """A mixture of Gaussians, each z = means[k] + temperature * factors[k] noise; it starts as N(0, I).

    With classes there is one component for each and a last one for images of none. The buffers, for K components of D
    numbers: `weights` (K,), which sum to 1; `means` (K, D); `factors` (K, D, D), the lower Cholesky factors of the
    covariances; `has_class` (class_count,), whether a class has a component. A row without a label, or with that of a
    class that has no component, is drawn from all of them by their weights.

    Args:
        components: K, if there are no classes.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    has_class: Tensor

    def __init__(self, latent_shape: Shape, components: int = 1, class_count: int = 0) -> None:
        super().__init__(latent_shape, class_count)
        count, numbers = class_count + 1 if class_count else components, math.prod(latent_shape)
        self.register_buffer("weights", torch.full((count,), 1 / count))
        self.register_buffer("means", torch.zeros(count, numbers))
        self.register_buffer("factors", torch.eye(numbers).repeat(count, 1, 1))
        self.register_buffer("has_class", torch.zeros(class_count, dtype=torch.bool))

    def transform(self, noise: Tensor, labels: Tensor | None, temperature: float, options: FlowOptions) -> Tensor:
        """Returns means[k] + temperature * factors[k] noise, k chosen by the label or by the noise."""
        chosen, noise = self._choose(noise.flatten(1), labels)
        z = torch.zeros_like(noise)
        for k in chosen.unique().tolist():  # each for all rows: the last digits of a product depend on their number
            drawn = self.means[k] + temperature * (noise @ self.factors[k].T)
            z = torch.where((chosen == k)[:, None], drawn, z)
        return z.unflatten(1, self.latent_shape)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Returns those of the whole mixture, by the law of total variance."""
        weights, means, factors = self.weights.double(), self.means.double(), self.factors.double()
        squares = factors.square().sum(2) + means.square()  # (K, D), E[z^2] of each component
        mean, square = ((weights @ part).view(self.latent_shape[0], -1).mean(1) for part in (means, squares))
        return mean.float(), (square - mean.square()).sqrt().float()

    def _choose(self, noise: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the component of each row, (B,), and noise (B, D) that is independent of it."""
        if len(self.weights) == 1:
            return torch.zeros(len(noise), dtype=torch.int64, device=noise.device), noise
        chosen, first = choose_component(noise[:, 0], self.weights)
        if labels is not None and self.class_count:
            own = (labels >= 0) & self.has_class[labels.clamp_min(0)]
            chosen, first = torch.where(own, labels, chosen), torch.where(own, noise[:, 0], first)
        return chosen, torch.cat([first[:, None], noise[:, 1:]], dim=1)


def choose_component(noise: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Returns component k (B,), of probability weights[k], and N(0, 1) noise (B,) independent of it, from noise (B,).

    u = Phi(noise) is uniform on [0, 1]. [0, 1] is divided into intervals as long as the weights, and k is the one that
    u falls into. Where it lies within that interval is uniform again and independent of k; Phi^-1 of it is the noise
    returned. So no other random number is needed. In 64 bits.
    """
    ends = weights.double().cumsum(0)
    ends = ends / ends[-1]
    u = torch.special.ndtr(noise.double())
    k = torch.searchsorted(ends, u, right=True).clamp_max(len(weights) - 1)  # right: a weight of 0 is never chosen
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    within = (u - starts[k]) / (ends[k] - starts[k])
    return k, torch.special.ndtri(within.clamp(1e-7, 1 - 1e-7)).to(noise.dtype)


def fit_gaussian(
    mu: Tensor,
    log_var: Tensor,
    labels: Tensor | None = None,
    class_count: int = 0,
    components: int = 1,
    seed: int = 0,
) -> GaussianPrior:
    """Returns the Gaussians of the images with posteriors mu and log_var (N, *latent), on the CPU.

    Args:
        labels: int64 (N,), -1: no class; used if class_count is not 0.
        class_count: one Gaussian for each class with at least MIN_IMAGES; images of smaller ones share the last.
        components: how many make the mixture, if there are no classes.
        seed: of the images at which the mixture's components start.
    """
    prior = GaussianPrior(mu.shape[1:], components, class_count)
    mu, variance = mu.detach().flatten(1).float().cpu(), log_var.detach().flatten(1).float().cpu().exp()
    if labels is not None and class_count:
        shares = class_shares(labels.cpu(), class_count)
        prior.has_class.copy_(shares[:, :-1].any(0))
    else:
        shares = mixture_shares(mu, variance, components, seed)
    prior.weights.copy_(shares.sum(0) / shares.sum())
    for k in shares.any(0).nonzero().flatten().tolist():
        prior.means[k], prior.factors[k] = weighted_moments(mu, variance, shares[:, k])
    return prior


def class_shares(labels: Tensor, class_count: int) -> Tensor:
    """Returns which component each image belongs to, (N, class_count + 1), float64: one 1 in each row that counts.

    The last component is for the images without a class and of classes that are too small. If they are too few as well,
    and others are not, they belong to none.
    """
    sizes = torch.bincount(labels[labels >= 0], minlength=class_count)
    large = sizes >= MIN_IMAGES
    own = (labels >= 0) & large[labels.clamp_min(0)]
    shares = torch.zeros(len(labels), class_count + 1, dtype=torch.float64)
    shares[torch.arange(len(labels)), torch.where(own, labels, class_count)] = 1
    if large.any() and (~own).sum() < MIN_IMAGES:
        shares[:, -1] = 0
    return shares
