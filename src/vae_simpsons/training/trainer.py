"""Lightning's Trainer of a stage, what it calls around the steps, and the device and precision that it has."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from vae_simpsons.devices import available_devices
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.settings import Settings
from vae_simpsons.training.engine import Engine
from vae_simpsons.training.evaluating import QuickFigures
from vae_simpsons.training.health import Health
from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.logger import RunLogger
from vae_simpsons.training.pictures import Pictures
from vae_simpsons.training.progress import EpochProgress
from vae_simpsons.training.projector import Projector
from vae_simpsons.training.runfolder import Run
from vae_simpsons.training.saving import SaveCheckpoints
from vae_simpsons.training.stages import AutoencoderStage, stage_epochs, stage_names
from vae_simpsons.training.stopping import StopOnSignal
from vae_simpsons.training.table import MetricsTable


def build_trainer(run: Run, stage: str) -> StageTrainer:
    """Returns Lightning's Trainer of a stage as the settings say."""
    settings = run.settings.trainer
    names = ("accelerator", "devices", "num_nodes", "strategy", "log_every_n_steps", "deterministic")
    # In a SLURM job, without Lightning's own answer to signals: StopOnSignal has one.
    slurm = SLURMEnvironment(auto_requeue=False) if SLURMEnvironment.detect() else None
    precision: Any = "32-true" if settings.precision == "tf32" else settings.precision
    try:
        return StageTrainer(
            **{name: getattr(settings, name) for name in names},
            precision=precision,
            max_epochs=stage_epochs(run.settings, stage),
            logger=RunLogger(run, stage),
            callbacks=build_callbacks(run, stage),
            plugins=slurm,
            default_root_dir=run.folder.path,
            reload_dataloaders_every_n_epochs=1,  # each epoch has an order of its own
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the batches know their process
            enable_checkpointing=False,  # SaveCheckpoints does
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as e:
        raise VAEError(f"trainer: {one_line(e)} Change trainer.accelerator, devices, strategy or precision.") from None


def build_callbacks(run: Run, stage: str) -> list[pl.Callback]:
    """Returns what happens around the steps. Lightning calls them in this order, and the order matters:

    Pictures and figures of an epoch are written before the checkpoint that says the epoch is done, so that a run killed
    in between makes them again; a run stops only once it has been saved. The projector and the quick figures come after
    the checkpoint, and the projector's files before the wait for the last writes.
    """
    health = Health()
    saving = SaveCheckpoints(run, health)
    autoencoder = stage == AutoencoderStage.name
    about_latents = [Projector(run)] if autoencoder else []
    writing = [Pictures(run), health, MetricsTable(run, stage), *about_latents, saving]
    last = stage == stage_names(run.settings)[-1]
    about_model = [QuickFigures(run)] if autoencoder else []
    return [*writing, EpochProgress(), StopOnSignal(saving, last), *about_model]


def check_device(settings: Settings) -> None:
    """Refuses an accelerator, a number of devices or a precision that this machine does not have."""
    available = available_devices()
    accelerator, precision, count = settings.trainer.accelerator, settings.trainer.precision, settings.trainer.devices
    kinds = {"auto": available, "gpu": [d for d in available if d != "cpu"]}
    usable = kinds.get(accelerator, [d for d in available if d == accelerator])
    if not usable:
        raise VAEError(
            f"trainer.accelerator: {accelerator}, but this machine has {' and '.join(available)} only. "
            f"Give auto, or {available[-1]}."
        )
    devices = torch.cuda.device_count() if "cuda" in usable else 1
    if usable[-1] != "cpu" and isinstance(count, int) and count > devices:
        raise VAEError(f"trainer.devices: {count}, but this machine has {devices}. Give {devices}, or auto.")
    if usable[-1] == "cpu" and precision in ("16-mixed", "tf32"):
        raise VAEError(f"trainer.precision: {precision} needs a GPU, and this is a CPU. Give 32-true or bf16-mixed.")


def set_precision(settings: Settings, engine: Engine) -> None:
    """Tells torch's GPU libraries what 32 bits mean, and whether to search for their fastest convolutions."""
    tf32 = settings.trainer.precision == "tf32"  # torch's own default uses it for convolutions unasked
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    # Shapes never change, and the warm-up pays for it; what the search finds differs from one start to the next.
    torch.backends.cudnn.benchmark = engine.name == "graph" and not settings.trainer.deterministic
