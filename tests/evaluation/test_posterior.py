"""Active units and the two parts of the KL where they are known."""

import math

import pytest
import torch
from torch import Tensor

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import posterior


def drawn(mu: Tensor, log_var: Tensor, seed: int = 0) -> Tensor:
    eps = torch.randn(mu.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mu + eps * (0.5 * log_var).exp()


def gaussian_channel(count: int, signal: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """q(z|x) of images whose q(z) is exactly N(0, I): mu ~ N(0, s), variance 1 - s."""
    eps = torch.randn((count, len(signal)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return eps * signal.sqrt(), torch.log1p(-signal).expand(count, -1)


def test_the_parts_of_a_gaussian_channel():
    """Where q(z) = p(z), all of the KL is information, 1/2 log 1/(1 - s) a dimension."""
    signal = torch.tensor([0.9, 0.5, 0.0], dtype=torch.float64)
    mu, log_var = gaussian_channel(4000, signal)
    split = posterior.split_kl(mu, log_var, drawn(mu, log_var, 1))
    exact = -0.5 * torch.log1p(-signal).sum().item()  # 1.498 nats
    assert split.information.mean().item() == pytest.approx(exact, abs=0.05)
    assert split.marginal.mean().item() == pytest.approx(0, abs=0.05)


def test_a_shifted_posterior_is_all_marginal():
    mu = torch.full((500, 2), 1.5, dtype=torch.float64)
    log_var = torch.zeros_like(mu)
    split = posterior.split_kl(mu, log_var, drawn(mu, log_var))
    assert split.information.abs().max().item() < 1e-12
    torch.testing.assert_close(split.marginal, torch.full((500,), 1.5**2).double())  # 2 dimensions, 1/2 mu^2 each


def test_distinct_images_reach_log_n_and_no_more():
    mu = 10.0 * torch.arange(32, dtype=torch.float64)[:, None]
    log_var = torch.full_like(mu, -6.0)
    split = posterior.split_kl(mu, log_var, drawn(mu, log_var))
    torch.testing.assert_close(split.information, torch.full((32,), math.log(32)).double())


def test_the_mixture_is_that_of_torch():
    source = torch.Generator().manual_seed(0)
    mu, log_var = torch.randn(600, 3, generator=source).double(), torch.randn(600, 3, generator=source).double()
    z = drawn(mu, log_var)
    components = torch.distributions.Independent(torch.distributions.Normal(mu, (0.5 * log_var).exp()), 1)
    own = components.log_prob(z)
    q = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(600)), components)
    torch.testing.assert_close(posterior.split_kl(mu, log_var, z).information, own - q.log_prob(z))


def test_kl_by_dimension_is_that_of_torch_and_the_split_sums_to_it():
    source = torch.Generator().manual_seed(0)
    mu, log_var = torch.randn(50, 4, generator=source).double(), torch.randn(50, 4, generator=source).double()
    q, p = torch.distributions.Normal(mu, (0.5 * log_var).exp()), torch.distributions.Normal(0.0, 1.0)
    exact = torch.distributions.kl_divergence(q, p)
    torch.testing.assert_close(posterior.kl_by_dimension(mu, log_var), exact.mean(0))
    split = posterior.split_kl(mu, log_var, drawn(mu, log_var))
    torch.testing.assert_close(split.information + split.marginal, exact.sum(1))


def test_active_units_count_the_dimensions_whose_mean_moves():
    spread = torch.tensor([1.0, 0.11, 0.09, 0.0])
    mu = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) * spread + 5
    figure = posterior.active_units(mu)
    assert (figure.value, figure.reference, figure.count, figure.error) == (2, 4, 5000, None)
    with pytest.raises(VAEError, match="active units: 1 images are too few; it needs 2"):
        posterior.active_units(mu[:1])
