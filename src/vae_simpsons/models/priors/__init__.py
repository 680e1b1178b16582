"""What latents are drawn from: N(0, I), Gaussians fitted to the encoded images, or a flow trained on them."""

from vae_simpsons.models.priors.base import NormalPrior, Prior
from vae_simpsons.models.priors.flow import FlowPrior, flow_loss, heun, standardise
from vae_simpsons.models.priors.gaussian import MIN_IMAGES, GaussianPrior, fit_gaussian

__all__ = [
    "MIN_IMAGES",
    "FlowPrior",
    "GaussianPrior",
    "NormalPrior",
    "Prior",
    "fit_gaussian",
    "flow_loss",
    "heun",
    "standardise",
]
