"""Whether a run can resume from a checkpoint, and with these settings."""

from dataclasses import replace

import torch
from torch import Tensor

from vae_simpsons.checkpoint import AVERAGE, EPOCH_SUMS, NETWORK, OPTIMIZER, PRIOR, STATE, Checkpoint
from vae_simpsons.errors import VAEError
from vae_simpsons.loading import check_tensors
from vae_simpsons.settings import Settings, to_flat
from vae_simpsons.training.muon import kept_of
from vae_simpsons.training.stages import AutoencoderStage, PriorStage, build_stage, stage_epochs, stage_names

# What may differ when a run is resumed. Everything else decides what it computes, and must be as it was.
MAY_CHANGE = ("out", "data.path", "data.cache_dir", "data.gpu_share", "trainer.")


def check_resume(settings: Settings, resume: Checkpoint) -> None:
    """Refuses an exported model, settings that would make another run of it, and a run that is done."""
    position = resume.reached()
    before, now = to_flat(resume.settings), to_flat(settings)
    differing = [key for key in now if now[key] != before[key] and not key.startswith(MAY_CHANGE)]
    if differing:
        key, *others = differing
        too = f" ({', '.join(others)} too)" if others else ""
        raise VAEError(
            f"{key}: {now[key]} here, {before[key]} in {resume.path}{too}. A resumed run keeps its settings: "
            "leave --config out to take them from the checkpoint, or start a new run."
        )
    old, new = resume.settings.trainer.max_epochs, settings.trainer.max_epochs
    cosine, in_first = settings.optimizer.schedule == "cosine", position.stage == AutoencoderStage.name
    if old != new and (cosine or not in_first):
        why = "optimizer.schedule cosine ends with the last epoch" if in_first else "a prior is trained on its model"
        raise VAEError(
            f"trainer.max_epochs: {new} here, {old} in {resume.path}, and {why}. Resume with as many, or begin "
            "another run with --init."
        )
    done = is_done(resume, settings)
    if not done and position.epochs and not resume.part(OPTIMIZER):
        raise VAEError(
            f"path: {resume.path} is of vae fit-prior, without the optimizer's state of its autoencoder. Resume "
            "the run that trained it, or begin another with --init."
        )
    if done and not lacks_prior(resume, settings):
        more_may_come = in_first and not cosine
        name = "trainer.max_epochs" if in_first else "prior.epochs"
        more = f"Give more, say --{name} {position.epochs + 10}." if more_may_come else "Begin another run with --init."
        raise VAEError(
            f"{name}: {stage_epochs(settings, position.stage)}, and {resume.path} has {position.epochs} epochs "
            f"already. {more}"
        )


def is_done(resume: Checkpoint, settings: Settings) -> bool:
    """Whether the stage that a checkpoint was saved in has all its epochs."""
    position = resume.reached()
    return position.epochs >= stage_epochs(settings, position.stage)


def lacks_prior(resume: Checkpoint, settings: Settings) -> bool:
    """Whether there is still a prior to be fitted to the model of a checkpoint."""
    return settings.prior.kind != "normal" and not resume.prior_weights()


def autoencoder_of(resume: Checkpoint) -> Checkpoint:
    """Returns what a checkpoint holds of the finished autoencoder: nothing of its optimizer or of a prior."""
    tensors = {name: t for name, t in resume.tensors.items() if name.startswith((NETWORK, AVERAGE))}
    figures = {name: v for name, v in resume.figures.items() if not name.startswith(PriorStage.in_files)}
    return replace(resume, tensors=tensors, figures=figures, position=None, class_names=[])


def check_position(resume: Checkpoint, processes: int, steps: int) -> None:
    """Refuses an epoch that was shared among another number of `processes`, or is behind its end, after `steps`."""
    position = resume.reached()
    if position.epoch_steps and position.processes != processes:
        raise VAEError(
            f"trainer.devices: {processes} processes, but the epoch that {resume.path} was saved in was shared among "
            f"{position.processes}. Resume with as many; at the end of an epoch the number may change."
        )
    if position.epoch_steps > steps:
        raise VAEError(
            f"path: {resume.path} is damaged: it is at step {position.epoch_steps:,} of an epoch of {steps:,}. "
            "Copy it again, or use another checkpoint of the run."
        )


def check_resumable(resume: Checkpoint) -> None:
    """Refuses a checkpoint that its stage cannot resume from, before memory is taken for it."""
    position, settings = resume.reached(), resume.settings
    if position.stage not in stage_names(settings):
        raise VAEError(f"path: {resume.path} was saved in an unknown stage, {position.stage!r:.40}. Give another one.")
    state = resume.part(OPTIMIZER)
    with torch.device("meta"):
        stages = [build_stage(name, settings, resume.class_names) for name in stage_names(settings)]
        for stage in stages:
            stage.average_weights()
    reached = [stage.name for stage in stages].index(position.stage)
    stage = stages[reached]
    wanted: dict[str, Tensor] = {}
    for done in stages[: reached + 1]:
        wanted |= done.tensors()
    one = torch.empty((), device="meta")
    wanted[EPOCH_SUMS] = torch.empty(position.processes, len(stage.step_figures) + 1, device="meta")
    optimizer = stage.optimizer(fused=False)
    for name, weight in stage.network.named_parameters():
        if any(f"{name}.{key}" in state for key in STATE):
            kept = kept_of(optimizer, weight)
            wanted |= {f"{OPTIMIZER}{name}.{key}": one if key == "step" else weight for key in kept}
    fitted = settings.prior.kind == "gaussian"  # after training; training goes on without, and fits anew
    tensors = {name: t for name, t in resume.tensors.items() if not (fitted and name.startswith(PRIOR))}
    check_tensors(tensors, wanted, resume.path)
