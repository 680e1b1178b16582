import math

import pytest
import torch

from vae_simpsons.errors import VAEError
from vae_simpsons.inference.walk import check_walk, frames, interpolate, walk


def test_a_line_is_divided_evenly():
    found = interpolate(torch.tensor([0.0, 2.0]), torch.tensor([4.0, -2.0]), 5)
    assert found.tolist() == [[0, 2], [1, 1], [2, 0], [3, -1], [4, -2]]


def test_an_arc_between_perpendicular_unit_vectors_is_cosine_and_sine():
    found = interpolate(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 4, spherical=True)
    angles = [k * math.pi / 6 for k in range(4)]
    expected = torch.tensor([[math.cos(a), math.sin(a)] for a in angles])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_an_arc_between_latents_of_one_length_keeps_it_and_its_angles_are_even():
    a, b = torch.randn(2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = 3 * a / a.norm(), 3 * b / b.norm()
    found = interpolate(a, b, 9, spherical=True)
    torch.testing.assert_close(found.norm(dim=1), torch.full((9,), 3.0, dtype=torch.float64))
    cosines = (found[1:] * found[:-1]).sum(1) / 9
    torch.testing.assert_close(cosines, cosines[:1].expand(8))


def test_a_map_is_walked_as_the_vector_of_its_values():
    a, b = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    for spherical in (False, True):
        found = interpolate(a, b, 6, spherical)
        assert found.shape == (6, 3, 4, 4)
        assert torch.equal(found.flatten(1), interpolate(a.flatten(), b.flatten(), 6, spherical))


@pytest.mark.parametrize("spherical", [False, True])
def test_the_ends_are_exact(spherical):
    for seed in range(50):
        a, b = torch.randn(2, 33, generator=torch.Generator().manual_seed(seed))
        found = interpolate(a, b, 7, spherical)
        assert torch.equal(found[0], a) and torch.equal(found[-1], b)


@pytest.mark.parametrize(
    ("a", "b"), [([1.0, 2], [2.0, 4]), ([1.0, 2], [-1.0, -2]), ([0.0, 0], [1.0, 2]), ([0.0, 0], [0.0, 0])]
)
def test_where_there_is_no_arc_the_line_is_taken(a, b):
    a, b = torch.tensor(a), torch.tensor(b)
    torch.testing.assert_close(interpolate(a, b, 5, spherical=True), interpolate(a, b, 5))


def test_a_walk_goes_through_every_anchor_and_a_loop_comes_back():
    anchors = torch.tensor([[0.0], [3.0], [9.0]])
    assert walk(anchors, 4)[..., 0].tolist() == [[0, 1, 2, 3], [3, 5, 7, 9]]
    assert walk(anchors, 4, loop=True)[..., 0].tolist() == [[0, 1, 2, 3], [3, 5, 7, 9], [9, 6, 3, 0]]


def test_frames_show_each_anchor_once():
    anchors = torch.tensor([[0.0], [2.0], [6.0]])
    assert frames(walk(anchors, 3), loop=False)[:, 0].tolist() == [0, 1, 2, 4, 6]
    assert frames(walk(anchors, 3, loop=True), loop=True)[:, 0].tolist() == [0, 1, 2, 4, 6, 3]


@pytest.mark.parametrize(("count", "steps", "said"), [(1, 5, "x: 1 picture is no way"), (2, 1, "steps: 1 is not")])
def test_less_than_a_way_is_refused(count, steps, said):
    with pytest.raises(VAEError, match=said):
        check_walk(count, steps)
