"""Settings -> networks: the one place that decides which network a setting means."""

import torch

from vae_simpsons.errors import VAEError
from vae_simpsons.models.autoencoder import Autoencoder
from vae_simpsons.models.conv import Decoder, Encoder
from vae_simpsons.settings import Settings

MAX_NUMBERS = 2**31  # weights, or values in one layer; the published network has 4 million and 0.1 million


def build_autoencoder(settings: Settings) -> Autoencoder:
    """Returns the autoencoder that `settings` describe, freshly initialised; one too large to train is refused."""
    describe_autoencoder(settings)
    return _autoencoder(settings)


def describe_autoencoder(settings: Settings) -> Autoencoder:
    """Returns the same without numbers: its names, shapes and types, on torch's meta device, which takes no memory.

    More than MAX_NUMBERS weights, or values in the largest map of one image, end in a VAEError.
    """
    with torch.device("meta"):
        network = _autoencoder(settings)
    (height, width), widths, parameters = settings.data.size, settings.model.widths, network.parameter_count()
    # The decoder's last map, or a wider one before it.
    largest = max(w * (height >> stage) * (width >> stage) for stage, w in enumerate(widths))
    if max(parameters, largest) > MAX_NUMBERS:
        raise VAEError(
            f"model.widths: {list(widths)}, latent_dim {settings.model.latent_dim} and images of {height}x{width} make "
            f"{parameters:,} parameters, and {largest:,} values in one layer; {MAX_NUMBERS:,} are the most. "
            "Give smaller ones."
        )
    return network


def _autoencoder(settings: Settings) -> Autoencoder:
    data, model = settings.data, settings.model
    sizes = (data.channels, data.size, model.widths, model.latent_dim)
    encoder, decoder = Encoder(*sizes, variational=model.variational), Decoder(*sizes)
    image_shape = (data.channels, *data.size)
    return Autoencoder(encoder, decoder, image_shape, (model.latent_dim,), model.variational)
