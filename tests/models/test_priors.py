"""Priors in closed form: N(0, I) and fitted Gaussians."""

import copy
import math

import pytest
import torch

from vae_simpsons.models.priors import MIN_IMAGES, GaussianPrior, NormalPrior, fit_gaussian
from vae_simpsons.models.priors.gaussian import choose_component
from vae_simpsons.models.priors.mixture import expected_log_density

MEAN = torch.tensor([3.0, -1.0, 0.5])
FACTOR = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [-0.5, 0.3, 0.2]])
COVARIANCE = FACTOR @ FACTOR.T


def normal(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def gaussian(count: int, mean: torch.Tensor = MEAN, seed: int = 0) -> torch.Tensor:
    """Draws of N(mean, COVARIANCE)."""
    return mean + normal(count, 3, seed=seed) @ FACTOR.T


def assert_moments(z: torch.Tensor, mean: torch.Tensor, covariance: torch.Tensor, tolerance: float = 0.1) -> None:
    torch.testing.assert_close(z.mean(0), mean, atol=tolerance, rtol=0)
    torch.testing.assert_close(z.T.cov(), covariance, atol=2 * tolerance, rtol=0)


def test_a_normal_prior_is_the_noise_times_the_temperature():
    noise = normal(4, 2, 3, 5)
    prior = NormalPrior((2, 3, 5))
    assert prior.class_count == 0 and not prior.state_dict()
    torch.testing.assert_close(prior.draw(noise, temperature=0.5), 0.5 * noise)


def test_a_fitted_gaussian_has_the_moments_of_the_aggregated_posterior():
    """Cov[mu] + E[posterior variance], by the law of total variance."""
    mu, log_var = gaussian(20_000), torch.tensor([0.1, 0.2, 0.4]).log().expand(20_000, 3)
    prior = fit_gaussian(mu, log_var)
    covariance = mu.T.cov(correction=0) + torch.tensor([0.1, 0.2, 0.4]).diag()
    torch.testing.assert_close(prior.means[0], mu.mean(0))
    torch.testing.assert_close(prior.factors[0] @ prior.factors[0].T, covariance, rtol=1e-4, atol=1e-4)
    assert (prior.factors[0].triu(1) == 0).all()
    assert_moments(prior.draw(normal(20_000, 3, seed=1)), MEAN, covariance)


def test_the_temperature_scales_the_spread_and_not_the_mean():
    prior = fit_gaussian(gaussian(20_000), torch.full((20_000, 3), -20.0))
    assert_moments(prior.draw(normal(20_000, 3, seed=1), temperature=0.5), MEAN, COVARIANCE / 4)
    torch.testing.assert_close(prior.draw(normal(5, 3), temperature=0.0), prior.means.expand(5, 3))


@pytest.mark.parametrize("shape", [(3,), (1, 1, 3), (3, 1, 1)])
def test_its_moments_are_those_of_its_draws_by_channel(shape):
    mu = torch.cat([gaussian(500), 10 + gaussian(500)]).view(-1, *shape)
    prior = fit_gaussian(mu, torch.zeros_like(mu), components=2)
    z = prior.draw(normal(50_000, *shape, seed=1)).transpose(0, 1).flatten(1)  # (channels, numbers)
    mean, std = prior.moments()
    torch.testing.assert_close(mean, z.mean(1), rtol=0.02, atol=0.02)
    torch.testing.assert_close(std, z.std(1), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("images", [1, 2, 20])
def test_fewer_images_than_numbers_and_numbers_that_never_change(images):
    mu = normal(images, 4, 3, 5)
    mu[:, 0] = 7.0
    prior = fit_gaussian(mu, torch.full_like(mu, -20.0))
    z = prior.draw(normal(1000, 4, 3, 5, seed=1))
    assert z.shape == (1000, 4, 3, 5) and z.isfinite().all()
    torch.testing.assert_close(z[:, 0], torch.full((1000, 3, 5), 7.0), atol=0.02, rtol=0)


def labelled() -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of class 0 (2000 images), 1 (1000), 2 (too few), and of none (500)."""
    labels = torch.tensor([0] * 2000 + [1] * 1000 + [2] * (MIN_IMAGES - 1) + [-1] * 500)
    offsets = torch.tensor([[0.0, 0, 0], [20, 0, 0], [0, 20, 0], [0, 0, 20]])
    return gaussian(len(labels)) + offsets[labels], labels


def test_each_class_has_its_gaussian_and_a_class_too_small_is_drawn_like_all():
    mu, labels = labelled()
    prior = fit_gaussian(mu, torch.full_like(mu, -20.0), labels, class_count=3)
    assert prior.has_class.tolist() == [True, True, False]
    noise = normal(4000, 3, seed=1)
    for label, offset in [(0, 0.0), (1, 20.0)]:
        z = prior.draw(noise, torch.full((4000,), label))
        assert_moments(z, MEAN + torch.tensor([offset, 0, 0]), COVARIANCE, 0.3)
    everything = prior.draw(noise)
    torch.testing.assert_close(prior.draw(noise, torch.full((4000,), 2)), everything)
    torch.testing.assert_close(prior.draw(noise, torch.full((4000,), -1)), everything)
    assert_moments(everything / 10, mu.mean(0) / 10, mu.T.cov() / 100, 0.05)


def test_a_few_images_of_no_class_get_no_gaussian_unless_they_are_all_there_are():
    mu, labels = labelled()
    some = labels >= 0
    prior = fit_gaussian(mu[some], torch.full_like(mu[some], -20.0), labels[some], class_count=3)
    torch.testing.assert_close(prior.weights, torch.tensor([2 / 3, 1 / 3, 0, 0]))
    few = labels == 2
    prior = fit_gaussian(mu[few], torch.full_like(mu[few], -20.0), labels[few], class_count=3)
    assert prior.weights.tolist() == [0, 0, 0, 1] and not prior.has_class.any()
    torch.testing.assert_close(prior.means[3], mu[few].mean(0))


def test_a_mixture_finds_two_clusters():
    mu = torch.cat([gaussian(3000), gaussian(1000, MEAN + 15, seed=1)])
    prior = fit_gaussian(mu, torch.full_like(mu, -20.0), components=2, seed=3)
    order = prior.weights.argsort(descending=True)
    torch.testing.assert_close(prior.weights[order], torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(prior.means[order], torch.stack([MEAN, MEAN + 15]), atol=0.1, rtol=0)
    for factor in prior.factors:
        torch.testing.assert_close(factor @ factor.T, COVARIANCE, atol=0.3, rtol=0)
    z = prior.draw(normal(8000, 3, seed=2))
    assert (z[:, 0] > 10).float().mean() == pytest.approx(0.25, abs=0.02)
    assert_moments(z[z[:, 0] < 10], MEAN, COVARIANCE)


def test_overlapping_clusters_are_told_apart_by_their_shape():
    """Two Gaussians with one mean: k-means could not."""
    mu = torch.cat([normal(3000, 2) * torch.tensor([5.0, 0.2]), normal(3000, 2, seed=1) * torch.tensor([0.2, 5.0])])
    prior = fit_gaussian(mu, torch.full_like(mu, -20.0), components=2)
    variances = torch.stack([(factor @ factor.T).diagonal() for factor in prior.factors])
    torch.testing.assert_close(variances.sort(dim=1).values, torch.tensor([[0.04, 25.0]] * 2), rtol=0.15, atol=0)


def test_overlapping_clusters_have_the_right_shares():
    mu = torch.cat([normal(18_000, 1), 4 + normal(2000, 1, seed=1)])
    prior = fit_gaussian(mu, torch.full_like(mu, -20.0), components=2)
    torch.testing.assert_close(prior.weights.sort().values, torch.tensor([0.1, 0.9]), atol=0.01, rtol=0)


def test_more_components_than_different_images_are_left_without_weight():
    mu = torch.tensor([[0.0, 0], [9, 9]]).repeat(50, 1)
    prior = fit_gaussian(mu, torch.full_like(mu, -6.0), components=5)
    assert (prior.weights > 0).sum() == 2
    assert prior.draw(normal(1000, 2)).isfinite().all()


def test_the_expected_log_density_against_draws():
    z = torch.tensor([[1.0, 2.0, 3.0]]) + 0.7 * normal(400_000, 3)
    truth = torch.distributions.MultivariateNormal(MEAN, scale_tril=FACTOR)
    posterior = torch.tensor([[1.0, 2.0, 3.0]]), torch.full((1, 3), 0.49)
    value = expected_log_density(*posterior, MEAN.double(), FACTOR.double())
    assert value.item() == pytest.approx(truth.log_prob(z).mean().item(), rel=0.01)


def test_the_noise_that_chose_a_component_is_still_normal_and_independent_of_it():
    weights = torch.tensor([0.5, 0.0, 0.3, 0.2])
    k, noise = choose_component(normal(100_000), weights)
    torch.testing.assert_close(k.bincount(minlength=4) / 100_000, weights, atol=0.005, rtol=0)
    quantiles = torch.tensor([0.02, 0.25, 0.5, 0.75, 0.98])
    for component in (0, 2, 3):
        found = torch.special.ndtr(noise[k == component].quantile(quantiles))
        torch.testing.assert_close(found, quantiles, atol=0.01, rtol=0)


def test_a_row_does_not_depend_on_the_others():
    mu, labels = labelled()
    prior = fit_gaussian(mu, torch.full_like(mu, -20.0), labels, class_count=3)
    noise, others = normal(64, 3, seed=1), normal(64, 3, seed=2)
    label = torch.arange(64) % 4 - 1
    others[5], other_label = noise[5], label.flip(0)
    other_label[5] = label[5]
    assert torch.equal(prior.draw(noise, label)[5], prior.draw(others, other_label)[5])


@pytest.mark.parametrize("sizes", [(1, 0), (3, 0), (1, 4)])
def test_the_constructor_decides_the_shapes(sizes):
    components, classes = sizes
    mu, labels = normal(500, 2, 3, 1), torch.arange(500) % 4
    fitted = fit_gaussian(mu, torch.zeros_like(mu), labels, classes, components)
    fresh = GaussianPrior((2, 3, 1), components, classes)
    assert {k: v.shape for k, v in fitted.state_dict().items()} == {k: v.shape for k, v in fresh.state_dict().items()}
    fresh.load_state_dict(fitted.state_dict())
    noise = normal(8, 2, 3, 1)
    assert torch.equal(fresh.draw(noise, labels[:8]), copy.deepcopy(fitted).draw(noise, labels[:8]))
    with torch.device("meta"):
        described = GaussianPrior((2, 3, 1), components, classes)
    assert described.factors.shape == fresh.factors.shape and described.factors.is_meta


def test_a_fresh_gaussian_prior_is_the_normal_one():
    noise = normal(5, 2, 3, 5)
    assert torch.equal(GaussianPrior((2, 3, 5)).draw(noise), noise)
    assert math.isclose(float(GaussianPrior((4,), components=3).weights.sum()), 1, rel_tol=1e-6)
