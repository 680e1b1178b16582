"""Disentanglement, completeness and informativeness, from how well a lasso tells each factor by the latents.

Estimator: every fifth image is held out. Latents and targets are scaled to mean 0 and variance 1; a categorical factor
has one target a class. Each target is fitted by the lasso with the penalty sqrt(2 ln D / N), above which noise alone
hardly ever rises. Importance of a dimension for a factor: the root mean square of its coefficients over the factor's
targets. A linear fit does not see a factor that is coded in a curve.

Source: Eastwood & Williams, A Framework for the Quantitative Evaluation of Disentangled Representations, 2018, Sec. 2
and 4.1; the penalty: Donoho & Johnstone, Ideal Spatial Adaptation by Wavelet Shrinkage, 1994, Eq. 4.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.disentanglement import NEEDED, PARTS, Factors, is_continuous
from vae_simpsons.evaluation.figures import Figure, jackknife_error, require

HELD_OUT = 5  # every fifth image
SWEEPS, TOLERANCE = 1000, 1e-7
NAMES = ("disentanglement", "completeness", "informativeness")
DEFINITIONS = {
    "disentanglement": "1 minus the entropy of a dimension's importances over factors, weighted by importance; lasso",
    "completeness": "1 minus the entropy of a factor's importances over dimensions, mean over factors; lasso",
    "informativeness": "held-out share of a factor's variance that the lasso explains, mean over factors",
}


class Readout(NamedTuple):
    """How F factors are read from D dimensions; the picture of a run is `importance`."""

    names: list[str]  # of the factors that change
    importance: np.ndarray  # (F, D)
    explained: np.ndarray  # (F,) held-out share of variance, 0 to 1


def read_out(mu: np.ndarray, factors: Factors) -> Readout:
    """Fit each factor that changes by the latents mu (N, D).

    Raises:
        VAEError: fewer than 200 images, one dimension only, or dimensions that the lasso cannot tell apart.
    """
    require("DCI", len(mu), NEEDED)
    require("DCI", mu.shape[1], 2, "dimensions")
    return _fit(np.asarray(mu, np.float64), _targets(factors), np.arange(len(mu)) % HELD_OUT == 0)


def scores(found: Readout) -> tuple[float, float, float]:
    """Disentanglement, completeness and informativeness, 0 to 1 each."""
    by_dimension, by_factor = found.importance.sum(0), found.importance.sum(1)
    total = by_dimension.sum()
    if total == 0 or len(found.names) < 2:
        return 0.0, 0.0, float(found.explained.mean()) if len(found.explained) else 0.0
    disentanglement = float(by_dimension @ _concentration(found.importance.T) / total)
    completeness = float(np.where(by_factor > 0, _concentration(found.importance), 0.0).mean())
    return disentanglement, completeness, float(found.explained.mean())


def dci(mu: np.ndarray, factors: Factors) -> list[Figure]:
    """The three scores of mu (N, D); the standard errors leave out a tenth of the images at a time.

    Raises:
        VAEError: as `read_out`.
    """
    values = scores(read_out(mu, factors))
    mu, targets = np.asarray(mu, np.float64), _targets(factors)
    numbers = np.arange(len(mu))
    part = (numbers // HELD_OUT) % PARTS  # each part has its share of the held-out images
    left_out = []
    for p in range(PARTS):
        rows = part != p
        some = {name: columns[rows] for name, columns in targets.items()}
        left_out.append(scores(_fit(mu[rows], some, numbers[rows] % HELD_OUT == 0)))
    errors = [jackknife_error(column) for column in torch.tensor(left_out, dtype=torch.float64).T]
    rows = zip(NAMES, values, errors, strict=True)
    return [Figure(name, value, error, len(mu), DEFINITIONS[name]) for name, value, error in rows]


def lasso(gram: np.ndarray, products: np.ndarray, penalty: float) -> np.ndarray:
    """The W (D, T) that minimise 1/2N |Y - X W|^2 + penalty |W|_1, of X^T X / N (D, D) and X^T Y / N (D, T).

    Raises:
        VAEError: it does not settle, as with dimensions that are nearly the same.

    Source: Friedman, Hastie & Tibshirani, Regularization Paths for GLMs via Coordinate Descent, 2010, Eq. 5 and 9.
    """
    w = np.zeros_like(products)
    for _ in range(SWEEPS):
        change = 0.0
        for d in np.flatnonzero(np.diag(gram) > 0):
            partial = products[d] - gram[d] @ w + gram[d, d] * w[d]
            new = np.sign(partial) * np.maximum(np.abs(partial) - penalty, 0.0) / gram[d, d]
            change = max(change, float(np.abs(new - w[d]).max()))
            w[d] = new
        if change < TOLERANCE:
            return w
    raise VAEError(
        f"DCI: its lasso still moves by {change:.1e} after {SWEEPS} sweeps, as where latent dimensions are nearly the "
        "same. Train longer, or leave DCI out."
    )


def _fit(mu: np.ndarray, targets: dict[str, np.ndarray], held_out: np.ndarray) -> Readout:
    fitted = ~held_out
    x = _scaled(mu, fitted)
    columns = np.concatenate(list(targets.values()), axis=1)
    y = _scaled(columns, fitted)
    penalty = math.sqrt(2 * math.log(x.shape[1]) / fitted.sum())
    w = lasso(x[fitted].T @ x[fitted] / fitted.sum(), x[fitted].T @ y[fitted] / fitted.sum(), penalty)  # (D, T)
    spread = columns[fitted].var(0)
    unexplained = ((y[held_out] - x[held_out] @ w) ** 2).mean(0) * spread
    total = (y[held_out] ** 2).mean(0) * spread
    importance, explained, start = [], [], 0
    for columns in targets.values():
        part = slice(start, start + columns.shape[1])
        importance.append(np.sqrt((w[:, part] ** 2).mean(1)))
        explained.append(max(0.0, 1 - unexplained[part].sum() / max(total[part].sum(), 1e-300)))
        start = part.stop
    return Readout(list(targets), np.array(importance), np.array(explained))


def _targets(factors: Factors) -> dict[str, np.ndarray]:
    """What is fitted of each factor that changes, (N, T): itself, or one column a class."""
    found = {}
    for name, values in factors.items():
        kinds = np.unique(values)
        if len(kinds) < 2:
            continue
        columns = np.asarray(values)[:, None] if is_continuous(values) else values[:, None] == kinds[None]
        found[name] = columns.astype(np.float64)
    return found


def _scaled(columns: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 over the fitted rows; a column that does not change there is 0."""
    centred = columns - columns[fitted].mean(0)
    deviation = centred[fitted].std(0)
    return np.where(deviation > 0, centred / np.where(deviation > 0, deviation, 1.0), 0.0)


def _concentration(importance: np.ndarray) -> np.ndarray:
    """1 - entropy of each row, (R,), to the base of its length; 0 for a row of zeros."""
    total = importance.sum(1, keepdims=True)
    share = np.divide(importance, total, out=np.zeros_like(importance), where=total > 0)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return np.where(total[:, 0] > 0, 1 + (share * logs).sum(1) / math.log(importance.shape[1]), 0.0)
