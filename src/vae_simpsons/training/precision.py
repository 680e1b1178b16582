"""On what device and in what precision a run trains, where its settings leave that to the machine."""

from dataclasses import replace

import torch

from vae_simpsons.devices import available_devices, multiplies_bfloat16
from vae_simpsons.settings import Settings


def chosen_device(settings: Settings) -> torch.device:
    """Returns the device that `settings` train on: the best that this machine has, unless they say cpu."""
    return torch.device("cpu" if settings.trainer.accelerator == "cpu" else available_devices()[-1])


def with_precision(settings: Settings) -> Settings:
    """Returns `settings` with the precision that `auto` means on this machine."""
    if settings.trainer.precision != "auto":
        return settings
    fast = multiplies_bfloat16(chosen_device(settings))
    return replace(settings, trainer=replace(settings.trainer, precision="bf16-mixed" if fast else "32-true"))
