"""Whether training can go on from a checkpoint: it is held against the state of a run that has not begun.

A file that is whole and ours may still have been changed by hand, or been written under a Lightning that keeps other
counts. Lightning finds out in the midst of restoring, and says so in a traceback.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from packaging.version import InvalidVersion, Version
from torch import Tensor

from vae_simpsons.checkpoint import Checkpoint, outline
from vae_simpsons.errors import VAEError
from vae_simpsons.training.health import Health
from vae_simpsons.training.module import VAEModule, train_figures
from vae_simpsons.training.run import quieten_lightning
from vae_simpsons.training.runfolder import RunFolder
from vae_simpsons.training.saving import KeepCheckpoints
from vae_simpsons.training.writer import Writer

OLDEST_LIGHTNING = Version("2.6")
STAGES = ("ready", "started", "processed", "completed")  # what Lightning counts of epochs, batches and steps, in turn


def check_resumable(resume: Checkpoint) -> None:
    """Refuse a checkpoint that lacks something that training goes on from, or has it in another form.

    Raises:
        VAEError: naming the first such place.
    """
    if "optimizer_states" not in resume.payload:
        raise VAEError(
            f"--resume: {resume.path} holds no optimizer state to go on from: it is a model for passing on. "
            "Give the last.ckpt of a run."
        )
    fresh = fresh_state(resume)
    found = difference(resume.payload, fresh, "checkpoint")
    found = found or _switched(resume.payload, fresh) or _lightning(resume.payload) or _epochs(resume) or _place(resume)
    if found:
        raise VAEError(
            f"--resume: {resume.path} is no state that training can go on from ({found}). "
            "Use another checkpoint of the run, or the versions that wrote it."
        )


def fresh_state(resume: Checkpoint) -> dict[str, Any]:
    """What Lightning writes of a run with the checkpoint's config, without numbers: tensors are on the meta device."""
    outline(resume.config)
    quieten_lightning()
    with torch.device("meta"):
        module = VAEModule(resume.config)
    made = module.configure_optimizers()
    adam, schedule = made["optimizer"], made["lr_scheduler"]
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=1
    )
    states = resume.payload["optimizer_states"]
    kept = states[0].get("state") if isinstance(states, list) and states and isinstance(states[0], dict) else None
    moments = {
        index: {"step": torch.zeros(()), "exp_avg": weight, "exp_avg_sq": weight}
        for index, weight in enumerate(module.network.parameters())
        if isinstance(kept, dict) and index in kept
    }
    keeping = KeepCheckpoints(RunFolder(resume.path.parent), Writer(), Health(), every_minutes=0)
    return {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": pl.__version__,
        "state_dict": module.state_dict(),
        "loops": {"fit_loop": trainer.fit_loop.state_dict()},  # the only one that fit restores
        "callbacks": {keeping.state_key: keeping.state_dict()},
        "optimizer_states": [adam.state_dict() | {"state": moments}],
        "lr_schedulers": [schedule.state_dict()],
    }


def difference(found: Any, like: Any, where: str) -> str | None:
    """The first place at which `found` is not built as `like` is, in words; None where it is, whatever its numbers.

    `found` may have keys of its own, and lack those of torch's private ones, which differ from version to version.
    """
    match like:
        case Tensor():
            same = isinstance(found, Tensor) and (found.shape, found.dtype) == (like.shape, like.dtype)
        case Mapping():
            if not isinstance(found, Mapping):
                return f"{where} is no mapping"
            for key, part in like.items():
                if key not in found and not str(key).startswith("_"):
                    return f"{where} has no {key}"
                if key in found and (said := difference(found[key], part, str(key))):
                    return said
            counts = [found[key] for key in STAGES if key in like]
            uneven = counts != sorted(counts, reverse=True) or sum(counts[:1]) - sum(counts[-1:]) > 1
            return f"{where} counts what cannot be" if uneven else None
        case str() | None | bool():
            same = isinstance(found, str) if isinstance(like, str) else found is None or isinstance(found, bool)
        case Sequence():
            if not isinstance(found, Sequence) or isinstance(found, str) or len(found) != len(like):
                return f"{where} is no list of {len(like)}"
            return next((said for pair in zip(found, like, strict=True) if (said := difference(*pair, where))), None)
        case _:
            number = isinstance(found, (int, type(like))) and not isinstance(found, bool)
            same = number and (isinstance(found, float) or 0 <= found < 2**63)
    return None if same else f"{where} is a {type(found).__name__} that cannot be taken over"


def _switched(payload: Mapping[str, Any], fresh: Mapping[str, Any]) -> str | None:
    """A switch of Adam's that is not as in any run of ours, which it would stumble over; None: they all are."""
    (found,), (like,) = (state["optimizer_states"][0]["param_groups"] for state in (payload, fresh))
    switches = [key for key, value in like.items() if value is None or isinstance(value, bool)]
    return next((f"{key} is {found[key]}" for key in switches if key != "fused" and found[key] is not like[key]), None)


def _lightning(payload: Mapping[str, Any]) -> str | None:
    """Why Lightning would not read it; None: it would."""
    written = payload["pytorch-lightning_version"]
    try:
        return f"written by Lightning {written}" if Version(written) < OLDEST_LIGHTNING else None
    except InvalidVersion:
        return "it does not say by which Lightning it was written"


def _place(resume: Checkpoint) -> str | None:
    """What is wrong with the place in an epoch that the checkpoint was taken in; None: nothing, or there is none."""
    place = resume.payload["interrupted"]
    if place is None:
        return None
    if not isinstance(place, Mapping) or not {"steps", "totals", "random"} <= place.keys():
        return "interrupted is no place in an epoch"
    steps, totals, random = place["steps"], place["totals"], place["random"]
    if type(steps) is not int or not 0 < steps <= resume.payload["global_step"]:
        return f"it counts {steps!r} steps of an epoch"
    sums = len(train_figures(resume.config)) + 1
    if not isinstance(resume.payload["callbacks"].get("MetricsTable", {}).get("epoch_s", 0.0), (int, float)):
        return "epoch_s is no number"
    fits = isinstance(totals, Tensor) and totals.ndim == 2 and totals.shape[1] == sums and totals.is_floating_point()
    fits = fits and isinstance(random, Tensor) and random.ndim == 2 and random.dtype == torch.uint8
    return None if fits and len(totals) == len(random) > 0 else "interrupted has no sums and generators' states"


def _epochs(resume: Checkpoint) -> str | None:
    """How Lightning's count of epochs differs from the checkpoint's own; None: it does not."""
    processed = resume.payload["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    return None if processed == resume.epochs else f"it counts {resume.epochs} epochs, and Lightning {processed}"
