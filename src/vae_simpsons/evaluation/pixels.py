"""What is seen of an image and its reconstruction: one value an image, (N,), float64.

Images are in [-1, 1], so the range of the data is 2, which is 0 to 255 of 8 bits; reconstructions are not rounded.
Called through `blocks.in_blocks`, so that an image's last digit does not depend on how many come with it.
"""

import math

import torch
from torch import Tensor

from vae_simpsons.evaluation.figures import require

RANGE = 2.0  # of pixels in [-1, 1]
TAPS, TAP_SIGMA = 11, 1.5  # pixels: the Gaussian window of SSIM
C1, C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
ONE_COLOUR = 1e-6  # variance, grey levels squared: below it an image has one colour, and its spectrum is rounding
DEFINITIONS = {
    "mse": "squared error, pixels in [-1, 1], mean over an image's values, then over images",
    "PSNR": "10 log10(2^2 / mse) dB of each image, pixels in [-1, 1] (peak 255 on 8 bits), mean over images",
    "SSIM": "structural similarity, Gaussian window of 11 pixels (sigma 1.5), range 2, mean over images",
    "sharpness": "variance of the Laplacian (4 neighbours) of the grey image 0 to 255, mean over images",
    "spectrum slope": "slope of log power against log frequency of the grey image, mean over images; lower is blurrier",
}


def squared_errors(recon: Tensor, x: Tensor) -> Tensor:
    """Mean over channels and pixels, (N,), of recon and x, (N, C, H, W)."""
    if recon.shape != x.shape:
        raise ValueError(f"recon {tuple(recon.shape)} and x {tuple(x.shape)} differ in shape")
    return (recon.double() - x.double()).square().flatten(1).mean(1)


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (N,): 10 log10(2^2 / mse) of each image; average these, not the errors."""
    return 10 * torch.log10(RANGE**2 / mse.double())


def ssim(recon: Tensor, x: Tensor) -> Tensor:
    """Structural similarity, (N,), 1 for equal images: window of 11 pixels, mirrored borders, mean of channels.

    Args:
        recon, x: (N, C, H, W), H and W at least 11.

    Raises:
        VAEError: smaller images.

    Source: Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004, Eq. 13.
    """
    require("SSIM", min(x.shape[-2:]), TAPS, "pixels of height and width")
    luminance, contrast = _similarity(recon.double(), x.double())
    return (luminance * contrast).flatten(1).mean(1)


def similarities(recon: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """mse, SSIM and MS-SSIM, (N,) each; images that are too small for the latter two have NaN."""
    mse = squared_errors(recon, x)
    if min(x.shape[-2:]) < TAPS:
        return mse, mse * torch.nan, mse * torch.nan
    return mse, ssim(recon, x), ms_ssim(recon, x)


def scales(height: int, width: int) -> int:
    """As many halvings as leave the window room, five at most: 3 for 64 pixels, 2 for 32, 0 below 11."""
    side = min(height, width)
    return min(len(SCALE_WEIGHTS), int(math.log2(side / TAPS)) + 1) if side >= TAPS else 0


def ms_ssim(recon: Tensor, x: Tensor) -> Tensor:
    """Multi-scale structural similarity, (N,), with `scales(H, W)` scales whose weights are made to sum to 1.

    A scale on which an image and its reconstruction are anti-correlated has a negative similarity, of which there is no
    power of 0.3: it counts as 0, and so does the image.

    Raises:
        VAEError: images below 11 pixels.

    Source: Wang et al., Multi-scale Structural Similarity for Image Quality Assessment, 2003, Eq. 7.
    """
    require("MS-SSIM", min(x.shape[-2:]), TAPS, "pixels of height and width")
    weights = SCALE_WEIGHTS[: scales(*x.shape[-2:])]
    recon, x = recon.double(), x.double()
    product = torch.ones(len(x), dtype=torch.float64)
    edge = TAPS // 2
    for i, weight in enumerate(weights):
        luminance, contrast = _similarity(recon, x)
        if i == len(weights) - 1:
            similarity = (luminance * contrast).flatten(1).mean(1)
        else:
            similarity = contrast[..., edge:-edge, edge:-edge].flatten(1).mean(1)
        product = product * similarity.clamp_min(0.0) ** (weight / sum(weights))
        recon, x = (torch.nn.functional.avg_pool2d(image, 2) for image in (recon, x))
    return product


def laplacian_variance(x: Tensor) -> Tensor:
    """Sharpness, (N,): the variance of the Laplacian [[0 1 0] [1 -4 1] [0 1 0]] of the grey image, 0 to 255.

    Source: Pech-Pacheco et al., Diatom Autofocusing in Brightfield Microscopy, 2000, Sec. 3.
    """
    g = grey(x)
    inner = g[:, 1:-1, 1:-1]
    laplacian = g[:, :-2, 1:-1] + g[:, 2:, 1:-1] + g[:, 1:-1, :-2] + g[:, 1:-1, 2:] - 4 * inner
    return laplacian.flatten(1).var(1, correction=0)


def spectrum_slope(x: Tensor) -> Tensor:
    """The slope, (N,), of log power against log frequency of the grey image: near -2 for photographs, lower if blurred.

    Power is averaged over rings of one cycle a picture, from 2 cycles to the highest along the shorter side, after a
    Hann window; the slope is fitted by least squares. An image of one colour has no slope, NaN.

    Source: Field, Relations between the statistics of natural images and cortical cells, 1987, Fig. 7.
    """
    frequency, power = radial_spectrum(x)
    log_f = frequency.log()
    centred = log_f - log_f.mean()
    slope = (power.log() @ centred) / centred.square().sum()
    return torch.where(grey(x).flatten(1).var(1) > ONE_COLOUR, slope, torch.nan)


def radial_spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Frequencies (F,) in cycles a picture, and the mean power of each ring, (N, F), of x (N, C, H, W)."""
    g = grey(x)
    height, width = g.shape[-2:]
    window = torch.outer(*(torch.hann_window(n, periodic=False, dtype=torch.float64) for n in (height, width)))
    spectrum = torch.fft.fft2((g - g.mean((1, 2), keepdim=True)) * window).abs().square()  # (N, H, W)
    shorter = min(height, width)
    down, across = (torch.fft.fftfreq(n, d=1 / shorter, dtype=torch.float64) for n in (height, width))
    ring = torch.hypot(down[:, None], across[None]).round().long().flatten()  # (H W,)
    rings = torch.arange(2, shorter // 2 + 1)
    members = (ring[:, None] == rings[None]).double()  # (H W, F)
    return rings.double(), spectrum.flatten(1) @ (members / members.sum(0))


def grey(x: Tensor) -> Tensor:
    """The grey image, (N, H, W), 0 to 255 in float64, of x (N, C, H, W) in [-1, 1]; BT.601 luma of three channels."""
    x = (x.double() + 1) * 127.5
    return torch.einsum("nchw,c->nhw", x, x.new_tensor(LUMA)) if x.shape[1] == 3 else x.mean(1)


def _similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The luminance, and contrast times structure, of each pixel, (N, C, H, W) each."""
    rows, columns = (_window(n) for n in a.shape[-2:])

    def local(image: Tensor) -> Tensor:
        return rows @ image @ columns.T

    mean_a, mean_b = local(a), local(b)
    variance_a = (local(a * a) - mean_a**2).clamp_min(0.0)
    variance_b = (local(b * b) - mean_b**2).clamp_min(0.0)
    covariance = local(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance, (2 * covariance + C2) / (variance_a + variance_b + C2)


def _window(length: int) -> Tensor:
    """The Gaussian mean around each of `length` pixels as a matrix, (length, length); what lies outside is mirrored."""
    offset = torch.arange(TAPS) - TAPS // 2
    weight = torch.exp(-0.5 * (offset / TAP_SIGMA).double().square())
    source = (torch.arange(length)[:, None] + offset).abs()  # (length, TAPS)
    source = torch.where(source >= length, 2 * (length - 1) - source, source)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.scatter_add_(1, source, (weight / weight.sum()).expand(length, TAPS))
