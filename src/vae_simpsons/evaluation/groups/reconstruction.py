"""Reconstructions from mu against their originals, beside what the mean training image would score."""

from dataclasses import replace

from torch import Tensor

from vae_simpsons.evaluation import pixels as seen
from vae_simpsons.evaluation.blocks import in_blocks
from vae_simpsons.evaluation.figures import Figure, mean_figure, require
from vae_simpsons.evaluation.groups.subject import Subject, attempt
from vae_simpsons.images import normalise

MEAN_IMAGE = "mean training image"
SHARPNESS, SLOPE = "sharpness", "spectrum slope"


def reconstruction(subject: Subject, missing: list[str]) -> list[Figure]:
    """mse, PSNR, SSIM, MS-SSIM and sharpness of the evaluated images."""
    found = subject.reconstructed
    plain = _of_mean_image(subject)
    values = {"mse": found.mse, "PSNR": seen.psnr(found.mse), "SSIM": found.ssim, "MS-SSIM": found.ms_ssim}
    size = min(subject.network.image_shape[1:])
    scales = f"SSIM over {seen.scales(size, size)} scales, weights renormalised, negative as 0"
    said, figures = seen.DEFINITIONS | {"MS-SSIM": scales}, []
    for name, of_each in values.items():

        def measure(name: str = name, of_each: Tensor = of_each) -> list[Figure]:
            if "SSIM" in name:
                require(name, size, seen.TAPS, "pixels of height and width")
            return [mean_figure(name, of_each, said[name], plain[name].mean().item(), MEAN_IMAGE)]

        figures += attempt(missing, measure)
    figures += attempt(missing, lambda: sharpness(found.recon, subject.originals, "reconstructions"))
    return [replace(f, split=subject.split) for f in figures]


def sharpness(images: Tensor, data: Tensor, of: str) -> list[Figure]:
    """The variance of the Laplacian and the slope of the spectrum of uint8 images, beside those of the data.

    Raises:
        VAEError: images of fewer than 8 pixels, which have no spectrum to speak of.
    """
    require(SHARPNESS, min(images.shape[-2:]), 8, "pixels of height and width")
    both = {SHARPNESS: seen.laplacian_variance, SLOPE: seen.spectrum_slope}
    found = []
    for name, measure in both.items():
        of_images, of_data = (in_blocks(lambda block, m=measure: m(normalise(block)), x)[0] for x in (images, data))
        reference = of_data.double().nanmean().item()
        figure = mean_figure(f"{name} of {of}", of_images, seen.DEFINITIONS[name], reference, "the images themselves")
        found.append(figure)
    return found


def _of_mean_image(subject: Subject) -> dict[str, Tensor]:
    """What the mean training image scores as everybody's reconstruction, one value an image."""

    def look(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = normalise(pixels)
        return seen.similarities(subject.mean_image.expand_as(x), x)

    mse, ssim, ms_ssim = in_blocks(look, subject.originals, size=subject.block)
    return {"mse": mse, "PSNR": seen.psnr(mse), "SSIM": ssim, "MS-SSIM": ms_ssim}
