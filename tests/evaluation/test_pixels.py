"""Errors, similarities and sharpness against torchmetrics and closed forms."""

import math

import pytest
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import pixels
from vae_simpsons.evaluation.blocks import in_blocks


def pair(height: int, width: int, channels: int = 3, noise: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    """Four smooth images in [-1, 1] and noisy copies of them."""
    source = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, channels, 8, 8, generator=source, dtype=torch.float64) * 2 - 1
    x = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (x + noise * torch.randn(x.shape, generator=source, dtype=torch.float64)).clamp(-1, 1), x


@pytest.mark.parametrize(("height", "width", "channels"), [(64, 64, 3), (32, 48, 1), (17, 12, 3)])
def test_ssim_is_that_of_torchmetrics(height, width, channels):
    recon, x = pair(height, width, channels)
    theirs = structural_similarity_index_measure(recon, x, data_range=2.0, reduction="none")
    torch.testing.assert_close(pixels.ssim(recon, x), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "count"), [(11, 1), (21, 1), (22, 2), (32, 2), (64, 3), (128, 4), (176, 5), (512, 5)])
def test_as_many_scales_as_fit(size, count):
    assert pixels.scales(size, size + 7) == count


@pytest.mark.parametrize("size", [32, 64, 128])
def test_ms_ssim_is_that_of_torchmetrics_with_the_weights_renormalised(size):
    recon, x = pair(size, size)
    weights = pixels.SCALE_WEIGHTS[: pixels.scales(size, size)]
    betas = tuple(w / sum(weights) for w in weights)
    theirs = multiscale_structural_similarity_index_measure(recon, x, data_range=2.0, betas=betas, reduction="none")
    torch.testing.assert_close(pixels.ms_ssim(recon, x), theirs, rtol=0, atol=1e-6)


def test_anti_correlated_images_count_as_zero_not_as_nan():
    _, x = pair(64, 64)
    x = x - x.mean((2, 3), keepdim=True)
    assert (pixels.ms_ssim(-x, x) == 0).all()
    torch.testing.assert_close(pixels.ms_ssim(x, x), torch.ones(4, dtype=torch.float64))


def test_errors_and_psnr_are_an_images_own():
    recon, x = pair(20, 24)
    mse = pixels.squared_errors(recon, x)
    for i in range(4):
        assert mse[i].item() == pytest.approx(torch.mean((recon[i] - x[i]) ** 2).item(), rel=1e-12)
        theirs = peak_signal_noise_ratio(recon[i], x[i], data_range=2.0)
        assert pixels.psnr(mse)[i].item() == pytest.approx(theirs.item(), abs=1e-5)
    grey_levels_off = 10 / 127.5  # the same on 8 bits: 20 log10(255 / 10)
    assert pixels.psnr(torch.tensor([grey_levels_off**2])).item() == pytest.approx(20 * math.log10(25.5), abs=1e-5)


def test_small_images_are_refused_by_name_and_other_shapes_are_a_bug():
    recon, x = pair(10, 64)
    with pytest.raises(VAEError, match="SSIM: 10 pixels of height and width are too few; it needs 11"):
        pixels.ssim(recon, x)
    with pytest.raises(VAEError, match="MS-SSIM"):
        pixels.ms_ssim(recon, x)
    with pytest.raises(ValueError, match="differ in shape"):
        pixels.squared_errors(recon[:, :1], x)


def test_the_laplacian_of_white_noise_has_twenty_times_its_variance():
    source = torch.Generator().manual_seed(0)
    sigma = 0.1
    noise = sigma * torch.randn(8, 1, 256, 256, generator=source)
    expected = 20 * (sigma * 127.5) ** 2  # 4^2 + 4 * 1^2
    torch.testing.assert_close(
        pixels.laplacian_variance(noise), torch.full((8,), expected).double(), rtol=0.02, atol=0.0
    )
    ramp = torch.linspace(-1, 1, 32, dtype=torch.float64).expand(1, 3, 32, 32)
    assert pixels.laplacian_variance(ramp).item() < 1e-18


@pytest.mark.parametrize("slope", [0.0, -1.0, -2.0, -3.0])
def test_the_slope_of_noise_with_a_known_spectrum(slope):
    source = torch.Generator().manual_seed(0)
    size = 128
    f = torch.fft.fftfreq(size, d=1 / size)
    radius = torch.hypot(f[:, None], f[None]).clamp_min(1.0)
    white = torch.fft.fft2(torch.randn(16, 1, size, size, generator=source))
    x = torch.fft.ifft2(white * radius ** (slope / 2)).real
    assert pixels.spectrum_slope(0.2 * x / x.std()).mean().item() == pytest.approx(slope, abs=0.12)


def test_blur_lowers_sharpness_and_slope_and_one_colour_has_no_slope():
    _, x = pair(64, 64)
    sharp = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    blurred = torch.nn.functional.avg_pool2d(sharp, 3, 1, 1)
    assert (pixels.laplacian_variance(blurred) < pixels.laplacian_variance(sharp)).all()
    assert (pixels.spectrum_slope(blurred) < pixels.spectrum_slope(sharp)).all()
    colours = torch.tensor([0.0, 0.3, -1.0]).view(3, 1, 1, 1).expand(3, 3, 32, 32)
    colours = colours + 1e-7 * torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    assert pixels.spectrum_slope(colours).isnan().all()


def test_borders_that_do_not_meet_are_no_edge():
    """The left and right of a ramp differ, which would be an edge, of slope -2, but for the window."""
    ramp = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    assert pixels.spectrum_slope(ramp).item() < -4


def test_grey_is_luma():
    white, red = torch.ones(1, 3, 2, 2), torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1)
    assert pixels.grey(white).unique().item() == pytest.approx(255)
    assert pixels.grey(red).item() == pytest.approx(0.299 * 255)


def test_an_images_values_do_not_depend_on_its_batch():
    recon, x = (image.repeat(20, 1, 1, 1).float() for image in pair(32, 32))
    for figure in (pixels.ssim, pixels.ms_ssim, pixels.squared_errors):
        (whole,) = in_blocks(figure, recon, x)
        parts = [in_blocks(figure, *part)[0] for part in zip(recon.split(7), x.split(7), strict=True)]
        assert torch.equal(whole, torch.cat(parts))
    for figure in (pixels.laplacian_variance, pixels.spectrum_slope):
        (whole,) = in_blocks(figure, x)
        assert torch.equal(whole, torch.cat([in_blocks(figure, part)[0] for part in x.split(7)]))
