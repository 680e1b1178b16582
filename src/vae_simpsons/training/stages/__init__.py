"""What a run trains, one stage after the other: each declares its network, its loss and its figures."""

from vae_simpsons.settings import Settings
from vae_simpsons.training.stages.autoencoder import AutoencoderStage
from vae_simpsons.training.stages.base import Stage


def build_stages(settings: Settings) -> list[Stage]:
    """Returns the stages of a run, in order."""
    return [AutoencoderStage(settings)]
