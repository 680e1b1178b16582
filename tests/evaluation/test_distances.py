"""Distances of sets whose distance is known, and density and coverage of prdc."""

import math

import numpy as np
import pytest
import torch

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import distances


def normal(count: int, features: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    return mean + scale * torch.randn(count, features, generator=source, dtype=torch.float64)


def test_kernel_distance_is_the_definition_over_all_pairs():
    a, b = normal(11, 4, 0), normal(7, 4, 1, mean=0.5)
    kernel = lambda x, y: (sum(p * q for p, q in zip(x, y, strict=True)).item() / 4 + 1) ** 3  # noqa: E731
    aa = np.mean([kernel(a[i], a[j]) for i in range(11) for j in range(11) if i != j])
    bb = np.mean([kernel(b[i], b[j]) for i in range(7) for j in range(7) if i != j])
    ab = np.mean([kernel(x, y) for x in a for y in b])
    assert distances.kernel_distance(a, b).value == pytest.approx(aa + bb - 2 * ab, rel=1e-10)


def test_kernel_distance_of_one_dimension_is_known():
    """x ~ N(0, 1), y ~ N(m, 1) in one dimension: E(xy + 1)^3 = 1 + 3 E[xy] + 3 E[x^2 y^2] + E[x^3 y^3]."""
    m = 0.4
    third, second = m**3 + 3 * m, m**2 + 1
    exact = (1 + 3) + (1 + 3 * m**2 + 3 * second**2 + third**2) - 2 * (1 + 3 * second)
    found = [distances.kernel_distance(normal(1000, 1, 2 * s), normal(1000, 1, 2 * s + 1, mean=m)) for s in range(60)]
    values = torch.tensor([f.value for f in found])
    assert abs(values.mean().item() - exact) < 4 * values.std().item() / math.sqrt(60)
    errors = torch.tensor([f.error for f in found]).mean().item()
    assert errors == pytest.approx(values.std().item(), rel=0.3)


def test_the_error_of_the_kernel_distance_leaves_out_one_image_at_a_time():
    a, b = normal(9, 3, 0), normal(6, 3, 1, mean=0.7)

    def without(x: torch.Tensor, i: int) -> torch.Tensor:
        return torch.cat([x[:i], x[i + 1 :]])

    by_a = torch.tensor([distances.kernel_distance(without(a, i), b).value for i in range(9)], dtype=torch.float64)
    by_b = torch.tensor([distances.kernel_distance(a, without(b, i)).value for i in range(6)], dtype=torch.float64)
    variance = 8 / 9 * (by_a - by_a.mean()).square().sum() + 5 / 6 * (by_b - by_b.mean()).square().sum()
    assert distances.kernel_distance(a, b).error == pytest.approx(variance.sqrt().item(), rel=1e-9)


def test_kernel_distance_of_equal_distributions_is_zero_on_average_at_any_count():
    found = [distances.kernel_distance(normal(20, 8, 2 * s), normal(30, 8, 2 * s + 1)) for s in range(400)]
    values = torch.tensor([f.value for f in found])
    assert abs(values.mean().item()) < 4 * values.std().item() / 20
    assert (values < 0).float().mean() > 0.3
    assert torch.tensor([f.error for f in found]).mean() > values.std() * 0.9  # rather too large than too small


def test_kernel_distance_needs_three_and_says_its_name():
    figure = distances.kernel_distance(normal(5, 2, 0), normal(4, 2, 1))
    assert (figure.name, figure.count) == ("KD-EffNetLite0", 5)
    with pytest.raises(VAEError, match="KD-EffNetLite0: 2 images are too few; it needs 3"):
        distances.kernel_distance(normal(2, 2, 0), normal(4, 2, 1))


def test_frechet_distance_of_known_gaussians():
    """Means 3 and 0 in one of 4 dimensions, scales 2 and 1 in all: 9 + 4 (2 - 1)^2."""
    a, b = normal(200_000, 4, 0, scale=2.0), normal(200_000, 4, 1)
    a[:, 0] += 3
    figure = distances.frechet_distance(a, b)
    assert figure.value == pytest.approx(13, abs=4 * figure.error)
    assert figure.error < 0.06


def test_frechet_distance_is_exact_for_given_moments():
    """Against the square root of a product of matrices that do not commute, by its eigenvalues."""
    mix = normal(6, 6, 5)
    a, b = normal(500, 6, 0) @ mix, normal(400, 6, 1, mean=0.3)
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    trace = torch.linalg.eigvals(cov_a @ cov_b).real.clamp_min(0).sqrt().sum()
    exact = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace
    assert distances.frechet_distance(a, b).value == pytest.approx(exact.item(), rel=1e-9)
    assert distances.frechet_distance(b, a).value == pytest.approx(exact.item(), rel=1e-9)
    assert distances.frechet_distance(a, a).value == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_the_error_of_the_frechet_distance_is_its_spread(shift):
    mix = normal(3, 3, 5)
    found = [
        distances.frechet_distance(normal(300, 3, 2 * s) @ mix + shift, normal(400, 3, 2 * s + 1)) for s in range(200)
    ]
    spread = torch.tensor([f.value for f in found]).std().item()
    assert torch.tensor([f.error for f in found]).mean().item() == pytest.approx(spread, rel=0.15)


def test_frechet_distance_of_few_images_is_refused_with_the_reason():
    message = "FD-EffNetLite0: 15 images are too few for a covariance of 8 features; it needs 16 in each set"
    with pytest.raises(VAEError, match=message):
        distances.frechet_distance(normal(100, 8, 0), normal(15, 8, 1))


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_density_and_coverage_are_those_of_prdc(shift, capsys):
    prdc = pytest.importorskip("prdc")
    real, samples = normal(1500, 8, 0), normal(700, 8, 1, mean=shift)
    theirs = prdc.compute_prdc(real.numpy(), samples.numpy(), nearest_k=distances.NEAREST)
    density, coverage = distances.density_and_coverage(samples, real)
    assert density.value == pytest.approx(theirs["density"], abs=1e-12)
    assert coverage.value == pytest.approx(theirs["coverage"], abs=1e-12)
    assert (density.count, coverage.count) == (700, 1500)


def test_repeated_images_are_ties_and_count_as_inside():
    """Each real image six times: the fifth neighbour is a copy, its ball a point, and a copy of it lies inside."""
    real = normal(40, 16, 0, mean=3.0).repeat(6, 1)
    density, coverage = distances.density_and_coverage(real[:40], real)
    assert density.value == pytest.approx(6 / 5) and coverage.value == 1
    density, coverage = distances.density_and_coverage(real[:10] + 1e-3, real)
    assert density.value == 0 and coverage.value == 0


def test_density_needs_more_real_images_than_neighbours():
    with pytest.raises(VAEError, match="5 real images are too few; it needs 6"):
        distances.density_and_coverage(normal(9, 2, 0), normal(5, 2, 1))


def test_distances_are_those_of_torch_and_blocks_change_them_little(monkeypatch):
    a, b = normal(50, 6, 0), normal(30, 6, 1)
    before = distances.kernel_distance(a, b), distances.density_and_coverage(a, b)
    monkeypatch.setattr(distances, "ROWS", 7)
    squared = torch.cat([part for _, part in distances.distance_rows(a, b)])
    torch.testing.assert_close(squared.sqrt(), torch.cdist(a, b))
    after = distances.kernel_distance(a, b), distances.density_and_coverage(a, b)
    assert after[0].value == pytest.approx(before[0].value, rel=1e-10) and after[1] == before[1]
