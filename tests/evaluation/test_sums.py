import math

import pytest
import torch

from vae_simpsons.evaluation.sums import ValidationSums
from vae_simpsons.objective import kl_divergence


def test_validation_adds_up_to_the_means_over_images_not_batches():
    torch.manual_seed(0)
    x, recon = torch.rand(10, 3, 4, 4) * 2 - 1, torch.rand(10, 3, 4, 4) * 2 - 1
    mu, log_var = torch.randn(10, 4) * torch.tensor([1.0, 1.0, 0.05, 0.2]), torch.randn(10, 4)
    sums = ValidationSums(4, torch.device("cpu"))
    for part in (slice(0, 8), slice(8, 10)):
        sums.add(x[part], recon[part], mu[part], log_var[part])
    means = sums.means()
    assert means.mse == pytest.approx(float((recon - x).square().mean()), rel=1e-6)
    assert float(means.kl_per_dimension.sum()) == pytest.approx(float(kl_divergence(mu, log_var).mean()), rel=1e-6)
    assert means.active_units == int((mu.var(0, unbiased=False) >= 0.01).sum()) == 3
    assert means.varied == pytest.approx(1, abs=0.2)


def test_a_map_is_counted_value_by_value():
    sums = ValidationSums(8, torch.device("cpu"))
    mu, image = torch.randn(5, 2, 2, 2), torch.zeros(5, 1, 2, 2)
    sums.add(image, image, mu, torch.zeros_like(mu))
    means = sums.means()
    torch.testing.assert_close(means.kl_per_dimension, (0.5 * mu.square()).flatten(1).mean(0).double())
    assert math.isnan(means.varied)


def test_processes_add_up():
    one, both = (ValidationSums(1, torch.device("cpu")) for _ in range(2))
    for image in (torch.zeros(2, 1, 1, 1), torch.ones(4, 1, 1, 1)):
        both.add(image, 0.5 * image, torch.zeros(len(image), 1), None)
    one.add(torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), torch.zeros(2, 1), None)
    other = torch.tensor([4.0, 4 * 0.25, 0, 0, 0, 0, 0])
    assert one.means(lambda sums: sums + other).mse == both.means().mse == pytest.approx(4 / 6 * 0.25)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("sizes", "varied"), [([1], math.nan), ([4, 1], 0.25)])
def test_a_batch_of_one_image_says_nothing_of_how_much_they_vary(sizes, varied):
    sums = ValidationSums(2, torch.device("cpu"))
    for size in sizes:
        x = torch.randn(size, 3, 8, 8)
        sums.add(x, x / 2, torch.zeros(size, 2), torch.zeros(size, 2))
    assert sums.means().varied == pytest.approx(varied, nan_ok=True)
