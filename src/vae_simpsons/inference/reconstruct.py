"""Pictures beside their reconstructions: figures of each, grids, and maps of where the error is."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vae_simpsons import objective
from vae_simpsons.data.pictures import Pictures
from vae_simpsons.evaluation.blocks import in_blocks
from vae_simpsons.evaluation.pixels import TAPS, psnr, squared_errors, ssim
from vae_simpsons.images import denormalise, interleave_rows, normalise
from vae_simpsons.inference.blocks import block_size, map_blocks
from vae_simpsons.inference.latents import decode, encode, reconstruct
from vae_simpsons.models import Autoencoder
from vae_simpsons.progress import Progress

NOISE_SEED = 0  # of the one noise that every image's elbo is computed with
BINS = 4000  # of the roots of squared errors, 0 to 2
SCALE_SHARE = 0.99  # of all pixels have at most the error at the top of the colour scale
DEFINITIONS = {
    "mse": "squared error of the reconstruction from mu, pixels in [-1, 1], mean over an image's values",
    "psnr": "10 log10(2^2 / mse), dB",
    "ssim": "structural similarity, Gaussian window of 11 pixels (sigma 1.5), range 2",
    "elbo": "evidence lower bound, nats, at the implied sigma; one z an image, drawn with the same noise for all",
}
# Black, violet, red, orange, pale yellow: as bright as the error is large, and told apart without colour vision too.
COLOURS = ((0, 0, 0), (80, 18, 123), (183, 55, 84), (249, 142, 9), (252, 255, 164))


class Scores(NamedTuple):
    """What was measured of N pictures.

    Attributes:
        figures: float64 (N,) each, by the names in DEFINITIONS; no ssim of tiny images, no elbo of an autoencoder.
        error_scale: the squared error, mean over channels, that SCALE_SHARE of the pixels of all pictures are within.
    """

    figures: dict[str, Tensor]
    error_scale: float

    def worst_first(self) -> list[int]:
        """Returns the numbers of the pictures, largest squared error first."""
        return self.figures["mse"].argsort(descending=True, stable=True).tolist()


def score_pictures(network: Autoencoder, pictures: Pictures, sigma: float, progress: Progress) -> Scores:
    """Returns the figures of every picture, computed block by block.

    Args:
        network: in eval mode.
        sigma: the noise of a pixel that the elbo assumes.

    Raises:
        VAEError: a picture cannot be read.
    """
    size, count, values = block_size(network), len(pictures), math.prod(network.image_shape)
    eps = torch.randn(network.latent_shape, generator=torch.Generator().manual_seed(NOISE_SEED))
    report, done = progress("reconstructing", count), 0
    found: dict[str, Tensor] = {}  # filled in place: small tensors that stay would keep the memory around them apart
    histogram = torch.zeros(BINS, dtype=torch.float64)

    def score(pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        x = normalise(pixels)
        mu, log_var = encode(network, x)
        recon = decode(network, mu)
        figures = _compare(recon, x)
        if log_var is not None:
            drawn = decode(network, mu + eps * torch.exp(0.5 * log_var))
            (mse,) = in_blocks(squared_errors, drawn, x)
            kl = objective.kl_divergence(mu.double(), log_var.double())
            figures["elbo"] = objective.elbo(mse, kl, sigma, values)
        return figures, pixel_errors(recon, x).sqrt_().histc(BINS, 0, 2).double()

    for figures, roots in map_blocks(network, score, pictures.blocks(size), -(-count // size)):
        number = len(figures["mse"])
        for name, column in figures.items():
            found.setdefault(name, torch.empty(count, dtype=torch.float64))[done : done + number] = column
        histogram += roots
        done += number
        report(done)
    below = histogram.cumsum(0) / histogram.sum()
    top = int((below < SCALE_SHARE).sum()) + 1  # the bin's upper edge
    return Scores(found, (2 * top / BINS) ** 2)


def compare_rows(network: Autoencoder, pictures: Pictures, numbers: Sequence[int], columns: int) -> Iterator[Tensor]:
    """Yields rows of pictures, a row of their reconstructions from mu below each, in blocks, uint8 (n, C, H, W)."""
    for pixels in _rows(network, pictures, numbers, columns):
        yield interleave_rows(pixels, denormalise(reconstruct(network, normalise(pixels))), columns)


def heat_rows(
    network: Autoencoder, pictures: Pictures, numbers: Sequence[int], columns: int, error_scale: float
) -> Iterator[Tensor]:
    """Yields rows of pictures, a row of their squared errors as colours below each, uint8 (n, 3, H, W).

    Args:
        error_scale: the error that has the brightest colour.
    """
    for pixels in _rows(network, pictures, numbers, columns):
        x = normalise(pixels)
        errors = pixel_errors(reconstruct(network, x), x)
        yield interleave_rows(pixels.expand(-1, 3, -1, -1), colour_map(errors / error_scale), columns)


def pixel_errors(recon: Tensor, x: Tensor) -> Tensor:
    """Returns the squared error of each pixel, mean over its channels, (n, H, W), of images (n, C, H, W)."""
    return (recon - x).square_().mean(1)


def colour_map(values: Tensor) -> Tensor:
    """Returns values (n, H, W) as colours, uint8 (n, 3, H, W): 0 black, 1 and more pale yellow, linear in between."""
    colours = torch.tensor(COLOURS, dtype=torch.float32)
    place = values.clamp(0, 1) * (len(COLOURS) - 1)
    lower = place.long().clamp_max(len(COLOURS) - 2)
    share = (place - lower)[..., None]
    mixed = colours[lower] * (1 - share) + colours[lower + 1] * share  # (n, H, W, 3)
    return mixed.round_().to(torch.uint8).permute(0, 3, 1, 2)


def _compare(recon: Tensor, x: Tensor) -> dict[str, Tensor]:
    def figures(recon: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        mse = squared_errors(recon, x)
        return (mse, psnr(mse), ssim(recon, x)) if min(x.shape[-2:]) >= TAPS else (mse, psnr(mse))

    return dict(zip(("mse", "psnr", "ssim"), in_blocks(figures, recon, x), strict=False))


def _rows(network: Autoencoder, pictures: Pictures, numbers: Sequence[int], columns: int) -> Iterator[Tensor]:
    size = max(1, block_size(network) // columns) * columns
    for start in range(0, len(numbers), size):
        yield pictures.take(numbers[start : start + size])
