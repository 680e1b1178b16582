import math

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_kl

from vae_simpsons import objective, settings
from vae_simpsons.objective import Objective

D = 3 * 8 * 8  # values of an image


def terms(recon, x, mu, log_var, log_sigma=None, kl_share=1.0, **chosen) -> objective.Terms:
    """The loss of a batch with the settings `chosen`, and its terms."""
    mse, kl = objective.mean_squared_error(recon, x), objective.kl_per_dimension(mu, log_var).mean(0)
    return Objective(settings.Objective(**chosen), x[0].numel()).terms(mse, kl, kl_share, log_sigma)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    x, recon = torch.rand(5, 3, 8, 8) * 2 - 1, torch.rand(5, 3, 8, 8) * 2 - 1
    return recon, x, torch.randn(5, 7), torch.randn(5, 7)


def test_kl_is_that_of_torch_distributions(batch):
    _, _, mu, log_var = batch
    reference = reference_kl(Normal(mu, (0.5 * log_var).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(objective.kl_per_dimension(mu, log_var), reference)
    torch.testing.assert_close(objective.kl_divergence(mu, log_var), reference.sum(1))


def test_kl_is_zero_at_the_prior_and_never_negative():
    assert objective.kl_divergence(torch.zeros(3, 4), torch.zeros(3, 4)).tolist() == [0, 0, 0]
    near = torch.linspace(-1e-3, 1e-3, 4001)[None]
    assert (objective.kl_per_dimension(torch.zeros_like(near), near) >= 0).all()


def test_kl_against_samples(batch):
    """The definition, E_q[ln q(z) - ln p(z)], by 200,000 draws."""
    mu, log_var = batch[2][:1], batch[3][:1]
    q = Normal(mu, (0.5 * log_var).exp())
    z = q.sample((200_000,))
    estimate = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1).mean()
    assert float(objective.kl_divergence(mu, log_var)) == pytest.approx(float(estimate), rel=0.01)


def test_nll_is_that_of_torch_distributions(batch):
    recon, x, _, _ = batch
    sigma, values = 0.7, x[0].numel()
    reference = -Normal(recon, sigma).log_prob(x).flatten(1).sum(1).mean()
    mse = objective.mean_squared_error(recon, x)
    torch.testing.assert_close(objective.gaussian_nll(mse, sigma, values), reference)


def test_the_published_loss_is_mse_plus_weighted_kl(batch):
    recon, x, mu, log_var = batch
    loss, mse, kl, _ = terms(*batch, beta=5.0, kld_weight=0.05)
    torch.testing.assert_close(mse, ((recon - x) ** 2).sum() / x.numel())
    torch.testing.assert_close(kl, objective.kl_divergence(mu, log_var).mean())
    torch.testing.assert_close(loss, mse + 0.25 * kl)


@pytest.mark.parametrize("sigma", [None, 0.3, "optimal", "learned"])
def test_gradients_match_finite_differences(batch, sigma):
    def loss(recon, mu, log_var, log_sigma):
        return terms(recon, batch[1].double(), mu, log_var, log_sigma, sigma=sigma, kld_weight=0.01, free_bits=0.2).loss

    inputs = [t.double().requires_grad_() for t in (batch[0], batch[2], batch[3], torch.tensor(-0.4))]
    assert torch.autograd.gradcheck(loss, inputs)


def test_minimising_the_loss_is_maximising_the_elbo(batch):
    """At the implied sigma, elbo = -loss / w + constant, so that differences of one are differences of the other."""
    recon, x, mu, log_var = batch
    weight, values = 0.02, x[0].numel()
    sigma = objective.implied_sigma(weight, values)

    def both(recon):
        found = terms(recon, x, mu, log_var, kld_weight=weight)
        torch.testing.assert_close(found.elbo, objective.elbo(found.mse, found.kl, sigma, values))
        return found.loss, found.elbo

    (loss_a, elbo_a), (loss_b, elbo_b) = both(recon), both(0.5 * recon)
    torch.testing.assert_close(elbo_a - elbo_b, (loss_b - loss_a) / weight, rtol=1e-4, atol=1e-2)


def test_the_usual_weight_implies_a_noise_of_1_24():
    assert objective.implied_sigma(0.00025, 3 * 64 * 64) == pytest.approx(math.sqrt(1.536))


def test_a_grey_image_is_not_broadcast_against_rgb():
    with pytest.raises(ValueError, match="differ in shape"):
        objective.mean_squared_error(torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_give_a_float32_loss(dtype, batch):
    halves = [t.to(dtype) for t in batch]
    found = terms(*halves, kld_weight=1.0)
    assert {t.dtype for t in found} == {torch.float32}
    assert torch.equal(found.loss, terms(*(t.float() for t in halves), kld_weight=1.0).loss)


def test_a_given_sigma_is_the_kld_weight_that_implies_it_but_for_scale(batch):
    """loss = (nll + beta kl) / D = (mse + w kl) / (2 sigma^2) + constant with w = beta * 2 sigma^2 / D."""
    recon, x, mu, log_var = batch
    sigma, beta = 0.3, 2.5

    def both(recon, mu):
        given = terms(recon, x, mu, log_var, sigma=sigma, beta=beta).loss
        return given, terms(recon, x, mu, log_var, kld_weight=2 * sigma**2 / D, beta=beta).loss / (2 * sigma**2)

    constant = math.log(sigma) + 0.5 * math.log(2 * math.pi)
    for given, published in (both(recon, mu), both(0.5 * recon, mu), both(recon, 3 * mu)):
        torch.testing.assert_close(given, published + constant)


def test_the_optimal_sigma_is_the_most_likely_one(batch):
    """The loss is D/2 ln mse + constant, its gradient that of D/2 ln mse, and no other sigma has a smaller nll."""
    recon, x, mu, log_var = batch[0].requires_grad_(), *batch[1:]
    found = terms(recon, x, mu, log_var, sigma="optimal", beta=0.5)
    mse = objective.mean_squared_error(recon, x)
    nll = D / 2 * (mse.log() + math.log(2 * math.pi) + 1)
    torch.testing.assert_close(found.loss, (nll + 0.5 * found.kl) / D)
    torch.testing.assert_close(found.elbo, -(nll + found.kl))
    (ours,) = torch.autograd.grad(found.loss, recon, retain_graph=True)
    (closed,) = torch.autograd.grad(0.5 * mse.log(), recon)
    torch.testing.assert_close(ours, closed)
    best = objective.gaussian_nll(mse, mse.sqrt(), D)
    assert all(objective.gaussian_nll(mse, mse.sqrt() * off, D) > best for off in (0.9, 0.99, 1.01, 1.1))


def test_a_perfect_reconstruction_has_a_finite_loss_and_gradient(batch):
    x = batch[1]
    recon = x.clone().requires_grad_()
    loss = terms(recon, x, *batch[2:], sigma="optimal").loss
    loss.backward()
    assert loss.isfinite() and recon.grad.isfinite().all()


def test_a_learned_sigma_comes_to_the_error_that_is_left(batch):
    log_sigma = torch.tensor(math.log(0.3), requires_grad=True)
    adam = torch.optim.Adam([log_sigma], lr=0.02)
    for _ in range(300):
        adam.zero_grad()
        terms(*batch, log_sigma, sigma="learned").loss.backward()
        adam.step()
    mse = objective.mean_squared_error(*batch[:2])
    log_sigma = log_sigma.detach()
    assert log_sigma.exp().item() == pytest.approx(mse.sqrt().item(), rel=1e-3)
    assert terms(*batch, log_sigma, sigma="learned").elbo == pytest.approx(terms(*batch, sigma="optimal").elbo)


@pytest.mark.parametrize("sigma", [None, 0.3, "optimal"])
def test_beta_and_warm_up_weigh_the_kl_in_the_loss_and_not_in_the_elbo(batch, sigma):
    one, other, warming = (
        terms(*batch, sigma=sigma, beta=1.0),
        terms(*batch, sigma=sigma, beta=4.0),
        terms(*batch, sigma=sigma, beta=4.0, kl_share=0.25),
    )
    weight = 0.00025 if sigma is None else 1 / D
    torch.testing.assert_close(other.loss - one.loss, 3 * weight * one.kl)
    torch.testing.assert_close(warming.loss, one.loss)
    assert one.elbo == other.elbo == warming.elbo


def test_free_bits_cost_the_same_and_have_no_gradient_until_they_are_used_up():
    kl = torch.tensor([0.1, 0.5, 2.0], requires_grad=True)
    cost = objective.kl_cost(kl, 0.5)
    cost.backward()
    assert cost.item() == pytest.approx(0.5 + 0.5 + 2.0) and kl.grad.tolist()[0] == 0 and kl.grad.tolist()[2] == 1
    assert objective.kl_cost(kl, 0.0).item() == pytest.approx(2.6)


def test_free_bits_are_free_in_the_loss_alone(batch):
    recon, x, mu, log_var = batch
    small = 0.01 * mu, 0.01 * log_var  # a KL of hardly anything
    found = terms(recon, x, *small, sigma=0.3, free_bits=0.5)
    assert found.loss == terms(recon, x, 0 * mu, 0 * log_var, sigma=0.3, free_bits=0.5).loss
    assert 0 < found.kl < 0.01 and found.elbo < terms(recon, x, 0 * mu, 0 * log_var, sigma=0.3).elbo
