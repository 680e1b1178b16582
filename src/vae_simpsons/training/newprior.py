"""Another prior for a trained model, in a run folder of its own; the autoencoder stays as it is.

To training, the new run is one whose autoencoder is done: a flow is its second stage, Gaussians are fitted at its end.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vae_simpsons.checkpoint import (
    AVERAGE,
    EPOCH_SUMS,
    NETWORK,
    Checkpoint,
    Position,
    read_checkpoint,
    write_checkpoint,
)
from vae_simpsons.data.dataset import load_dataset
from vae_simpsons.errors import VAEError, writing
from vae_simpsons.loading import in_full_precision, load_network
from vae_simpsons.models.priors import MIN_IMAGES
from vae_simpsons.paths import for_shell, quoted
from vae_simpsons.progress import progress_bar
from vae_simpsons.settings import Settings, to_flat
from vae_simpsons.training.fitting import fit_gaussians
from vae_simpsons.training.lightning import is_first_process
from vae_simpsons.training.resuming import autoencoder_of, is_done
from vae_simpsons.training.run import train_stages
from vae_simpsons.training.runfolder import Run, RunFolder, create_folder
from vae_simpsons.training.stages import AutoencoderStage, PriorStage, build_stage

TIME = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?"  # of a run folder that its config names


def check_finished(model: Checkpoint) -> None:
    """Refuses a plain autoencoder, and one that a run has not finished training.

    The best.ckpt of a finished run counts as finished, whichever epoch it is of.
    """
    if not model.settings.model.variational:
        raise VAEError(
            f"path: {model.path} is a plain autoencoder (model.variational: false), which is not drawn from. "
            "Give a model that was trained with model.variational true."
        )
    position, last = model.position, RunFolder(model.path.parent).last
    if position is None or position.stage != AutoencoderStage.name or is_done(model, model.settings):
        return
    if model.path.name == "best.ckpt" and not position.epoch_steps and last.is_file():
        reached = read_checkpoint(last)
        if reached.position and (reached.position.stage != AutoencoderStage.name or is_done(reached, reached.settings)):
            return
    raise VAEError(
        f"path: {model.path} has {position.epochs} of {model.settings.trainer.max_epochs} epochs. Finish it with "
        f"vae train --resume {for_shell(model.path)}, or take it as it is with vae export."
    )


def settings_with(model: Checkpoint, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of the new run, by dotted name: those of `model` with those `given`.

    Raises:
        VAEError: an export, which does not name its pictures, needs them.
    """
    kept = to_flat(model.settings) | {"out": None, "trainer.max_epochs": max(1, model.epochs)}
    settings = {**kept, **given}
    if model.position is None and "data.path" not in given and settings["prior.kind"] != "normal":
        raise VAEError("data.path: an exported model does not say where its pictures are. Give --data.path PATH.")
    return settings


def name_of(model: Checkpoint, kind: str) -> str:
    """Returns what runs with a prior of this kind are called: toons-flow, of runs/toons/<time>/last.ckpt."""
    folder = model.path.resolve().parent
    named = folder.parent if re.fullmatch(TIME, folder.name) else folder
    return f"{named.name}-{kind}"


def fit_prior(model: Checkpoint, settings: Settings, folder: RunFolder, command: Sequence[str]) -> None:
    """Makes `folder` a run with the autoencoder of `model` and the prior that `settings` want.

    Which images train is what the list beside `model` says, or else drawn as its run did. `command` is how the user
    started this.
    """
    begun = without_prior(model, settings, folder)
    load_network(replace(begun, path=model.path))  # or refuses weights that do not fit, before anything is written
    split = RunFolder(model.path.parent).split
    manifest = split if split.is_file() else None
    if settings.prior.kind == "flow":
        train_stages(Run(settings, folder, command, trained=autoencoder_of(begun)), [PriorStage.name], manifest)
    elif is_first_process():  # no stage, so one process's work
        fit_at_once(Run(settings, folder, command), begun, manifest)
    if is_first_process() and settings.prior.labels and settings.prior.kind != "normal":
        print(describe_classes(folder.last))


def fit_at_once(run: Run, begun: Checkpoint, manifest: Path | None) -> None:
    """Makes the run's folder where no stage is trained: Gaussians are fitted, or nothing is."""
    folder, dataset = run.folder, None
    if run.settings.prior.kind == "gaussian":
        dataset = load_dataset(run.settings, 1, progress_bar, manifest)
    with writing("out", folder.path, "folder"):
        folder.path.mkdir(parents=True, exist_ok=True)
        if manifest:
            shutil.copyfile(manifest, folder.split)
        create_folder(run, dataset, "cpu", 1)
        write_checkpoint(begun)
    if dataset:
        print(fit_gaussians(folder.last, dataset, folder.pictures, progress_bar))
    print(f"next: vae sample --ckpt {for_shell(folder.last)} -n 64")


def describe_classes(path: Path) -> str:
    """Returns which classes the prior in the checkpoint at `path` was told, in words."""
    names = read_checkpoint(path).class_names
    if not names:
        return f"prior.labels: no sub-folder has the {MIN_IMAGES} training images of a class, so none is told."
    drawn = f"vae sample --ckpt {for_shell(path)} --class {quoted(names[0])}"
    return f"prior.labels: {len(names)} classes, drawn with {drawn}"


def without_prior(model: Checkpoint, settings: Settings, folder: RunFolder) -> Checkpoint:
    """Returns the last.ckpt of a run with these `settings` that has just trained its autoencoder, that of `model`."""
    weights = in_full_precision(model.weights())
    tensors = {NETWORK + name: t for name, t in (in_full_precision(model.part(NETWORK)) or weights).items()}
    if settings.optimizer.ema is not None:
        tensors |= {AVERAGE + name: tensor.clone() for name, tensor in weights.items()}  # no file shares tensors
    with torch.device("meta"):
        figures = build_stage(AutoencoderStage.name, settings, []).step_figures
    tensors[EPOCH_SUMS] = torch.zeros(1, len(figures) + 1)
    epochs, before = settings.trainer.max_epochs, model.position
    steps = before.steps if before and before.stage == AutoencoderStage.name else 0  # else unknown
    position = Position(AutoencoderStage.name, epochs, steps)
    return Checkpoint(folder.last, settings, tensors, epochs, autoencoder_of(model).figures, position)
