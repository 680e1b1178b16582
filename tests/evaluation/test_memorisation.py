"""Copies of training images are found, mirrored or not, and new images are not taken for copies."""

import pytest
import torch

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import memorisation
from vae_simpsons.evaluation.memorisation import Nearest


def pictures(count: int, seed: int) -> torch.Tensor:
    """uint8 noise (count, 3, 8, 8)."""
    return torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def look_up(images: torch.Tensor, training: torch.Tensor, groups: torch.Tensor | None = None) -> Nearest:
    groups = torch.arange(len(training)) if groups is None else groups
    return memorisation.nearest(images.flatten(1), images.flip(-1).flatten(1), training.flatten(1), groups)


def test_copies_score_zero_and_name_their_original():
    training = pictures(300, 0)
    copied = torch.tensor([5, 299, 40])
    found = look_up(training[copied], training)
    assert torch.equal(found.first, copied) and not found.mirrored.any()
    assert (memorisation.ratios(found) == 0).all()


def test_mirrored_copies_count():
    training = pictures(100, 0)
    found = look_up(training.flip(-1), training)
    assert torch.equal(found.first, torch.arange(100)) and found.mirrored.all()
    assert (memorisation.ratios(found) == 0).all()


def test_the_second_nearest_is_of_another_scene():
    scene = pictures(1, 1).repeat(10, 1, 1, 1)
    training = torch.cat([scene, pictures(20, 2)])
    training[1, 0, 0, 0] ^= 3  # nearly the same
    groups = torch.cat([torch.zeros(10, dtype=torch.long), torch.arange(1, 21)])
    found = look_up(training[:2], training, groups)
    assert (groups[found.first] == 0).all() and (groups[found.second] > 0).all()
    assert (memorisation.ratios(found) < 0.05).all()
    assert (memorisation.ratios(look_up(scene[:1], training)) == 0).all()  # two equal, in two groups: 0 over 0


def test_distances_and_numbers_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr(memorisation, "QUERIES", 16)
    monkeypatch.setattr(memorisation, "TRAINING", 33)
    images, training = pictures(50, 3), pictures(200, 4)
    flat = training.flatten(1).double()
    plain, flipped = (torch.cdist(x.flatten(1).double(), flat) for x in (images, images.flip(-1)))
    both = torch.minimum(plain, flipped).sort(1)
    found = look_up(images, training)
    assert torch.equal(found.first, both.indices[:, 0]) and torch.equal(found.second, both.indices[:, 1])
    rms = both.values / (3 * 8 * 8) ** 0.5
    torch.testing.assert_close(found.distance, rms[:, 0])
    torch.testing.assert_close(found.second_distance, rms[:, 1])
    assert torch.equal(found.mirrored, (flipped < plain)[torch.arange(50), found.first])


def test_features_of_a_mirrored_image_may_have_another_norm():
    training = torch.tensor([[1.0, 0.0], [0.0, 5.0], [9.0, 9.0]])
    images, mirrored = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 100.0]])
    found = memorisation.nearest(images, mirrored, training, torch.arange(3))
    assert (found.first.item(), found.second.item(), found.mirrored.item()) == (0, 1, False)
    assert memorisation.ratios(found).item() == pytest.approx(29**-0.5)


def test_a_set_of_half_copies_stands_out_and_new_images_do_not():
    training, validation = pictures(400, 0), pictures(200, 1)
    floor = memorisation.ratios(look_up(validation, training))
    new = memorisation.ratios(look_up(pictures(200, 2), training))
    half = memorisation.ratios(look_up(torch.cat([pictures(100, 3), training[:100]]), training))
    ratio, share = memorisation.memorisation(new, floor)
    assert ratio.value == pytest.approx(ratio.reference, abs=4 * ratio.error) and ratio.value > 0.9
    assert share.reference == pytest.approx(0.05) and share.value < 0.12
    ratio, share = memorisation.memorisation(half, floor)
    assert ratio.value < 0.55 and 0.5 <= share.value < 0.6
    assert ratio.reference_is == "validation images" and ratio.count == 200


def test_one_scene_and_few_validation_images_are_refused():
    with pytest.raises(VAEError, match="all 30 are near-duplicates"):
        look_up(pictures(2, 0), pictures(30, 1), torch.zeros(30))
    with pytest.raises(VAEError, match="memorisation ratio: 19 validation images are too few; it needs 20"):
        memorisation.memorisation(torch.ones(5), torch.ones(19))
