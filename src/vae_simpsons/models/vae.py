"""The convolutional VAE: encoder, reparameterization, decoder.

Source: Kingma & Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vae_simpsons.models.decoder import Decoder
from vae_simpsons.models.encoder import Encoder

# exp(10) = 22,026 is finite in every precision, float16 (65,504) included, and so is a sum of a few of them;
# exp(0.5 * -20) = 4.5e-5, the smallest standard deviation, is finer than any 8-bit pixel can ask for.
LOG_VAR_RANGE = (-20.0, 10.0)


class ConvVAE(nn.Module):
    """A convolutional VAE, or with `variational=False` the plain autoencoder of the same shape.

    Args:
        channels: C of the images.
        image_size: their height and width; 2^len(widths) divides it.
        widths: channels of the encoder's stages; the decoder mirrors them.
        latent_dim: length of z.
        variational: without it z = mu, and there is no log_var.
    """

    def __init__(
        self, channels: int, image_size: int, widths: Sequence[int], latent_dim: int, variational: bool = True
    ) -> None:
        super().__init__()
        self.shape = (channels, image_size, image_size)
        self.latent_dim = latent_dim
        self.variational = variational
        self.encoder = Encoder(channels, image_size, widths, latent_dim, variational)
        self.decoder = Decoder(channels, image_size, widths, latent_dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The posterior's mu and log_var, (B, latent_dim), of x (B, C, H, W) in [-1, 1]; log_var in LOG_VAR_RANGE."""
        mu, log_var = self.encoder(x)
        if log_var is None:
            return mu.float(), None
        return mu.float(), log_var.float().clamp(*LOG_VAR_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """The mean image (B, C, H, W), in [-1, 1], of z (B, latent_dim)."""
        return self.decoder(z)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """recon (B, C, H, W), mu and log_var (B, latent_dim) of x (B, C, H, W), through one z drawn for each image."""
        mu, log_var = self.encode(x)
        z = mu if log_var is None else reparameterize(mu, log_var, generator)  # (B, latent_dim)
        return self.decode(z), mu, log_var

    def parameter_count(self) -> int:
        """How many numbers training fits."""
        return sum(p.numel() for p in self.parameters())


def reparameterize(mu: Tensor, log_var: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """z = mu + eps * exp(0.5 * log_var) with eps ~ N(0, I), (B, latent_dim).

    Args:
        generator: where eps comes from, on mu's device; None: torch's global generator.

    Source: Kingma & Welling, arXiv 1312.6114, Section 2.4.
    """
    eps = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
    return mu + eps * torch.exp(0.5 * log_var)
