"""The classifier learns what can be learnt, no more, and the same from the same seed."""

import pytest
import torch

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import classifier


@pytest.fixture(autouse=True)
def few_steps_of_a_small_network(monkeypatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 50)
    monkeypatch.setattr(classifier, "WIDTHS", (8, 16, 32, 32))


def stripes(count: int, seed: int, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images of stripes that run down (label 0), across (1) or nowhere (2), under noise."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=source)
    wave = torch.sin(torch.arange(size) * 1.2) * 60
    pattern = torch.stack([wave[None].expand(size, size), wave[:, None].expand(size, size), torch.zeros(size, size)])
    noise = 40 * torch.randn(count, 3, size, size, generator=source)
    return (128 + pattern[labels][:, None] + noise).clamp(0, 255).to(torch.uint8), labels


def test_it_learns_stripes_and_its_accuracy_falls_where_they_are_gone():
    network = classifier.train_classifier(*stripes(400, 0), 3, seed=0)
    pixels, labels = stripes(300, 1)
    real = classifier.accuracy(network, pixels, labels)
    assert real.value > 0.95 and real.count == 300
    flat = torch.full_like(pixels, 128)
    assert classifier.accuracy(network, flat, labels).value < 0.5
    turned = classifier.accuracy(network, pixels.transpose(2, 3), labels)
    assert turned.value == pytest.approx((labels == 2).float().mean().item(), abs=0.1)


def test_random_labels_are_not_learnt_beyond_chance():
    pixels, _ = stripes(600, 0)
    labels = torch.randint(0, 2, (600,), generator=torch.Generator().manual_seed(9))
    network = classifier.train_classifier(pixels[:300], labels[:300], 2, seed=0)
    figure = classifier.accuracy(network, pixels[300:], labels[300:])
    assert figure.value == pytest.approx(0.5, abs=4 * figure.error)


def test_the_error_is_that_of_a_share():
    network = classifier.train_classifier(*stripes(128, 0), 3, seed=0)
    pixels, labels = stripes(200, 1)
    wrong = labels.clone()
    wrong[:100] = (labels[:100] + 1) % 3
    figure = classifier.accuracy(network, pixels, wrong)
    assert figure.error == pytest.approx((figure.value * (1 - figure.value) / 199) ** 0.5)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone():
    pixels, labels = stripes(128, 0)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = classifier.train_classifier(pixels, labels, 3, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = classifier.train_classifier(pixels, labels, 3, seed=4)
    other = classifier.train_classifier(pixels, labels, 3, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_grey_and_large_images_and_any_batch():
    pixels, labels = stripes(128, 0, size=80)
    network = classifier.train_classifier(pixels[:, :1], labels, 3, seed=0)
    whole = classifier.predictions(network, pixels[:, :1])
    assert torch.equal(torch.cat([classifier.predictions(network, p) for p in pixels[:, :1].split(7)]), whole)


def test_few_images_and_one_class_are_refused():
    pixels, labels = stripes(63, 0)
    with pytest.raises(VAEError, match="label accuracy: 63 training images are too few; it needs 64"):
        classifier.train_classifier(pixels, labels, 3, seed=0)
    with pytest.raises(VAEError, match="label accuracy: 1 labels are too few; it needs 2"):
        classifier.train_classifier(*stripes(64, 0), 1, seed=0)


def test_majority_share():
    assert classifier.majority_share(torch.tensor([0, 0, 2, 1])) == 0.5
