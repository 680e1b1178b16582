import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conftest import build_network
from vae_simpsons.models.cpu import (
    SMALL_MAP,
    DoublingConv,
    HalvingConv,
    ToImageConv,
    fast_form,
    overlap,
    patches_of,
    use_fast_convolutions,
)

HALVING = nn.Conv2d(6, 4, 3, stride=2, padding=1)
DOUBLING = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1)
TO_IMAGE = nn.Conv2d(6, 3, 3, padding=1)


def value_and_gradients(layer, convolution, x: Tensor, **settings) -> list[list[Tensor]]:
    """Of the layer, and of torch's own convolution with its weights: the map, and gradients by x, weight and bias."""
    found = []
    settings = {"stride": 2, "padding": 1} | settings
    for y in (layer(x), convolution(x, layer.weight, layer.bias, **settings)):
        towards = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)
        found.append([y, *torch.autograd.grad(y, [x, layer.weight, layer.bias], towards)])
    return found


@pytest.mark.parametrize("side", [2, 4, 8, 16])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_halving_is_torchs_convolution(side, format):
    layer = fast_form(nn.Conv2d(3, 5, 3, stride=2, padding=1)).double().to(memory_format=format)
    x = torch.randn(2, 3, side, 2 * side, dtype=torch.float64).to(memory_format=format).requires_grad_()
    ours, torchs = value_and_gradients(layer, F.conv2d, x)
    torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("side", [1, 2, 4, 8])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_doubling_is_torchs_transposed_convolution(side, format):
    layer = (
        fast_form(nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1)).double().to(memory_format=format)
    )
    x = torch.randn(2, 3, side, 2 * side, dtype=torch.float64).to(memory_format=format).requires_grad_()
    ours, torchs = value_and_gradients(layer, F.conv_transpose2d, x, output_padding=1)
    torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_an_image_is_torchs_convolution(channels, format):
    layer = fast_form(nn.Conv2d(5, channels, 3, padding=1)).double().to(memory_format=format)
    x = torch.randn(2, 5, 6, 4, dtype=torch.float64).to(memory_format=format).requires_grad_()
    ours, torchs = value_and_gradients(layer, F.conv2d, x, stride=1)
    torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("plain", [HALVING, DOUBLING, TO_IMAGE])
def test_half_precision_stays_half(plain):
    layer = fast_form(plain)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(torch.randn(2, 6, 4, 4))
    y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32 and layer.weight.grad.any()


def test_small_maps_are_matrix_products_and_large_ones_torchs(monkeypatch):
    called = []
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda self, x: called.append(x.shape[-1]))
    for side in (2, 4, 8, 16):
        fast_form(nn.Conv2d(1, 1, 3, stride=2, padding=1))(torch.zeros(1, 1, side, side))
    assert called == [16]
    assert SMALL_MAP == 4 * 4


def test_overlapping_is_the_adjoint_of_taking_patches():
    x, patches = torch.randn(2, 6, 4, 3, dtype=torch.float64), torch.randn(2, 3, 2, 3, 3, 3, dtype=torch.float64)
    torch.testing.assert_close((patches_of(x) * patches).sum(), (x * overlap(patches)).sum())


def test_a_bias_that_batch_norm_takes_away_is_not_trained():
    network = build_network(32, (4, 8), 4)
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    first, last = network.encoder.stages[0][0].bias, network.decoder.to_image[0].bias
    before = network.encoder(x)[0]
    assert not first.requires_grad
    assert last.requires_grad
    with torch.no_grad():
        first += 3
    torch.testing.assert_close(network.encoder(x)[0], before)


def test_a_network_is_plain_until_it_is_given_fast_convolutions_and_computes_the_same():
    network = build_network(32, (4, 8), 4).eval()
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    before, names, parameters = network.encode(x)[0], list(network.state_dict()), list(network.parameters())
    recon = network.decode(before)
    kinds = (HalvingConv, DoublingConv, ToImageConv)
    assert not any(isinstance(layer, kinds) for layer in network.modules())
    use_fast_convolutions(network)
    assert sum(isinstance(layer, kinds) for layer in network.modules()) == 5
    assert list(network.state_dict()) == names
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    torch.testing.assert_close(network.encode(x)[0], before)
    torch.testing.assert_close(network.decode(before), recon)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 8, 3, padding=1),
        nn.Conv2d(4, 4, 5, stride=2, padding=2),
        nn.Conv2d(4, 4, 3, stride=2),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2),
        nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1),
        nn.Linear(4, 4),
    ],
)
def test_other_layers_stay_as_they_are(layer):
    assert fast_form(layer) is None
