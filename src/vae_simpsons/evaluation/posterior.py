"""What the latents carry: active units, KL a dimension, and the two parts of the KL.

All of mu and log_var, (N, D); a latent of another shape is flattened first.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from vae_simpsons.evaluation.blocks import slices
from vae_simpsons.evaluation.figures import Figure, require
from vae_simpsons.objective import kl_per_dimension

ACTIVE = 0.01  # variance of mu over the images from which a dimension counts
ACTIVE_UNITS, INFORMATION, MARGINAL = "active units", "mutual information", "marginal KL"
DEFINITIONS = {
    ACTIVE_UNITS: "latent dimensions whose posterior mean has a variance of at least 0.01 over the images",
    INFORMATION: "I(x; z) under q, nats; lower bound from all N posteriors, at most log N",
    MARGINAL: "KL(q(z) || p(z)) of the aggregate posterior, nats; kl minus the mutual information, an upper bound",
}
COMPONENTS = 12  # principal ones, at most
ROWS = 512  # latents whose distances to all posteriors are held at a time


class Components(NamedTuple):
    """The principal components of N latents, those of the most variance first; flat latents have D numbers."""

    mean: Tensor  # (D,)
    vectors: Tensor  # (k, D), of length 1, at right angles
    deviations: Tensor  # (k,) standard deviation of the latents along each
    shares: Tensor  # (k,) of the variance


class Split(NamedTuple):
    """The KL of each image in two, nats, (N,) each, float64: kl = information + marginal."""

    information: Tensor  # averages to I(x; z)
    marginal: Tensor  # averages to KL(q(z) || p(z))


def active_units(mu: Tensor) -> Figure:
    """How many dimensions have Var_x(E[z|x]) >= 0.01, of mu (N, D).

    Source: Burda et al., Importance Weighted Autoencoders, arXiv 1509.00519, Sec. 5.2 and Appendix C.
    """
    require(ACTIVE_UNITS, len(mu), 2)
    count = int((mu.double().var(0) >= ACTIVE).sum())
    return Figure(ACTIVE_UNITS, count, None, len(mu), DEFINITIONS[ACTIVE_UNITS], mu.shape[1], "latent dimensions")


def kl_by_dimension(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL of each dimension, nats, (D,), float64, averaged over the images; sums to the KL."""
    return kl_per_dimension(mu.double(), log_var.double()).mean(0)


def split_kl(mu: Tensor, log_var: Tensor, z: Tensor, on_progress: Callable[[int], None] | None = None) -> Split:
    """Mutual information and the KL of the aggregate posterior q(z) = 1/N sum_j q(z|x_j), all N components of it.

    information_i = log q(z_i|x_i) - log 1/N sum_j q(z_i|x_j), one z_i of q(z|x_i) each. The sum has image i's own
    component, so its average is at most log N, and on average a lower bound of I(x; z) under the distribution that the
    N images are drawn from; marginal = kl - information is then an upper bound. Near log N both say little.

    Args:
        mu, log_var, z: (N, D) each.

    Source: Hoffman & Johnson, ELBO surgery, 2016, Eq. 6; the bound: Poole et al., arXiv 1905.06922, Eq. 11 and 12.
    """
    require(INFORMATION, len(mu), 2)
    mu, log_var, z = mu.double(), log_var.double(), z.double()
    kl = kl_per_dimension(mu, log_var).sum(1)
    precision = torch.exp(-log_var)
    weighted, offset = mu * precision, (mu.square() * precision + log_var).sum(1)  # (N, D), (N,)
    own = (-0.5 * ((z - mu).square() * precision + log_var)).sum(1)
    mixture = torch.empty_like(own)
    for rows in slices(len(z), ROWS):
        # -1/2 sum_d (z - mu_j)^2 / var_j + log var_j, multiplied out: two products of matrices
        logs = z[rows] @ weighted.T - 0.5 * (z[rows].square() @ precision.T + offset)  # (rows, N)
        mixture[rows] = torch.logsumexp(logs, 1) - math.log(len(z))
        if on_progress:
            on_progress(rows.stop)
    information = own - mixture
    return Split(information, kl - information)


def find_components(mu: Tensor) -> Components:
    """Returns the first COMPONENTS principal components of mu (N, D), or as many as there are, and two at least.

    A component has no sign of its own: its largest number is positive. One without variance may be zero.
    """
    mean = mu.double().mean(0)
    _, values, vectors = torch.linalg.svd(mu.double() - mean, full_matrices=False)
    vectors = vectors * vectors.gather(1, vectors.abs().argmax(1, keepdim=True)).sign()
    shares = values.square() / values.square().sum().clamp_min(1e-300)
    missing = max(0, 2 - len(values))  # of a latent of one number
    parts = pad(vectors, (0, 0, 0, missing)), pad(values / len(mu) ** 0.5, (0, missing)), pad(shares, (0, missing))
    return Components(mean.float(), *(part[:COMPONENTS].float() for part in parts))
