"""Settings -> a trained model in its run folder."""

import time
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from vae_simpsons.checkpoint import Checkpoint
from vae_simpsons.data.dataset import Dataset, load_dataset
from vae_simpsons.devices import available_devices, describe_device
from vae_simpsons.errors import Interrupted, VAEError, one_line
from vae_simpsons.memory import keep_freed_buffers
from vae_simpsons.models.cpu import use_fast_convolutions
from vae_simpsons.progress import no_progress, progress_bar
from vae_simpsons.settings import Settings
from vae_simpsons.training.announce import announcement, summary
from vae_simpsons.training.datamodule import ImagesDataModule
from vae_simpsons.training.engine import Engine, build_module, choose_engine
from vae_simpsons.training.evaluating import QuickFigures
from vae_simpsons.training.health import Health
from vae_simpsons.training.lightning import cluster_plugins, quiet_lightning, set_position
from vae_simpsons.training.logger import RunLogger, quiet_tensorboard
from vae_simpsons.training.pictures import Pictures
from vae_simpsons.training.progress import EpochProgress
from vae_simpsons.training.projector import Projector
from vae_simpsons.training.resuming import check_processes, check_resumable
from vae_simpsons.training.runfolder import Run, RunFolder, create_folder
from vae_simpsons.training.saving import SaveCheckpoints
from vae_simpsons.training.stages import Stage, build_stages
from vae_simpsons.training.stopping import StopOnSignal, Stopped
from vae_simpsons.training.table import MetricsTable, read_table


def train(settings: Settings, folder: RunFolder, command: Sequence[str], resume: Checkpoint | None) -> None:
    """Trains as `settings` say, from the start or from `resume`, and leaves the results in `folder`.

    Args:
        command: how the user started this, for environment.json.

    Raises:
        VAEError: settings, data or a folder that training cannot start with; nothing has been written then.
        KeyboardInterrupt: with a line that says how to resume.
    """
    quiet_lightning()
    quiet_tensorboard()
    keep_freed_buffers()
    check_device(settings)
    pl.seed_everything(settings.seed, verbose=False)
    run = Run(settings, folder, command, resume)
    try:
        for stage in build_stages(settings):
            train_stage(run, stage)
    except KeyboardInterrupt:  # a second Ctrl-C
        raise KeyboardInterrupt(how_to_resume(folder)) from None


def train_stage(run: Run, stage: Stage) -> None:
    """Trains one stage with a Trainer of its own."""
    trainer = build_trainer(run)
    device, processes = trainer.strategy.root_device, trainer.world_size
    if run.resume:
        check_resumable(run.resume, stage)
        check_processes(run.resume, processes)
    engine = choose_engine(run.settings, device, processes)
    dataset = load_images(run, trainer)
    set_precision(run.settings, engine)
    if device.type == "cpu":
        use_fast_convolutions(stage.network)
    module = build_module(stage, run.settings, engine, run.resume).to(memory_format=torch.channels_last)
    if run.resume and run.position:
        stage.network.load_state_dict(run.resume.weights())
        set_position(trainer, run.position)
    if trainer.is_global_zero:
        create_folder(run, dataset, describe_device(device), processes)
        print(announcement(run, dataset, stage, describe_device(device), engine, processes))
    started = time.monotonic()
    first_step = run.position.epoch_steps if run.position else 0
    fit(run, trainer, module, ImagesDataModule(dataset, run.settings, engine.name == "graph", first_step))
    if trainer.is_global_zero:
        print(summary(run, stage, read_table(run.folder.metrics), time.monotonic() - started))


def load_images(run: Run, trainer: pl.Trainer) -> Dataset:
    """Returns the images of the run, with the split of the run that it resumes, if it does."""
    manifest = RunFolder(run.resume.path.parent).split if run.resume else None
    progress = progress_bar if trainer.is_global_zero else no_progress
    return load_dataset(run.settings, trainer.world_size, progress, manifest)


def fit(run: Run, trainer: pl.Trainer, module: pl.LightningModule, images: ImagesDataModule) -> None:
    """Trains, and turns what ends a run early into one line.

    Raises:
        Interrupted: a signal stopped it.
        VAEError: the last checkpoint could not be written.
        KeyboardInterrupt: a second Ctrl-C ended it at once.
    """
    last = run.folder.last
    try:
        with run.writer:
            trainer.fit(module, images)
    except Stopped as e:
        if not trainer.is_global_zero:
            raise SystemExit(128 + e.signum) from None  # the first process reports it
        saved = ", and saved" if last.exists() else ""
        if why := run.attempts.failing.get(str(last)):
            saved = f", but the last steps could not be saved: {why}"
        raise Interrupted(f"stopped by {e}{saved}. {how_to_resume(run.folder)}", 128 + e.signum) from None
    except SystemExit:  # what Lightning makes of a second Ctrl-C
        raise KeyboardInterrupt from None
    if why := run.attempts.failing.get(str(last)):
        raise VAEError(
            f"out: {last} could not be written at the end: {why}. What is there is older. {how_to_resume(run.folder)}"
        )


def how_to_resume(folder: RunFolder) -> str:
    """Returns what to type to continue an interrupted run."""
    if not folder.last.exists():
        return "Nothing had been saved yet."
    return f"Resume with: vae train --resume {folder.path}"


def build_trainer(run: Run) -> pl.Trainer:
    """Returns Lightning's Trainer as the settings say.

    Raises:
        VAEError: devices or a strategy that this machine does not have.
    """
    settings = run.settings.trainer
    try:
        return pl.Trainer(
            max_epochs=settings.max_epochs,
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            precision="32-true" if settings.precision == "tf32" else settings.precision,
            log_every_n_steps=settings.log_every_n_steps,
            deterministic=settings.deterministic,
            logger=RunLogger(run),
            callbacks=build_callbacks(run),
            plugins=cluster_plugins(),
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


def build_callbacks(run: Run) -> list[pl.Callback]:
    """Returns what happens around the steps. Lightning calls them in this order, and the order matters:

    Pictures and figures of an epoch are written before the checkpoint that says the epoch is done, so that a run killed
    in between makes them again; a run stops only once it has been saved. The projector and the quick figures come after
    the checkpoint, and the projector's files before the wait for the last writes.
    """
    health = Health()
    saving = SaveCheckpoints(run, health)
    writing = [Pictures(run), health, MetricsTable(run), Projector(run), saving]
    return [*writing, EpochProgress(), StopOnSignal(saving), QuickFigures(run)]


def check_device(settings: Settings) -> None:
    """Refuses an accelerator, a number of devices or a precision that this machine does not have.

    Raises:
        VAEError: naming what it has.
    """
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
