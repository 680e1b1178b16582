import pytest
import torch

from conftest import build_network
from vae_simpsons import objective
from vae_simpsons.data.pictures import Part, Pictures
from vae_simpsons.errors import VAEError
from vae_simpsons.images import normalise
from vae_simpsons.inference import traverse
from vae_simpsons.inference.latents import mean_latent
from vae_simpsons.progress import no_progress

KL = torch.tensor([0.5, 3.0, 0.0, 2.0, 1.0])


def pictures(count: int, seed: int = 0) -> tuple[torch.Tensor, Pictures]:
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return pixels, Pictures([Part([str(i) for i in range(count)], lambda i: pixels[i])])


@pytest.mark.parametrize(
    ("dims", "chosen"),
    [("top2", [1, 3]), ("top8", [1, 3, 4, 0, 2]), ("0,3", [3, 0]), ([2, 2, 1], [1, 2]), (" 4 , 1 ", [1, 4])],
)
def test_dimensions_come_with_the_largest_kl_first(dims, chosen):
    assert traverse.choose_dims(dims, KL) == chosen


@pytest.mark.parametrize("dims", ["top0", "top", "best", "", "5", "-1", "0,9", "0;1", "1.5", [5], [], "0,"])
def test_dims_that_mean_nothing_are_refused_with_what_is_accepted(dims):
    with pytest.raises(VAEError, match=r"^dims: .*numbers from 0 to 4"):
        traverse.choose_dims(dims, KL)


def test_one_value_changes_in_a_row_and_the_rest_stays():
    start = torch.arange(6.0).reshape(2, 3)
    z = traverse.traverse(start, [4, 0], 2.0, 5)
    assert z.shape == (2, 5, 2, 3)
    for row, dim in zip(z.flatten(2), (4, 0), strict=True):
        assert row[:, dim].tolist() == [-2, -1, 0, 1, 2]
        others = [i for i in range(6) if i != dim]
        assert torch.equal(row[:, others], start.flatten()[others].expand(5, 5))


def test_the_kl_is_that_of_the_objective_over_all_pictures():
    network = build_network().eval()
    pixels, source = pictures(300)  # more than a block
    with torch.no_grad():
        mu, log_var = network.encode(normalise(pixels))
    expected = objective.kl_per_dimension(mu.double(), log_var.double()).mean(0)
    torch.testing.assert_close(traverse.measure_kl(network, source, no_progress), expected, rtol=1e-4, atol=1e-6)


def test_labels_say_number_and_kl():
    assert traverse.row_labels([1, 4], KL) == ["dim 1\n3.00 nats", "dim 4\n1.00 nats"]
    assert traverse.column_labels(3.0, 3) == ["-3", "0", "3"]


def test_what_cannot_be_traversed_is_refused():
    with pytest.raises(VAEError, match="path: this is an autoencoder"):
        traverse.check_reach(build_network(variational=False), 3.0, 7)
    for reach in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(VAEError, match="reach: .* is not accepted"):
            traverse.check_reach(build_network(), reach, 7)


def test_an_attribute_is_the_difference_of_mean_latents():
    network = build_network().eval()
    (a, plus), (b, minus) = pictures(5), pictures(7, seed=1)
    with torch.no_grad():
        expected = network.encode(normalise(a))[0].mean(0) - network.encode(normalise(b))[0].mean(0)
    with_it, without = (mean_latent(network, pictures, no_progress) for pictures in (plus, minus))
    torch.testing.assert_close((with_it - without).float(), expected, rtol=1e-4, atol=1e-5)
    assert with_it.dtype == torch.float64
