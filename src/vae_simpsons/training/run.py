"""Settings -> a trained model in its run folder."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
import torch

from vae_simpsons.checkpoint import Checkpoint
from vae_simpsons.data.dataset import Dataset, load_dataset, with_levels
from vae_simpsons.devices import describe_device
from vae_simpsons.errors import Interrupted, VAEError, one_line
from vae_simpsons.files import read_csv
from vae_simpsons.loading import take_weights
from vae_simpsons.memory import keep_freed_buffers
from vae_simpsons.models import check_prior_size
from vae_simpsons.models.cpu import use_fast_convolutions
from vae_simpsons.paths import for_shell
from vae_simpsons.progress import no_progress, progress_bar
from vae_simpsons.settings import Settings
from vae_simpsons.training.announce import announcement, summary
from vae_simpsons.training.datamodule import ImagesDataModule
from vae_simpsons.training.engine import build_module, choose_engine
from vae_simpsons.training.fitting import fit_gaussians
from vae_simpsons.training.lightning import StageTrainer, is_first_process, quiet_lightning, set_position
from vae_simpsons.training.logger import quiet_tensorboard
from vae_simpsons.training.precision import with_precision
from vae_simpsons.training.resuming import autoencoder_of, check_position, check_resumable, is_done
from vae_simpsons.training.runfolder import Run, RunFolder, create_folder
from vae_simpsons.training.saving import figures_of
from vae_simpsons.training.stages import AutoencoderStage, Stage, build_stage, stage_names, told_by
from vae_simpsons.training.stopping import Stopped
from vae_simpsons.training.trainer import build_trainer, check_device, set_precision


def train(
    settings: Settings,
    folder: RunFolder,
    command: Sequence[str],
    resume: Checkpoint | None = None,
    init: Checkpoint | None = None,
) -> None:
    """Trains as `settings` say, from the start or from `resume`, and leaves the results in `folder`.

    `command` is how the user started this. Settings, data or a folder that training cannot start with end in a VAEError
    before anything is written; what ends a run early says how to resume.

    Args:
        init: a model whose weights, those that fit, a new run begins with.
    """
    if resume:
        check_resumable(resume)
    run, names = next_stages(Run(settings, folder, command, resume))
    train_stages(run, names, RunFolder(resume.path.parent).split if resume else None, init)


def train_stages(run: Run, names: Sequence[str], manifest: Path | None, init: Checkpoint | None = None) -> None:
    """Trains the stages called `names`, the first from `run.resume` if there is one, and fits what comes after them.

    Args:
        manifest: which images train; None: it is drawn.
        init: as `train` takes it.
    """
    quiet_lightning()
    quiet_tensorboard()
    keep_freed_buffers()
    check_device(run.settings)
    run = replace(run, settings=with_precision(run.settings))
    try:
        dataset = None
        for name in names:
            dataset, trained = train_stage(run, name, dataset, manifest, init)
            run = Run(run.settings, run.folder, run.command, trained=trained)
        finish(run, dataset, manifest)
    except KeyboardInterrupt:  # a second Ctrl-C
        raise KeyboardInterrupt(how_to_resume(run.folder)) from None


def next_stages(run: Run) -> tuple[Run, list[str]]:
    """Returns what the next stage begins with, and the names of the stages that are still to be trained."""
    names, resume = stage_names(run.settings), run.resume
    if resume is None:
        return run, names
    names = names[names.index(resume.reached().stage) :]
    if is_done(resume, run.settings):
        return replace(run, resume=None, trained=autoencoder_of(resume)), names[1:]
    in_first = resume.reached().stage == AutoencoderStage.name
    return replace(run, trained=None if in_first else autoencoder_of(resume)), names


def train_stage(
    run: Run, name: str, dataset: Dataset | None, manifest: Path | None, init: Checkpoint | None
) -> tuple[Dataset, Checkpoint]:
    """Trains one stage with a Trainer of its own; returns the images and the model that it leaves, in memory.

    `dataset` is None where this is the first stage that this process trains.
    """
    settings, resume, position = run.settings, run.resume, run.position
    trainer = build_trainer(run, name)
    device, processes, first = trainer.strategy.root_device, trainer.world_size, trainer.is_global_zero
    engine, progress = choose_engine(settings, device, processes), progress_bar if first else no_progress
    opened = dataset or load_dataset(settings, processes, progress, manifest)
    settings = with_levels(settings, opened)
    run = replace(run, settings=settings)
    set_precision(settings, engine)
    told = told_by(resume or run.trained, settings, opened)
    check_prior_size(settings, len(told))
    stage = build_stage(name, settings, told)
    stage.start(run.trained, opened, device, processes, progress)
    if resume:
        check_position(resume, processes, len(opened.train) // (stage.batch_size * processes))
    prepare_weights(stage, device, init if resume is None else None, first)
    if first:
        create_folder(run, opened, describe_device(device), processes)
        print(announcement(run, opened, told, stage, engine, trainer, begins=dataset is None))
    module = build_module(stage, settings, engine, resume)
    if resume and position:
        stage.load(resume)
        set_position(trainer, position)
    started, first_step = time.monotonic(), position.epoch_steps if position else 0
    fit(run, trainer, module, ImagesDataModule(stage, opened, settings, engine.name == "graph", first_step))
    if first:
        print(summary(run, stage, read_csv(run.folder.table(stage.name)), time.monotonic() - started))
    # The first process's, as they are saved: BatchNorm's statistics are each process's own.
    tensors = trainer.strategy.broadcast({name: tensor.detach().cpu() for name, tensor in stage.tensors().items()})
    return opened, Checkpoint(run.folder.last, settings, tensors, trainer.current_epoch, figures_of(trainer, module))


def prepare_weights(stage: Stage, device: torch.device, init: Checkpoint | None, first: bool) -> None:
    """Gives `stage` the weights of `init`, if they are to be its first, lays them out for `device`, and averages them.

    The `first` process says which weights were taken.
    """
    if device.type == "cpu":
        use_fast_convolutions(stage.network)
    if init and stage.name == AutoencoderStage.name:
        taken = take_weights(stage.network, init)
        if first:
            print(taken)
    stage.to(memory_format=torch.channels_last)
    stage.average_weights()


def finish(run: Run, dataset: Dataset | None, manifest: Path | None) -> None:
    """Fits Gaussians to the latents, if the settings want them, in best.ckpt and in last.ckpt.

    The last is what a run resumes from, so it comes last: without a prior in it the work is not done.
    """
    if run.settings.prior.kind != "gaussian" or not is_first_process():
        return
    dataset = dataset or load_dataset(run.settings, 1, progress_bar, manifest)
    for path in (run.folder.best, run.folder.last):
        if path.exists():
            try:
                print(fit_gaussians(path, dataset, run.folder.pictures, progress_bar))
            except OSError as e:
                why = f"the Gaussians of {path} could not be written: {one_line(e.strerror or e)}"
                raise VAEError(f"out: {why}. {how_to_resume(run.folder)}") from None


def fit(run: Run, trainer: StageTrainer, module: pl.LightningModule, images: ImagesDataModule) -> None:
    """Trains, and turns what ends a run early into one line."""
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
    return f"Resume with: vae train --resume {for_shell(folder.path)}"
