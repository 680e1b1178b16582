"""Whether a run can resume from a checkpoint, and with these settings."""

import torch

from vae_simpsons.checkpoint import EPOCH_SUMS, NETWORK, OPTIMIZER, STATE, Checkpoint, check_tensors
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Settings, to_flat
from vae_simpsons.training.stages import Stage

# What may differ when a run is resumed. Everything else decides what it computes, and must be as it was.
MAY_CHANGE = ("out", "data.path", "data.cache_dir", "data.gpu_share", "trainer.")


def check_resume(settings: Settings, resume: Checkpoint) -> None:
    """Refuses settings that would turn a resumed run into another one.

    Raises:
        VAEError: naming what differs; the run has all its epochs already; an exported model.
    """
    if resume.position is None:
        raise VAEError(
            f"path: {resume.path} is an exported model, without the optimizer's state. Give the last.ckpt of a run."
        )
    before, now = to_flat(resume.settings), to_flat(settings)
    differing = [key for key in now if now[key] != before[key] and not key.startswith(MAY_CHANGE)]
    if differing:
        key = differing[0]
        others = f" ({', '.join(differing[1:])} too)" if differing[1:] else ""
        raise VAEError(
            f"{key}: {now[key]} here, {before[key]} in {resume.path}{others}. A resumed run keeps its settings: "
            "leave --config out to take them from the checkpoint, or start a new run."
        )
    if resume.epochs >= settings.trainer.max_epochs:
        raise VAEError(
            f"trainer.max_epochs: {settings.trainer.max_epochs}, and {resume.path} has {resume.epochs} epochs already. "
            f"Give more, say --trainer.max_epochs {resume.epochs + 10}."
        )


def check_processes(resume: Checkpoint, processes: int) -> None:
    """Refuses to continue an epoch that was shared among another number of processes.

    Raises:
        VAEError: with that number.
    """
    position = resume.position
    if position and position.epoch_steps and position.processes != processes:
        raise VAEError(
            f"trainer.devices: {processes} processes, but the epoch that {resume.path} was saved in was shared among "
            f"{position.processes}. Resume with as many; at the end of an epoch the number may change."
        )


def check_epoch_steps(resume: Checkpoint, steps: int) -> None:
    """Refuses a position behind the end of its epoch, which has `steps`.

    Raises:
        VAEError: with both numbers.
    """
    if resume.position and resume.position.epoch_steps > steps:
        raise VAEError(
            f"path: {resume.path} is damaged: it is at step {resume.position.epoch_steps:,} of an epoch of {steps:,}. "
            "Copy it again, or use another checkpoint of the run."
        )


def check_resumable(resume: Checkpoint, stage: Stage) -> None:
    """Refuses a checkpoint that lacks something of what training resumes from, or has it in another form.

    Raises:
        VAEError: naming the first such thing.
    """
    position = resume.position
    assert position is not None, "check_resume has seen to it"
    if position.stage != stage.name:
        raise VAEError(f"path: {resume.path} was saved in an unknown stage, {position.stage!r:.40}. Give another one.")
    state = resume.part(OPTIMIZER)
    one = torch.empty((), device="meta")
    wanted = {NETWORK + name: tensor for name, tensor in stage.network.state_dict().items()}
    wanted[EPOCH_SUMS] = torch.empty(position.processes, len(stage.step_figures) + 1, device="meta")
    for name, weight in stage.network.named_parameters():
        if any(f"{name}.{key}" in state for key in STATE):
            wanted |= {f"{OPTIMIZER}{name}.{key}": one if key == "step" else weight for key in STATE}
    check_tensors(resume.tensors, wanted, resume.path)
