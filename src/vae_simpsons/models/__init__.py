"""The networks: torch alone, no files, no Lightning."""

from vae_simpsons.models.autoencoder import Autoencoder, reparameterize
from vae_simpsons.models.build import build_autoencoder, describe_autoencoder

__all__ = ["Autoencoder", "build_autoencoder", "describe_autoencoder", "reparameterize"]
