"""MIG and DCI of planted factors, and their estimators against scikit-learn's."""

import math

import numpy as np
import pytest

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import dci, disentanglement


def planted(count: int = 4000, seed: int = 0) -> dict[str, np.ndarray]:
    """Two continuous factors and one of four equally likely names, independent."""
    rng = np.random.default_rng(seed)
    return {
        "tilt": rng.uniform(-1, 1, count),
        "size": rng.normal(0, 3, count),
        "hair": rng.choice(["bald", "bob", "bun", "crop"], count),
    }


def latents(factors: dict[str, np.ndarray], noise: float = 0.02, seed: int = 1) -> np.ndarray:
    """(N, 5): a dimension for each factor, and two of noise; hair in the order of the alphabet."""
    rng = np.random.default_rng(seed)
    hair = np.unique(factors["hair"], return_inverse=True)[1]
    columns = [factors["tilt"], factors["size"], hair - 1.5, rng.normal(size=len(hair)), rng.normal(size=len(hair))]
    return np.stack(columns, axis=1) + noise * rng.normal(size=(len(hair), 5))


def rotated(mu: np.ndarray) -> np.ndarray:
    """The same information in no dimension alone."""
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(mu.shape[1],) * 2))[0]
    return mu / mu.std(0) @ turn


def test_mutual_information_is_scikit_learns_of_the_same_bins():
    metrics = pytest.importorskip("sklearn.metrics")
    factors = planted(700)
    mu = latents(factors, noise=0.5)
    found = disentanglement.information(mu, factors)
    codes, _ = disentanglement._coded(mu, {})
    for f, name in enumerate(found.names):
        classes = disentanglement._classes(factors[name])
        for d in range(5):
            assert found.matrix[f, d] == pytest.approx(metrics.mutual_info_score(classes, codes[:, d]), abs=1e-12)
    assert found.entropies[2] == pytest.approx(math.log(4), abs=0.01)
    assert found.entropies[0] == pytest.approx(math.log(disentanglement.BINS), abs=1e-3)


def test_bins_hold_equal_counts_and_keep_ties_together():
    rng = np.random.default_rng(0)
    assert set(np.bincount(disentanglement._bins(rng.normal(size=400)))) == {20}
    ties = disentanglement._bins(np.array([0.0] * 300 + [1.0] * 100))
    assert len(np.unique(ties)) == 2


def test_mig_is_near_one_where_each_factor_has_its_dimension_and_near_zero_when_mixed():
    factors = planted()
    clean = disentanglement.mutual_information_gap(latents(factors), factors)
    assert clean.value > 0.85 and clean.count == 4000 and 0 < clean.error < 0.02
    assert disentanglement.mutual_information_gap(rotated(latents(factors)), factors).value < 0.15
    noise = np.random.default_rng(3).normal(size=(4000, 5))
    assert disentanglement.mutual_information_gap(noise, factors).value < 0.01


def test_mig_of_a_factor_coded_twice_is_zero():
    factors = {"hair": planted()["hair"]}
    hair = np.unique(factors["hair"], return_inverse=True)[1].astype(float)
    found = disentanglement.information(np.stack([hair, -hair, np.zeros(4000)], axis=1), factors)
    assert found.matrix[0] == pytest.approx([math.log(4), math.log(4), 0], abs=0.01)
    assert disentanglement.gaps(found) == pytest.approx([0])


def test_mig_does_not_change_with_the_scale_of_a_latent():
    factors = planted(1000)
    mu = latents(factors)
    stretched = np.exp(2 * mu / np.abs(mu).max(0)) * 100
    assert np.array_equal(
        disentanglement.information(mu, factors).matrix, disentanglement.information(stretched, factors).matrix
    )


def test_a_factor_that_never_changes_is_left_out():
    factors = planted(500) | {"teeth": np.zeros(500, dtype=bool)}
    mu = latents(factors)
    found = disentanglement.gaps(disentanglement.information(mu, factors))
    assert np.isnan(found[3]) and not np.isnan(found[:3]).any()
    assert np.isfinite(disentanglement.mutual_information_gap(mu, factors).value)
    assert dci.read_out(mu, factors).names == ["tilt", "size", "hair"]


def test_the_error_of_mig_is_its_spread():
    found = []
    for seed in range(40):
        factors = planted(400, seed)
        found.append(disentanglement.mutual_information_gap(latents(factors, 0.5, seed + 100), factors))
    spread = np.std([f.value for f in found], ddof=1)
    assert np.mean([f.error for f in found]) == pytest.approx(spread, rel=0.5)


def test_the_lasso_is_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8))
    x -= x.mean(0)
    y = x @ rng.normal(size=(8, 3)) + rng.normal(size=(300, 3))
    y -= y.mean(0)
    ours = dci.lasso(x.T @ x / 300, x.T @ y / 300, 0.3)
    theirs = linear.Lasso(alpha=0.3, fit_intercept=False, tol=1e-12, max_iter=100_000)
    for t in range(3):
        np.testing.assert_allclose(ours[:, t], theirs.fit(x, y[:, t]).coef_, atol=1e-5)
    assert (ours == 0).any()


def test_dimensions_that_are_nearly_the_same_have_no_dci_and_say_so():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(400, 1))
    mu = np.concatenate([one + 1e-4 * rng.normal(size=(400, 1)) for _ in range(8)], axis=1)
    factors = {"tilt": one[:, 0] + rng.normal(size=400) * 0.1, "size": mu[:, 3] - mu[:, 4]}
    with pytest.raises(VAEError, match="DCI: its lasso still moves by .* nearly the same. Train longer"):
        dci.dci(mu, factors)


def test_dci_of_planted_factors():
    factors = {name: values for name, values in planted().items() if name != "hair"}
    factors["teeth"] = np.random.default_rng(7).random(4000) < 0.3
    mu = np.stack([factors["tilt"], factors["size"], factors["teeth"] - 0.3, np.ones(4000)], axis=1)
    clean, complete, informed = dci.dci(mu, factors)
    assert [clean.name, complete.name, informed.name] == list(dci.NAMES)
    assert min(clean.value, complete.value) > 0.999 and informed.value > 0.99
    mixed = dci.dci(rotated(mu[:, :3]), factors)
    assert max(mixed[0].value, mixed[1].value) < 0.5 and mixed[2].value > 0.98
    nothing = dci.dci(np.random.default_rng(3).normal(size=(4000, 5)), factors)
    assert nothing[2].value < 0.01


def test_importances_are_the_planted_matrix():
    """size is twice as much of dimension 0 as of 1, in a latent of unit variances: shares 2/3 and 1/3, by hand."""
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(200_000, 3))
    found = dci.read_out(mu, {"size": 2 * mu[:, 0] + mu[:, 1], "tilt": mu[:, 2]})
    share = found.importance / found.importance.sum(1, keepdims=True)
    np.testing.assert_allclose(share, [[2 / 3, 1 / 3, 0], [0, 0, 1]], atol=0.01)
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(3)
    disentangled, complete, _ = dci.scores(found)
    assert disentangled == pytest.approx(1, abs=0.01) and complete == pytest.approx((1 - entropy + 1) / 2, abs=0.01)


def test_few_images_and_one_dimension_are_refused_by_name():
    factors = planted(199)
    with pytest.raises(VAEError, match="MIG: 199 images are too few; it needs 200"):
        disentanglement.mutual_information_gap(latents(factors), factors)
    with pytest.raises(VAEError, match="DCI: 1 dimensions are too few; it needs 2"):
        dci.dci(latents(planted(300))[:, :1], planted(300))
