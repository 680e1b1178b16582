"""Known factors against latents: their mutual information, dimension by dimension, and its gap, MIG.

Factors are by name: an array of floats is continuous, any other (names, whole numbers, true or false) categorical.

Estimator: mu and continuous factors are cut into BINS bins of equal counts; mutual information and entropy are of the
table of counts, nats. Such a table overstates information by about (bins - 1)(classes - 1) / 2N nats, which the gap of
two dimensions cancels.

Source: Chen et al., Isolating Sources of Disentanglement in VAEs, arXiv 1802.04942, Eq. 6, with mu for samples of z.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from vae_simpsons.evaluation.figures import Figure, jackknife_error, require

BINS = 20
PARTS = 10  # of the jackknife: image i is in part i % PARTS
NEEDED = 200  # images: ten a bin
MIG = "MIG"
DEFINITIONS = {
    MIG: f"information of the best dimension minus the second's, over the factor's entropy; {BINS} equal-count bins",
}

Factors = Mapping[str, np.ndarray]  # by name, (N,) each


class Information(NamedTuple):
    """Of F factors and D dimensions; the picture of a run is `matrix` over `entropies`."""

    names: list[str]  # of the factors
    matrix: np.ndarray  # (F, D) mutual information, nats
    entropies: np.ndarray  # (F,) nats; 0 for a factor that never changes


def is_continuous(values: np.ndarray) -> bool:
    """Floats are."""
    return np.issubdtype(np.asarray(values).dtype, np.floating)


def information(mu: np.ndarray, factors: Factors) -> Information:
    """The mutual information of each factor with each dimension of mu (N, D).

    Raises:
        VAEError: fewer than 200 images, or one dimension only.
    """
    return _information(*_coded(mu, factors))


def gaps(found: Information) -> np.ndarray:
    """MIG of each factor, (F,), 0 to 1; NaN for one that never changes."""
    top = np.sort(found.matrix, axis=1)[:, ::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(found.entropies > 0, (top[:, 0] - top[:, 1]) / found.entropies, np.nan)


def mutual_information_gap(mu: np.ndarray, factors: Factors) -> Figure:
    """MIG averaged over the factors that change, of mu (N, D); the standard error leaves out a tenth at a time.

    Raises:
        VAEError: as `information`.
    """
    codes, classes = _coded(mu, factors)

    def mean_gap(rows: np.ndarray) -> float:
        return float(np.nanmean(gaps(_information(codes[rows], {n: c[rows] for n, c in classes.items()}))))

    part = np.arange(len(mu)) % PARTS
    error = jackknife_error(torch.tensor([mean_gap(part != p) for p in range(PARTS)], dtype=torch.float64))
    return Figure(MIG, mean_gap(part >= 0), error, len(mu), DEFINITIONS[MIG])


def _coded(mu: np.ndarray, factors: Factors) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The bin of each latent, (N, D), and each factor as whole numbers from 0, (N,)."""
    require(MIG, len(mu), NEEDED)
    require(MIG, mu.shape[1], 2, "dimensions")
    codes = np.stack([_bins(column) for column in np.asarray(mu, np.float64).T], axis=1)
    return codes, {name: _classes(values) for name, values in factors.items()}


def _classes(values: np.ndarray) -> np.ndarray:
    """A factor as whole numbers from 0, (N,)."""
    if is_continuous(values):
        return _bins(np.asarray(values, np.float64))
    return np.unique(values, return_inverse=True)[1]


def _bins(values: np.ndarray) -> np.ndarray:
    """0 to BINS - 1, as many values in each as ties allow."""
    inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(inner, values, side="right")


def _information(codes: np.ndarray, classes: dict[str, np.ndarray]) -> Information:
    matrix = np.empty((len(classes), codes.shape[1]))
    entropies = np.empty(len(classes))
    for f, numbers in enumerate(classes.values()):
        kinds = int(numbers.max()) + 1
        entropies[f] = _entropy(np.bincount(numbers))
        for d, column in enumerate(codes.T):
            joint = np.bincount(column * kinds + numbers, minlength=BINS * kinds).reshape(BINS, kinds)
            matrix[f, d] = entropies[f] + _entropy(joint.sum(1)) - _entropy(joint.ravel())
    return Information(list(classes), np.maximum(matrix, 0.0), entropies)


def _entropy(counts: np.ndarray) -> float:
    """Of a table of counts, nats, never negative."""
    share = counts[counts > 0] / counts.sum()
    return max(0.0, -math.fsum(share * np.log(share)))
