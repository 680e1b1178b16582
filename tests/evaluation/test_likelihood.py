"""Bounds against a linear-Gaussian model, whose log-likelihood is known exactly, and against numerical sums."""

import math

import pytest
import torch
from torch import Tensor

from vae_simpsons.evaluation import likelihood
from vae_simpsons.evaluation.blocks import BLOCK
from vae_simpsons.images import normalise
from vae_simpsons.objective import elbo

SHAPE, LATENT, SIGMA = (1, 4, 3), 2, 0.25
D = math.prod(SHAPE)


class Linear:
    """recon = W z + b, p(x) = N(b, W W^T + sigma^2 I); encode gives the exact posterior, or one that is off."""

    def __init__(self, off: float = 0.0) -> None:
        source = torch.Generator().manual_seed(0)
        self.w = 0.3 * torch.randn(D, LATENT, generator=source, dtype=torch.float64)
        self.w[:, 1] -= self.w[:, 0] * (self.w[:, 0] @ self.w[:, 1]) / self.w[:, 0].square().sum()
        self.b = 0.1 * torch.randn(D, generator=source, dtype=torch.float64)  # columns are orthogonal, so that
        self.precision = 1 + self.w.square().sum(0) / SIGMA**2  # the posterior's covariance is diagonal
        self.off = off

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu = (x.double().flatten(1) - self.b) @ self.w / SIGMA**2 / self.precision
        return mu + self.off, (-self.precision.log() + self.off).expand_as(mu)

    def decode(self, z: Tensor) -> Tensor:
        return (z.double() @ self.w.T + self.b).unflatten(1, SHAPE)

    def posterior(self, pixels: Tensor) -> torch.distributions.Normal:
        mu, log_var = self.encode(normalise(pixels))
        return torch.distributions.Normal(mu, (0.5 * log_var).exp())

    def log_likelihood(self, pixels: Tensor) -> Tensor:
        covariance = self.w @ self.w.T + SIGMA**2 * torch.eye(D, dtype=torch.float64)
        marginal = torch.distributions.MultivariateNormal(self.b, covariance)
        return marginal.log_prob(normalise(pixels).double().flatten(1))


def images(count: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randint(60, 190, (count, *shape), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


def elbos(model: Linear, pixels: Tensor, of=None, seed: int = 0) -> Tensor:
    mu, log_var = likelihood.posteriors(model.encode, pixels)
    z = likelihood.sampled_latents(mu, log_var, seed)
    expected = likelihood.expected_log_likelihoods(model.decode, z, pixels, [of or likelihood.continuous(SIGMA)])
    return likelihood.elbos(mu, log_var, expected)[:, 0]


def test_elbo_of_the_exact_posterior_is_the_log_likelihood():
    model, pixels = Linear(), images(40)
    many = torch.stack([elbos(model, pixels, seed=s) for s in range(400)])
    error = many.std(0) / 20
    assert ((many.mean(0) - model.log_likelihood(pixels)).abs() < 4.5 * error).all()


def test_elbo_of_another_posterior_is_below_by_its_divergence():
    model, pixels = Linear(off=0.3), images(40)
    many = torch.stack([elbos(model, pixels, seed=s) for s in range(400)])
    gap = torch.distributions.kl_divergence(model.posterior(pixels), Linear().posterior(pixels)).sum(1)
    assert (gap > 0.01).all()
    expected = model.log_likelihood(pixels) - gap
    assert ((many.mean(0) - expected).abs() < 4.5 * many.std(0) / 20).all()


def test_iwae_is_exact_with_the_exact_posterior():
    model, pixels = Linear(), images(70)
    bound, size = likelihood.iwae(model.encode, model.decode, pixels, likelihood.continuous(SIGMA), 5, seed=0)
    torch.testing.assert_close(bound, model.log_likelihood(pixels), rtol=0, atol=1e-5)  # the noise is float32
    torch.testing.assert_close(size, torch.full((70,), 5.0).double(), rtol=0, atol=1e-5)


def test_iwae_rises_with_the_samples_to_the_log_likelihood():
    model, pixels = Linear(off=0.4), images(300)
    exact = model.log_likelihood(pixels).mean()
    gaps, sizes = [], []
    for k in (1, 4, 16, 256, 1024):
        bound, size = likelihood.iwae(model.encode, model.decode, pixels, likelihood.continuous(SIGMA), k, seed=0)
        gaps.append((exact - bound.mean()).item())
        sizes.append(size.mean().item())
        assert (size <= k + 1e-9).all() and (size >= 1 - 1e-9).all()
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.2 and abs(gaps[-1]) < 0.02
    assert sizes[0] == pytest.approx(1) and sizes == sorted(sizes)


def test_one_sample_of_iwae_averages_to_the_elbo():
    model, pixels = Linear(off=0.3), images(64)
    of = likelihood.continuous(SIGMA)
    one = torch.stack([likelihood.iwae(model.encode, model.decode, pixels, of, 1, seed=s)[0] for s in range(200)])
    many = torch.stack([elbos(model, pixels, seed=s) for s in range(200)])
    assert (one.mean(0) - many.mean(0)).abs().mean() < 0.15


def test_the_continuous_elbo_is_the_objectives():
    model, pixels = Linear(off=0.2), images(10)
    mu, log_var = likelihood.posteriors(model.encode, pixels)
    z = likelihood.sampled_latents(mu, log_var, 3)
    mse = likelihood.residuals(model.decode, z, pixels)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, (0.5 * log_var).exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum(1)
    torch.testing.assert_close(elbos(model, pixels, seed=3), elbo(mse, kl, SIGMA, D))


@pytest.mark.parametrize("sigma", [0.002, 0.03, 0.25, 1.24, 30.0])
@pytest.mark.parametrize("mean", [-1.0, -0.3, 0.013, 0.999, 1.7])
def test_the_bins_are_probabilities(sigma, mean):
    every = torch.arange(256, dtype=torch.uint8)
    log_p = likelihood.log_bin_probability(torch.full((256,), mean), every, sigma)
    assert log_p.isfinite().all() and (log_p <= 0).all()
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("sigma", [0.03, 0.25, 1.24])
def test_the_bins_are_the_integral_of_the_density(sigma):
    pixels = torch.tensor([1, 64, 128, 254], dtype=torch.uint8)
    recon = torch.tensor([-0.9, -0.6, 0.1, 0.8], dtype=torch.float64)
    centre = pixels.double() / 127.5 - 1
    t = centre[:, None] + torch.linspace(-1, 1, 4001, dtype=torch.float64) / 255
    density = torch.distributions.Normal(recon[:, None], sigma).log_prob(t).exp()
    integral = torch.trapezoid(density, t)
    torch.testing.assert_close(likelihood.log_bin_probability(recon, pixels, sigma), integral.log(), rtol=0, atol=1e-6)


def test_the_tails_of_the_bins_keep_their_digits():
    """Far out, mass = density * sigma / distance * (1 - exp(-distance * width)), to first order."""
    pixels, sigma = torch.tensor([200], dtype=torch.uint8), 0.005
    log_p = likelihood.log_bin_probability(torch.tensor([-1.0], dtype=torch.float64), pixels, sigma).item()
    near = ((200 / 127.5) - 1 / 255) / sigma  # 313 sigma
    assert log_p == pytest.approx(-0.5 * near**2 - 0.5 * math.log(2 * math.pi) - math.log(near), abs=1e-4)
    mirrored = likelihood.log_bin_probability(torch.tensor([1.0], dtype=torch.float64), 255 - pixels, sigma).item()
    assert mirrored == pytest.approx(log_p, rel=1e-12)


def test_bits_of_a_wide_bin_are_the_density_and_a_constant():
    """numerics.md: bits = nats / (D ln 2) + log2(127.5), nats of the density, where a bin is far below sigma."""
    model, pixels = Linear(), images(8)
    discrete = elbos(model, pixels, likelihood.discrete(SIGMA))
    continuous = elbos(model, pixels, likelihood.continuous(SIGMA))
    expected = -continuous / (D * math.log(2)) + math.log2(127.5)
    torch.testing.assert_close(likelihood.bits_per_dim(discrete, D), expected, rtol=0, atol=2e-4)


def test_bits_are_a_true_bound_above_the_entropy():
    """Two grey levels cost at least one bit a pixel; a model that guesses at random needs 8."""
    pixels = torch.where(torch.rand(256, 1, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5, 100, 104)
    pixels = pixels.to(torch.uint8)
    recon = torch.full(pixels.shape, 102 / 127.5 - 1)
    sigmas = (0.004, 2 / 127.5, 0.5)
    bits = [likelihood.bits_per_dim(likelihood.discrete(s)(recon, pixels), 64).mean().item() for s in sigmas]
    assert min(bits) > 1.0 and bits[1] < 3.1 < bits[2]
    guess = torch.tensor([64 * math.log(1 / 256)])
    assert likelihood.bits_per_dim(guess, 64).item() == pytest.approx(likelihood.RAW_BITS)


def test_the_fitted_sigma_has_the_greatest_elbo():
    model, pixels = Linear(off=0.1), images(50)
    mu, log_var = likelihood.posteriors(model.encode, pixels)
    z = likelihood.sampled_latents(mu, log_var, 0)
    fitted = likelihood.fitted_sigma(likelihood.residuals(model.decode, z, pixels))

    def at(sigma: float) -> float:
        return elbos(model, pixels, likelihood.continuous(sigma)).mean().item()

    assert at(fitted) > max(at(0.97 * fitted), at(1.03 * fitted))


def test_neither_batch_nor_number_of_images_changes_a_digit():
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(1, 8, 3, 2, 1)
    network = torch.nn.Sequential(convolution, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(128, 8))
    back = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Unflatten(1, (1, 8, 8)))
    pixels = images(2 * BLOCK + 9, (1, 8, 8))

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = network(x).chunk(2, 1)
        return mu, log_var

    def run(pixels: Tensor) -> Tensor:
        return likelihood.iwae(encode, back, pixels, likelihood.discrete(0.3), 3, seed=5)[0]

    whole = run(pixels)
    assert torch.equal(run(pixels), whole)
    for count in (1, 7, BLOCK, BLOCK + 1):
        assert torch.equal(run(pixels[:count]), whole[:count])
    assert not torch.equal(likelihood.iwae(encode, back, pixels, likelihood.discrete(0.3), 3, seed=6)[0], whole)


def test_latents_may_have_any_shape():
    model, pixels = Linear(off=0.2), images(6)

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = model.encode(x)
        return mu.unflatten(1, (LATENT, 1, 1)), log_var.unflatten(1, (LATENT, 1, 1))

    def decode(z: Tensor) -> Tensor:
        return model.decode(z.flatten(1))

    of = likelihood.continuous(SIGMA)
    flat = likelihood.iwae(model.encode, model.decode, pixels, of, 4, seed=0)[0]
    assert torch.equal(likelihood.iwae(encode, decode, pixels, of, 4, seed=0)[0], flat)
