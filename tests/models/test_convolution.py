import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vae_simpsons.models import ConvVAE
from vae_simpsons.models.convolution import SMALL_MAP, Double, Halve, ToImage, overlap, patches_of


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
    layer = Halve(3, 5).double().to(memory_format=format)
    x = torch.randn(2, 3, side, 2 * side, dtype=torch.float64).to(memory_format=format).requires_grad_()
    ours, torchs = value_and_gradients(layer, F.conv2d, x)
    torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("side", [1, 2, 4, 8])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_doubling_is_torchs_transposed_convolution(side, format):
    layer = Double(3, 5).double().to(memory_format=format)
    x = torch.randn(2, 3, side, 2 * side, dtype=torch.float64).to(memory_format=format).requires_grad_()
    ours, torchs = value_and_gradients(layer, F.conv_transpose2d, x, output_padding=1)
    torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_an_image_is_torchs_convolution(channels, format):
    layer = ToImage(5, channels).double().to(memory_format=format)
    x = torch.randn(2, 5, 6, 4, dtype=torch.float64).to(memory_format=format).requires_grad_()
    ours, torchs = value_and_gradients(layer, F.conv2d, x, stride=1)
    torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("layer", [Halve(6, 4), Double(6, 4), ToImage(6, 3)])
def test_half_precision_stays_half(layer):
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(torch.randn(2, 6, 4, 4))
    y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32 and layer.weight.grad.any()


def test_small_maps_are_matrix_products_and_large_ones_torchs(monkeypatch):
    called = []
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda self, x: called.append(x.shape[-1]))
    for side in (2, 4, 8, 16):
        Halve(1, 1)(torch.zeros(1, 1, side, side))
    assert called == [16]
    assert SMALL_MAP == 4 * 4


def test_overlapping_is_the_adjoint_of_taking_patches():
    x, patches = torch.randn(2, 6, 4, 3, dtype=torch.float64), torch.randn(2, 3, 2, 3, 3, 3, dtype=torch.float64)
    torch.testing.assert_close((patches_of(x) * patches).sum(), (x * overlap(patches)).sum())


def test_a_bias_that_batch_norm_takes_away_is_not_trained():
    network = ConvVAE(3, 32, (4, 8), 4)
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    first, last = network.encoder.stages[0][0].bias, network.decoder.to_image[0].bias
    before = network.encoder(x)[0]
    assert not first.requires_grad
    assert last.requires_grad
    with torch.no_grad():
        first += 3
    torch.testing.assert_close(network.encoder(x)[0], before)
