"""The figures of a validation, added up image by image on the device and read once at its end."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_simpsons import objective

ACTIVE_VARIANCE = 0.01  # a latent unit is active where Var_x(E[z|x]) >= 0.01 (Burda et al., arXiv 1509.00519, Sec. 5.2)


@dataclass(frozen=True)
class ValidationMeans:
    """What a validation found, over all of its images.

    Attributes:
        mse: squared error, mean over images, channels and pixels.
        kl_per_dimension: nats of each latent dimension, float64 (D,), D the number of values in a latent.
        active_units: latent dimensions whose posterior mean varies from image to image.
        varied: how much the reconstructions vary from image to image, as a share of the images' own variance;
            nan where these do not, as one image.
    """

    mse: float
    kl_per_dimension: Tensor
    active_units: int
    varied: float


class ValidationSums:
    """Adds up what a validation needs; a latent is flattened to its D values."""

    def __init__(self, latent_values: int, device: torch.device) -> None:
        self.images = torch.zeros(1, device=device)
        self.squared_error = torch.zeros(1, device=device)  # of each image's mean
        self.variances = torch.zeros(2, device=device)  # of reconstructions and of images, over a batch
        self.mu = torch.zeros(latent_values, device=device)
        self.mu_squared = torch.zeros(latent_values, device=device)
        self.kl = torch.zeros(latent_values, device=device)

    def add(self, x: Tensor, recon: Tensor, mu: Tensor, log_var: Tensor | None) -> None:
        """Adds a batch: x and recon (B, C, H, W), mu and log_var (B, *latent)."""
        count = len(x)
        self.images += count
        self.squared_error += objective.mean_squared_error(recon, x) * count
        self.variances += (
            torch.stack([recon.float().var(0, correction=0).mean(), x.var(0, correction=0).mean()]) * count
        )
        self.mu += mu.flatten(1).sum(0)
        self.mu_squared += mu.flatten(1).square().sum(0)
        if log_var is not None:
            self.kl += objective.kl_per_dimension(mu, log_var).flatten(1).sum(0)

    def means(self, add_up: Callable[[Tensor], Tensor] = lambda sums: sums) -> ValidationMeans:
        """Returns the means over every image.

        Args:
            add_up: adds a tensor up over the processes.
        """
        parts = [self.images, self.squared_error, self.variances, self.mu, self.mu_squared, self.kl]
        total = add_up(torch.cat(parts)).double().cpu()
        images, squared_error, variances, mu, mu_squared, kl = total.split([len(p) for p in parts])
        variance = mu_squared / images - (mu / images).square()  # Var_x(E[z|x])
        recon_variance, image_variance = variances.tolist()
        return ValidationMeans(
            mse=float(squared_error / images),
            kl_per_dimension=kl / images,
            active_units=int((variance >= ACTIVE_VARIANCE).sum()),
            varied=recon_variance / image_variance if image_variance > 1e-12 else math.nan,
        )
