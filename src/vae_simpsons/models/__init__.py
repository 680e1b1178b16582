"""The networks: torch alone, no files, no Lightning."""

from vae_simpsons.models.autoencoder import Autoencoder, reparameterize
from vae_simpsons.models.build import build_autoencoder, build_prior, check_prior_size, describe_autoencoder
from vae_simpsons.models.priors import Prior

__all__ = [
    "Autoencoder",
    "Prior",
    "build_autoencoder",
    "build_prior",
    "check_prior_size",
    "describe_autoencoder",
    "reparameterize",
]
