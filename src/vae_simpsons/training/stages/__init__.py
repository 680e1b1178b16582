"""What a run trains, one stage after the other: each declares its network, its loss and its figures."""

from collections.abc import Sequence

import torch

from vae_simpsons.checkpoint import Checkpoint
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.models.priors import MIN_IMAGES
from vae_simpsons.settings import Settings
from vae_simpsons.training.stages.autoencoder import AutoencoderStage
from vae_simpsons.training.stages.base import Stage
from vae_simpsons.training.stages.prior import PriorStage

__all__ = ["AutoencoderStage", "PriorStage", "Stage", "build_stage", "stage_epochs", "stage_names", "told_by"]


def stage_names(settings: Settings) -> list[str]:
    """Returns the names of the stages of a run, in order."""
    return [AutoencoderStage.name] + ([PriorStage.name] if settings.prior.kind == "flow" else [])


def stage_epochs(settings: Settings, name: str) -> int:
    """Returns how many epochs the stage `name` has."""
    return settings.trainer.max_epochs if name == AutoencoderStage.name else settings.prior.epochs


def build_stage(name: str, settings: Settings, class_names: Sequence[str] = ()) -> Stage:
    """Returns the stage `name`, its weights freshly drawn by the run's seed.

    Args:
        class_names: those that the prior is told.
    """
    first = name == AutoencoderStage.name
    number = AutoencoderStage.number if first else PriorStage.number
    torch.manual_seed((settings.seed + number) % 2**32)
    return AutoencoderStage(settings) if first else PriorStage(settings, class_names)


def told_by(checkpoint: Checkpoint | None, settings: Settings, dataset: Dataset) -> list[str]:
    """Returns the classes that the prior is told: those of a checkpoint that has a prior, or those of the images."""
    if not settings.prior.labels:
        return []
    if checkpoint is not None and checkpoint.prior_weights():
        return checkpoint.class_names
    return dataset.large_classes(MIN_IMAGES)
