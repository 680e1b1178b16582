"""The variational autoencoder: encode, draw a latent, decode, whatever the two networks are.

Source: Kingma & Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114.
"""

import math

import torch
from torch import Tensor, nn

from vae_simpsons.models.priors import NormalPrior, Prior

# exp(10) = 22,026 is finite in every precision, float16 (65,504) included, and so is a sum of a few of them;
# exp(0.5 * -20) = 4.5e-5, the smallest standard deviation, is finer than any 8-bit pixel can ask for.
LOG_VAR_RANGE = (-20.0, 10.0)
FIRST_SIGMA = 0.3  # of pixels in [-1, 1], where learning the noise begins
Shape = tuple[int, ...]


class Autoencoder(nn.Module):
    """A variational autoencoder or, with `variational=False`, a plain one, whose latent is mu itself.

    A latent is a vector (D,) or a map (D, h, w); `latent_shape` says which. (B, *latent) stands for either below.

    Args:
        encoder: (B, C, H, W) -> mu, log_var, each (B, *latent); log_var is None where `variational` is false.
        decoder: (B, *latent) -> (B, C, H, W) in [-1, 1].
        image_shape: (C, H, W).
        learned_sigma: the noise of a pixel is a weight too, `log_sigma`, ().

    Attributes:
        prior: what z is drawn from, N(0, I) unless another was fitted.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        image_shape: Shape,
        latent_shape: Shape,
        variational: bool = True,
        learned_sigma: bool = False,
    ) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.tensor(math.log(FIRST_SIGMA))) if learned_sigma else None
        self.prior: Prior = NormalPrior(latent_shape)
        self.encoder, self.decoder = encoder, decoder
        self.image_shape, self.latent_shape = image_shape, latent_shape
        self.variational = variational

    @property
    def learned_sigma(self) -> float | None:
        """The noise of a pixel, on pixels in [-1, 1], where it is a weight; None where it is not."""
        return None if self.log_sigma is None else self.log_sigma.exp().item()

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the posterior's mu and log_var, (B, *latent), of x (B, C, H, W); log_var is in LOG_VAR_RANGE."""
        mu, log_var = self.encoder(x)
        return mu.float(), None if log_var is None else log_var.float().clamp(*LOG_VAR_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """Returns the mean image (B, C, H, W), in [-1, 1], of z (B, *latent)."""
        return self.decoder(z)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns recon (B, C, H, W), mu and log_var (B, *latent) of x (B, C, H, W), through one z for each image."""
        mu, log_var = self.encode(x)
        z = mu if log_var is None else reparameterize(mu, log_var, generator)  # (B, *latent)
        return self.decode(z), mu, log_var

    def parameter_count(self) -> int:
        """Returns how many numbers training fits, the prior's apart."""
        return sum(p.numel() for name, p in self.named_parameters() if not name.startswith("prior."))


def reparameterize(mu: Tensor, log_var: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Returns z = mu + eps * exp(0.5 * log_var) with eps ~ N(0, I), of the shape of mu.

    eps comes from `generator`, on mu's device, or from the device's default one. Source: Kingma & Welling, Section 2.4.
    """
    eps = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return mu + eps * torch.exp(0.5 * log_var)
