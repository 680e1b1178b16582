"""Whether a run can resume from a checkpoint, and with these settings."""

from collections.abc import Sequence

import torch

from vae_simpsons.checkpoint import EPOCH_SUMS, NETWORK, OPTIMIZER, STATE, Checkpoint, check_tensors
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Settings, to_flat
from vae_simpsons.training.stages import Stage

# What may differ when a run is resumed. Everything else decides what it computes, and must be as it was.
MAY_CHANGE = ("out", "data.path", "data.cache_dir", "data.gpu_share", "trainer.")


def check_resume(settings: Settings, resume: Checkpoint) -> None:
    """Refuses an exported model, settings that would make another run of it, and a run that is done."""
    if resume.position is None:
        raise VAEError(
            f"path: {resume.path} is an exported model, without the optimizer's state. Give the last.ckpt of a run."
        )
    before, now = to_flat(resume.settings), to_flat(settings)
    differing = [key for key in now if now[key] != before[key] and not key.startswith(MAY_CHANGE)]
    if differing:
        key, *others = differing
        too = f" ({', '.join(others)} too)" if others else ""
        raise VAEError(
            f"{key}: {now[key]} here, {before[key]} in {resume.path}{too}. A resumed run keeps its settings: "
            "leave --config out to take them from the checkpoint, or start a new run."
        )
    if resume.epochs >= settings.trainer.max_epochs:
        raise VAEError(
            f"trainer.max_epochs: {settings.trainer.max_epochs}, and {resume.path} has {resume.epochs} epochs already. "
            f"Give more, say --trainer.max_epochs {resume.epochs + 10}."
        )


def check_position(resume: Checkpoint, processes: int, steps: int) -> None:
    """Refuses an epoch that was shared among another number of `processes`, or is behind its end, after `steps`."""
    position = resume.position
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


def check_resumable(resume: Checkpoint, stages: Sequence[Stage]) -> int:
    """Refuses a checkpoint that its stage cannot resume from; returns the number of that stage in `stages`."""
    position = resume.position
    stage = next((stage for stage in stages if stage.name == position.stage), None)
    if stage is None:
        raise VAEError(f"path: {resume.path} was saved in an unknown stage, {position.stage!r:.40}. Give another one.")
    state = resume.part(OPTIMIZER)
    one = torch.empty((), device="meta")
    wanted = {NETWORK + name: tensor for name, tensor in stage.network.state_dict().items()}
    wanted[EPOCH_SUMS] = torch.empty(position.processes, len(stage.step_figures) + 1, device="meta")
    for name, weight in stage.network.named_parameters():
        if any(f"{name}.{key}" in state for key in STATE):
            wanted |= {f"{OPTIMIZER}{name}.{key}": one if key == "step" else weight for key in STATE}
    check_tensors(resume.tensors, wanted, resume.path)
    return stage.number
