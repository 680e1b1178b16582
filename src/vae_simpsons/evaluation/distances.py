"""How far two sets of images are apart, by their features: a kernel distance, a Frechet distance, density and coverage.

All over every pair, in float64. With the features of `features.py` the first two are called KD-EffNetLite0 and
FD-EffNetLite0: they are neither KID nor FID, and no number of a paper compares with them.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.blocks import slices
from vae_simpsons.evaluation.figures import Figure, jackknife_error, mean_figure, require, standard_error

KERNEL, FRECHET = "KD-EffNetLite0", "FD-EffNetLite0"
ROWS = 1024  # of a matrix of all pairs, held at a time
NEAREST = 5  # k of density and coverage
ROUNDING = 1e-12  # of |a|^2 + |b|^2: squared distances no further apart are ties
DEFINITIONS = {
    KERNEL: "squared maximum mean discrepancy, kernel (a.b / D + 1)^3, unbiased over all pairs; delete-one jackknife",
    FRECHET: "squared Frechet distance of two Gaussians fitted to the features; biased upwards; first-order error",
    "density": f"real images whose {NEAREST}-neighbour ball holds a sample, over {NEAREST}; radii taken as known",
    "coverage": f"share of real images with a sample in their {NEAREST}-neighbour ball; radii taken as known",
}


def kernel_distance(a: Tensor, b: Tensor) -> Figure:
    """KD-EffNetLite0 of features a (M, D) and b (N, D): zero on average for equal distributions, so also below it.

    The standard error is the jackknife's that leaves out one image at a time of either set; near zero it is too large
    rather than too small.

    Raises:
        VAEError: fewer than 3 images in a set.

    Source: Binkowski et al., Demystifying MMD GANs, arXiv 1801.01401, Eq. 4 and Sec. 4.
    """
    m, n = len(a), len(b)
    require(KERNEL, min(m, n), 3)
    a, b = a.double(), b.double()
    within_a, within_b = _kernel_sums(a, a)[0] - _own_kernel(a), _kernel_sums(b, b)[0] - _own_kernel(b)
    across_a, across_b = _kernel_sums(a, b)
    mean_a, mean_b = within_a.sum() / (m * (m - 1)), within_b.sum() / (n * (n - 1))
    across = across_a.sum()
    without_a = (within_a.sum() - 2 * within_a) / ((m - 1) * (m - 2)) + mean_b - 2 * (across - across_a) / ((m - 1) * n)
    without_b = mean_a + (within_b.sum() - 2 * within_b) / ((n - 1) * (n - 2)) - 2 * (across - across_b) / (m * (n - 1))
    error = math.hypot(jackknife_error(without_a), jackknife_error(without_b))
    value = (mean_a + mean_b - 2 * across / (m * n)).item()
    return Figure(KERNEL, value, error, m, DEFINITIONS[KERNEL])


def frechet_distance(a: Tensor, b: Tensor) -> Figure:
    """FD-EffNetLite0 of features a (M, D) and b (N, D): |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2).

    The standard error follows how the distance moves with each image's share of the mean and the covariance.

    Raises:
        VAEError: a set has fewer than twice as many images as there are features: its covariance is mostly noise.

    Source: Dowson & Landau, The Frechet distance between multivariate normal distributions, 1982, Eq. 4;
    the error: Rippl, Munk & Sturm, Limit laws of the empirical Wasserstein distance, arXiv 1507.04090, Theorem 2.1.
    """
    features = a.shape[1]
    if min(len(a), len(b)) < 2 * features:
        raise VAEError(
            f"{FRECHET}: {min(len(a), len(b))} images are too few for a covariance of {features} features; it needs "
            f"{2 * features} in each set. Give more images, or use {KERNEL}, which is unbiased."
        )
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    gap = mean_a - mean_b
    trace, influence_a = _towards(a, mean_a, cov_a, cov_b, gap)
    _, influence_b = _towards(b, mean_b, cov_b, cov_a, -gap)
    value = gap.square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace
    error = math.hypot(standard_error(influence_a) or 0.0, standard_error(influence_b) or 0.0)
    return Figure(FRECHET, value.item(), error, len(a), DEFINITIONS[FRECHET])


def density_and_coverage(samples: Tensor, real: Tensor, nearest: int = NEAREST) -> tuple[Figure, Figure]:
    """Of features of samples (M, D) by those of real images (N, D); a tie, up to rounding, is inside.

    Density is 1 on average where both are alike, and may be above it; coverage is at most 1.

    Raises:
        VAEError: not more real images than `nearest`.

    Source: Naeem et al., Reliable Fidelity and Diversity Metrics, arXiv 2002.09797, Eq. 3 and 4.
    """
    require("density and coverage", len(real), nearest + 1, "real images")
    radii = torch.empty(len(real), dtype=torch.float64)  # squared
    for rows, squared in distance_rows(real, real):
        squared[torch.arange(len(squared)), torch.arange(rows.start, rows.stop)] = -1.0  # its own is always first
        radii[rows] = squared.kthvalue(nearest + 1, dim=1).values
    balls = torch.zeros(len(samples), dtype=torch.float64)
    covered = torch.empty(len(real), dtype=torch.float64)
    norms = samples.double().square().sum(1)
    for rows, squared in distance_rows(real, samples):
        rounding = ROUNDING * (real[rows].double().square().sum(1)[:, None] + norms)
        inside = squared <= radii[rows, None] + rounding  # (rows, M)
        balls += inside.sum(0)
        covered[rows] = inside.any(1).double()
    return (
        mean_figure("density", balls / nearest, DEFINITIONS["density"]),
        mean_figure("coverage", covered, DEFINITIONS["coverage"]),
    )


def distance_rows(a: Tensor, b: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared Euclidean distances of a (M, D) to b (N, D): rows of a, and (rows, N) in float64, never negative."""
    b = b.double()
    norms = b.square().sum(1)
    for rows in slices(len(a), ROWS):
        part = a[rows].double()
        yield rows, torch.addmm(part.square().sum(1)[:, None] + norms, part, b.T, alpha=-2.0).clamp_min_(0.0)


def _kernel_sums(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of the kernel of a (M, D) and b (N, D) over b, (M,), and over a, (N,)."""
    over_b, over_a = a.new_empty(len(a)), a.new_zeros(len(b))
    for rows in slices(len(a), ROWS):
        kernel = _cubed(a[rows] @ b.T, a.shape[1])
        over_b[rows] = kernel.sum(1)
        over_a += kernel.sum(0)
    return over_b, over_a


def _own_kernel(a: Tensor) -> Tensor:
    return _cubed(a.square().sum(1), a.shape[1])


def _cubed(products: Tensor, features: int) -> Tensor:
    plus_one = products.div_(features).add_(1.0)
    return plus_one.square().mul_(plus_one)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (D,) and covariance (D, D), float64."""
    x = x.double()
    mean = x.mean(0)
    return mean, (x - mean).T @ (x - mean) / (len(x) - 1)


def _towards(x: Tensor, mean: Tensor, cov: Tensor, other: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """tr (cov^1/2 other cov^1/2)^1/2, and how far each image (N,) moves the distance."""
    values, vectors = torch.linalg.eigh(cov)
    values = values.clamp_min(0.0)
    kept = values > values.max() * 1e-10
    root = vectors * values.sqrt() @ vectors.T
    inverse = vectors[:, kept] / values[kept].sqrt() @ vectors[:, kept].T
    between, directions = torch.linalg.eigh(root @ other @ root)
    between = between.clamp_min(0.0).sqrt()
    centred = x.double() - mean
    projected = centred @ (inverse @ directions)  # (N, D)
    influence = 2 * centred @ gap + centred.square().sum(1) - projected.square() @ between
    return between.sum(), influence
