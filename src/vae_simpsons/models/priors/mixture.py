"""A mixture of Gaussians for images that are Gaussians themselves, their posteriors N(mu_i, diag s_i).

A mixture sum_k w_k N(m_k, S_k) is fitted by maximising the mean over images i of

    ln sum_k w_k exp(e_ik),    e_ik = E[ln N(z; m_k, S_k)], z ~ N(mu_i, diag s_i),

a lower bound of E[ln sum_k w_k N(z; m_k, S_k)]. Expectation maximisation repeats

    r_ik = w_k exp(e_ik) / sum_l w_l exp(e_il)                                  the share of image i in component k
    w_k  = mean_i r_ik
    m_k  = sum_i r_ik mu_i / sum_i r_ik
    S_k  = sum_i r_ik ((mu_i - m_k)(mu_i - m_k)^T + diag s_i) / sum_i r_ik

Source: Bishop, Pattern Recognition and Machine Learning, 2006, Section 9.2.2.
"""

import math

import torch
from torch import Tensor

JITTER = 1e-6  # of the mean variance, added to each
ROWS = 4096  # images whose numbers are held in 64 bits at a time
MAX_ITERATIONS = 100
TOLERANCE = 1e-4  # nats an image: a smaller gain ends the iteration


def weighted_moments(mu: Tensor, variance: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Returns m_k (D,) and the lower Cholesky factor of S_k (D, D), float64, of images that count `share` (N,) each.

    mu and variance are (N, D). The covariance is Cov[mu] + diag E[variance], the law of total variance.
    """
    used = share > 0
    mu, variance, share = mu[used], variance[used], share[used].double()
    blocks = list(zip(mu.split(ROWS), variance.split(ROWS), share.split(ROWS), strict=True))
    mean = sum(part @ rows.double() for rows, _, part in blocks) / share.sum()
    covariance = mean.new_zeros(len(mean), len(mean))
    for rows, spread, part in blocks:
        centred = rows.double() - mean
        covariance += centred.T @ (part[:, None] * centred) + (part @ spread.double()).diag()
    covariance /= share.sum()
    covariance.diagonal().add_(JITTER * covariance.diagonal().mean())
    return mean, torch.linalg.cholesky(covariance)


def mixture_shares(mu: Tensor, variance: Tensor, components: int, seed: int) -> Tensor:
    """Returns the shares r (N, components), float64, of images with posteriors N(mu, diag variance), each (N, D).

    The first are those of the nearest of `components` images, drawn from `seed`. A component that is left with less
    than one image is dropped: its shares are 0.
    """
    shares = torch.cdist(mu, spread_images(mu, components, seed)).argmin(1)  # (N,)
    shares = torch.nn.functional.one_hot(shares, components).double()
    bound = -math.inf
    for _ in range(MAX_ITERATIONS if components > 1 else 0):
        logs = torch.full_like(shares, -math.inf)  # ln w_k + E_i[ln N(z; m_k, S_k)]
        for k in (shares.sum(0) >= 1).nonzero().flatten().tolist():
            mean, factor = weighted_moments(mu, variance, shares[:, k])
            logs[:, k] = shares[:, k].mean().log() + expected_log_density(mu, variance, mean, factor)
        shares, previous, bound = logs.softmax(1), bound, logs.logsumexp(1).mean().item()
        if bound - previous < TOLERANCE:
            break
    return shares * (shares.sum(0) >= 1)


def expected_log_density(mu: Tensor, variance: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """Returns e_ik of each image, (N,), nats, float64: E[ln N(z; mean, S)] with z ~ N(mu, diag variance).

    With S = factor factor^T: -1/2 (D ln 2 pi + ln |S| + (mu - mean)^T S^-1 (mu - mean) + tr(S^-1 diag variance))
    """
    precisions = torch.cholesky_inverse(factor).diagonal()
    constant = len(mean) * math.log(2 * math.pi) + 2 * factor.diagonal().log().sum()
    values = []
    for rows, spread in zip(mu.split(ROWS), variance.split(ROWS), strict=True):
        whitened = torch.linalg.solve_triangular(factor, (rows.double() - mean).T, upper=False)  # (D, rows)
        values.append(whitened.square().sum(0) + spread.double() @ precisions)
    return -0.5 * (constant + torch.cat(values))


def spread_images(mu: Tensor, count: int, seed: int) -> Tensor:
    """Returns `count` rows of mu (N, D) far from each other: each is drawn by its squared distance to those before.

    Source: Arthur & Vassilvitskii, k-means++: The Advantages of Careful Seeding, 2007.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = mu[torch.randint(len(mu), (1,), generator=generator)]
    for _ in range(count - 1):
        squares = torch.cdist(mu, chosen).amin(1).square() + 1e-12  # all of them may be equal
        chosen = torch.cat([chosen, mu[torch.multinomial(squares, 1, generator=generator)]])
    return chosen
