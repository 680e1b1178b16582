import math

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_kl

from vae_simpsons import objective


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


def test_loss_is_mse_plus_weighted_kl(batch):
    recon, x, mu, log_var = batch
    loss, mse, kl = objective.vae_loss(recon, x, mu, log_var, kl_weight=0.25)
    torch.testing.assert_close(mse, ((recon - x) ** 2).sum() / x.numel())
    torch.testing.assert_close(loss, mse + 0.25 * kl.sum() / len(x))
    assert kl.shape == (5,)


def test_gradients_match_finite_differences(batch):
    def loss(recon, mu, log_var):
        return objective.vae_loss(recon, batch[1].double(), mu, log_var, 0.01).loss

    inputs = [t.double().requires_grad_() for t in (batch[0], batch[2], batch[3])]
    assert torch.autograd.gradcheck(loss, inputs)


def test_minimising_the_loss_is_maximising_the_elbo(batch):
    """At the implied sigma, elbo = -loss / w + constant, so that differences of one are differences of the other."""
    recon, x, mu, log_var = batch
    weight, values = 0.02, x[0].numel()
    sigma = objective.implied_sigma(weight, values)

    def both(recon):
        loss, mse, kl = objective.vae_loss(recon, x, mu, log_var, weight)
        return loss, objective.elbo(mse, kl.mean(), sigma, values)

    (loss_a, elbo_a), (loss_b, elbo_b) = both(recon), both(0.5 * recon)
    torch.testing.assert_close(elbo_a - elbo_b, (loss_b - loss_a) / weight, rtol=1e-4, atol=1e-2)


def test_the_usual_weight_implies_a_noise_of_1_24():
    assert objective.implied_sigma(0.00025, 3 * 64 * 64) == pytest.approx(math.sqrt(1.536))


def test_a_grey_image_is_not_broadcast_against_rgb():
    with pytest.raises(ValueError, match="differ in shape"):
        objective.mean_squared_error(torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_inputs_give_a_float32_loss(dtype, batch):
    terms = objective.vae_loss(*(t.to(dtype) for t in batch), kl_weight=1.0)
    assert {t.dtype for t in terms} == {torch.float32}
    full = objective.vae_loss(*(t.to(dtype).float() for t in batch), kl_weight=1.0)
    assert torch.equal(terms.loss, full.loss)


def test_an_autoencoder_is_charged_its_squared_error_alone(batch):
    loss, mse, kl = objective.autoencoder_loss(batch[0], batch[1])
    assert loss == mse and not kl.any()
