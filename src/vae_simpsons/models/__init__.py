"""The networks: torch alone, no files, no Lightning."""

from vae_simpsons.models.vae import ConvVAE

__all__ = ["ConvVAE"]
