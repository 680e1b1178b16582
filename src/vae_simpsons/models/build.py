"""Settings -> networks: the one place that decides which network a setting means."""

import torch
from torch import nn

from vae_simpsons.errors import VAEError
from vae_simpsons.models.autoencoder import Autoencoder
from vae_simpsons.models.conv import Decoder, Encoder
from vae_simpsons.models.priors import FlowPrior, GaussianPrior, NormalPrior, Prior
from vae_simpsons.models.priors.mlp import MLP
from vae_simpsons.models.priors.transformer import Transformer
from vae_simpsons.models.spatial import SpatialDecoder, SpatialEncoder
from vae_simpsons.settings import Settings

MAX_NUMBERS = 2**31  # weights, or values in one layer; the published network has 4 million and 0.1 million
MAX_PRIOR = 2**28  # numbers of a prior, 1 GB; fitting one takes several times that


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
    (height, width), model, parameters = settings.data.size, settings.model, network.parameter_count()
    if model.latent == "vector":
        name, given = "model.widths", f"{list(model.widths)}, latent_dim {model.latent_dim}"
        largest = max(channels * (height >> i) * (width >> i) for i, channels in enumerate(model.widths))
    else:
        name, given = "model.width", f"{model.width}, latent_channels {model.latent_channels}, {model.blocks} blocks"
        largest = max(model.width, 4 * settings.data.channels) * height * width // model.factor
    if max(parameters, largest) > MAX_NUMBERS:
        raise VAEError(
            f"{name}: {given} and images of {height}x{width} make {parameters:,} parameters, and {largest:,} values "
            f"in one layer; {MAX_NUMBERS:,} are the most. Give smaller ones."
        )
    return network


def build_prior(settings: Settings, class_count: int) -> Prior:
    """Returns the prior that `settings` describe, not fitted yet; `class_count` is how many classes it is told."""
    shape, prior = latent_shape(settings), settings.prior
    if prior.kind == "normal":
        return NormalPrior(shape)
    if prior.kind == "gaussian":
        return GaussianPrior(shape, prior.components, class_count)
    velocity, weak = build_velocity(shape, class_count, prior.width, prior.depth, prior.dropout), None
    if prior.weak_width:
        weak = build_velocity(shape, 0, prior.weak_width, -(-prior.depth // 2))
    return FlowPrior(velocity, shape, class_count, weak, prior.guidance)


def build_velocity(shape: tuple[int, ...], class_count: int, width: int, depth: int, dropout: float = 0.0) -> nn.Module:
    """Returns a fresh velocity network: an MLP for vectors (D,), a transformer for maps (C, h, w).

    Called as (x (B, *latent), t (B,), labels int64 (B,) or None) -> (B, *latent), on standardised latents.
    """
    if len(shape) == 1:
        return MLP(*shape, class_count, width, depth, dropout)
    return Transformer(shape, class_count, width, depth, dropout)


def check_prior_size(settings: Settings, class_count: int) -> None:
    """Refuses a prior of more than MAX_PRIOR numbers; a Gaussian's are the square of a latent's."""
    chosen, shape = settings.prior, latent_shape(settings)
    with torch.device("meta"):
        count = sum(tensor.numel() for tensor in build_prior(settings, class_count).state_dict().values())
    if count > MAX_PRIOR:
        given, advice = f"prior.width: {chosen.width}, {chosen.depth} layers", "Give smaller ones."
        if chosen.kind == "gaussian":
            given = f"prior.kind: {max(chosen.components, class_count + 1)} gaussian"
            advice = "Give prior.kind flow, or a model with a smaller latent."
        latent = "x".join(map(str, shape))
        raise VAEError(f"{given} on latents of {latent}, {count:,} numbers; {MAX_PRIOR:,} are the most. {advice}")


def latent_shape(settings: Settings) -> tuple[int, ...]:
    """Returns the shape of a latent: (D,) or (C, H, W)."""
    model = settings.model
    if model.latent == "vector":
        return (model.latent_dim,)
    height, width = (side // model.factor for side in settings.data.size)
    return (model.latent_channels, height, width)


def _autoencoder(settings: Settings) -> Autoencoder:
    data, model = settings.data, settings.model
    encoder: nn.Module
    decoder: nn.Module
    if model.latent == "vector":
        sizes = (data.channels, data.size, model.widths, model.latent_dim)
        encoder, decoder = Encoder(*sizes, variational=model.variational), Decoder(*sizes)
    else:
        spatial = (data.channels, model.factor, model.width, model.blocks, model.latent_channels)
        encoder, decoder = SpatialEncoder(*spatial, variational=model.variational), SpatialDecoder(*spatial)
    learned = settings.objective.sigma == "learned" and model.variational
    image_shape = (data.channels, *data.size)
    return Autoencoder(encoder, decoder, image_shape, latent_shape(settings), model.variational, learned)
