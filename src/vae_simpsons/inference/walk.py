"""Straight lines and arcs between latents."""

import torch
from torch import Tensor

from vae_simpsons.errors import VAEError

PARALLEL = 1e-6  # sine of an angle below which there is no one arc: the line is taken


def interpolate(a: Tensor, b: Tensor, steps: int, spherical: bool = False) -> Tensor:
    """Returns `steps` latents from a to b, both exactly included, (steps, *latent), of latents (*latent).

    Linear: (1 - t) a + t b. Spherical: sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b with w the angle between a and
    b, whatever their shape: latents of high dimension lie near a sphere, and a line between two leaves it. Where a and
    b point the same way, or opposite ways, the line is taken.

    Source: Shoemake, Animating Rotation with Quaternion Curves, 1985, Sec. 3.3; White, Sampling Generative Networks,
    arXiv 1609.04468, Sec. 2.1.
    """
    start, end = a.double(), b.double()
    t = torch.linspace(0, 1, steps, dtype=torch.float64).reshape(-1, *[1] * a.ndim)
    weights = (1 - t, t)
    if spherical:
        unit_a, unit_b = (z.flatten() / z.norm().clamp_min(1e-300) for z in (start, end))
        # of the half chord and its complement: exact near 0 and near pi, where the arc cosine is not
        angle = 2 * torch.atan2((unit_a - unit_b).norm(), (unit_a + unit_b).norm())
        sine = torch.sin(angle)
        if sine > PARALLEL and start.norm() > 0 and end.norm() > 0:
            weights = (torch.sin((1 - t) * angle) / sine, torch.sin(t * angle) / sine)
    return (weights[0] * start + weights[1] * end).to(a.dtype)


def walk(anchors: Tensor, steps: int, spherical: bool = False, loop: bool = False) -> Tensor:
    """Returns the way through `anchors` (k, *latent) in k - 1 parts, (k - 1, steps, *latent), ends included in each.

    Args:
        loop: go back to the first anchor, in one part more.
    """
    following = torch.cat([anchors[1:], anchors[:1]]) if loop else anchors[1:]
    return torch.stack([interpolate(a, b, steps, spherical) for a, b in zip(anchors, following, strict=False)])


def check_walk(count: int, steps: int) -> None:
    """Refuses a way through `count` pictures in `steps` that would not be one.

    Raises:
        VAEError: naming `x` or `steps`: fewer than two.
    """
    if count < 2:
        raise VAEError(f"x: {count} picture is no way. Give two or more.")
    if steps < 2:
        raise VAEError(f"steps: {steps} is not accepted. Give a whole number >= 2.")


def frames(parts: Tensor, loop: bool) -> Tensor:
    """Returns the parts of a walk (p, steps, ...) as one way (n, ...), where each anchor comes once.

    Args:
        loop: leave out the last frame too: the first one follows it.
    """
    way = parts[:, :-1].flatten(0, 1)
    return way if loop else torch.cat([way, parts[-1, -1:]])
