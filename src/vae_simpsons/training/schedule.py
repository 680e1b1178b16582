"""The learning rate and the weight of the KL term, as functions of the step alone."""

import math

from vae_simpsons.settings import Optimizer


def learning_rate(chosen: Optimizer, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Returns the learning rate of `step`, counted from 0 over the whole stage, of `epochs` epochs.

    exponential: lr * lr_decay^epoch; cosine: half a cosine from lr to 0 over what is left after warm-up
    (Loshchilov & Hutter, SGDR, arXiv 1608.03983, Eq. 5); each grown linearly over the first warmup_steps.
    """
    warmup = chosen.warmup_steps
    if chosen.schedule == "cosine":
        return chosen.lr * cosine_share(step, warmup, steps_per_epoch * epochs)
    decayed = chosen.lr_decay ** (step // steps_per_epoch) if chosen.schedule == "exponential" else 1.0
    return chosen.lr * (warmup_share(step, warmup) * decayed)


def warmup_share(step: int, warmup: int) -> float:
    """Returns the share of the highest rate that `step` has in, and after, `warmup` steps."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def cosine_share(step: int, warmup: int, total: int) -> float:
    """Returns the share of the highest rate that `step` of `total` has: warm-up, then half a cosine down to 0."""
    if step < warmup:
        return warmup_share(step, warmup)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def kl_share(warmup_epochs: float, step: int, steps_per_epoch: int) -> float:
    """Returns the share of the KL term's weight at `step`: from 0, linearly, to 1 after `warmup_epochs`."""
    warmup = warmup_epochs * steps_per_epoch
    return min(1.0, step / warmup) if warmup else 1.0
