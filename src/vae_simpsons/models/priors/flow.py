"""A flow from noise to latents: a network learns the velocity of straight paths, an ODE follows it.

On the path from noise eps ~ N(0, I) at t = 0 to a latent z at t = 1,

    x_t = (1 - t) eps + t z,        dx_t / dt = z - eps,

the velocity that the network learns by least squares is the mean over all paths through a point,

    v(x, t) = E[z - eps | x_t = x],

and a point that starts as noise and follows dx / dt = v(x, t) has the distribution of x_t at each t: in the end, of z.

Source: Lipman et al., Flow Matching for Generative Modeling, arXiv 2210.02747, Eq. 9 and Theorems 1 to 3;
Liu et al., Flow Straight and Fast (rectified flow), arXiv 2209.03003, Eq. 1 and Theorem 3.3.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vae_simpsons.models.priors.base import FlowOptions, Prior, Progress, Shape

GUIDED = (0.3, 0.9)  # the times between which guidance above 1 is used
DROP = 0.1  # share of labels that training leaves out, so that the flow knows what any class looks like


class FlowPrior(Prior):
    """Latents drawn by following a learned velocity.

    Buffers: mean and std of z, (C, 1, 1) of a map, (D,) of a vector, by which z is standardised; 0 and 1 until they are
    copied in from `standardise`.

    Args:
        velocity: (x (B, *latent), t (B,), labels int64 (B,) or None) -> (B, *latent), on standardised latents.
        weak: the same of a smaller network, which is told no classes: guidance leads away from its answer; None: from
            what `velocity` answers without a class.
        guidance: with which samples are drawn where nothing else is said.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        velocity: nn.Module,
        latent_shape: Shape,
        class_count: int = 0,
        weak: nn.Module | None = None,
        guidance: float = 1.0,
    ) -> None:
        super().__init__(latent_shape, class_count)
        self.velocity, self.weak, self.guidance = velocity, weak, guidance
        channels, *sides = latent_shape
        self.register_buffer("mean", torch.zeros(channels, *(1 for _ in sides)))
        self.register_buffer("std", torch.ones(channels, *(1 for _ in sides)))

    @torch.no_grad()
    def transform(self, noise: Tensor, labels: Tensor | None, temperature: float, options: FlowOptions) -> Tensor:
        """Returns std * x_1 + mean; x follows the guided velocity from x_0 = temperature * noise. See Prior.draw."""

        def velocity(x: Tensor, t: float) -> Tensor:
            return self.guided_velocity(x, t, labels, options.guidance)

        return heun(velocity, temperature * noise, options.steps, options.progress) * self.std + self.mean

    def moments(self) -> tuple[Tensor, Tensor]:
        """Returns those of the encoded images, by which the flow is standardised."""
        return self.mean.flatten(), self.std.flatten()

    def guided_velocity(self, x: Tensor, t: float, labels: Tensor | None, guidance: float) -> Tensor:
        """Returns v_0 + guidance * (v - v_0), (B, *latent): v is the velocity given the class, v_0 a worse answer.

        v_0 is that of the weak network, which knows neither the class nor, being small, the pictures as well: what it
        lacks, the larger one has learned, and guidance above 1 goes further that way. Samples become sharper, more
        typical of their class and less varied. Guidance 1 is v and 0 is v_0, each one evaluation. Above 1 it is used
        between the times GUIDED alone: before, it costs variety; after, it has nothing to add.

        Source: Karras et al., Guiding a Diffusion Model with a Bad Version of Itself, arXiv 2406.02507; Ho &
        Salimans, Classifier-Free Diffusion Guidance, arXiv 2207.12598, Eq. 6, with guidance = 1 + w (v_0 without a
        class); Kynkaanniemi et al., Applying Guidance in a Limited Interval, arXiv 2404.07724.
        """
        times = x.new_full((len(x),), t)
        labels = labels if self.class_count else None
        if guidance == 0:
            return self.worse_velocity(x, times)
        v = self.velocity(x, times, labels)
        unguided = guidance == 1 or (guidance > 1 and not GUIDED[0] < t < GUIDED[1])
        if unguided or (self.weak is None and labels is None):
            return v
        worse = self.worse_velocity(x, times).to(x.dtype)
        return worse + guidance * (v - worse)

    def worse_velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """Returns the velocity (B, *latent) that guidance leads away from, at x (B, *latent) and t (B,)."""
        return (self.weak or self.velocity)(x, t, None)


def heun(
    velocity: Callable[[Tensor, float], Tensor], x: Tensor, steps: int, progress: Progress | None = None
) -> Tensor:
    """Returns x at t = 1 of dx / dt = velocity(x, t) that starts at x (B, *latent) at t = 0, in `steps` equal steps.

    Heun's method: the mean of the velocities at both ends of an Euler step; its error falls as steps^-2. x keeps its
    type: under autocast a velocity may be bfloat16, which would round away the small steps. `progress` is called with
    the number of finished steps.

    Source: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, arXiv 2206.00364,
    Algorithm 1.
    """
    for i in range(steps):
        t, t_next = i / steps, (i + 1) / steps
        v = velocity(x, t).to(x.dtype)
        v_next = velocity(x + (t_next - t) * v, t_next).to(x.dtype)
        x = x + (t_next - t) / 2 * (v + v_next)
        if progress:
            progress(i + 1)
    return x


def flow_loss(
    prior: FlowPrior,
    z: Tensor,
    labels: Tensor | None,
    eps: Tensor | None = None,
    t: Tensor | None = None,
    drop: float = DROP,
    velocity: nn.Module | None = None,
) -> Tensor:
    """Returns the squared error of the velocity, mean over the values of a latent, (B,), float32.

    With v the network and z standardised: |v((1 - t) eps + t z, t, label) - (z - eps)|^2 / D.

    Args:
        z: (B, *latent), as the encoder gives it.
        labels: int64 (B,), -1: no class; None: none has one.
        eps: (B, *latent); None: from N(0, I).
        t: (B,) in [0, 1]; None: sigmoid(N(0, 1)), most of them in the middle, where the velocity is hardest to tell.
        drop: share of the labels that become "no class", by chance, so that the velocity without one is learned too.
        velocity: the network; None: the prior's velocity.

    Source: Lipman et al., Eq. 23 with sigma_min = 0; Esser et al., Scaling Rectified Flow Transformers, arXiv
    2403.03206, Section 3.1 (the times); Ho & Salimans, arXiv 2207.12598, Algorithm 1 (the labels left out).
    """
    z = (z - prior.mean) / prior.std
    eps = torch.randn_like(z) if eps is None else eps
    t = torch.randn(len(z), device=z.device).sigmoid() if t is None else t
    if labels is not None and drop:
        labels = torch.where(torch.rand(len(z), device=z.device) < drop, -1, labels)
    at = t.view(-1, *(1 for _ in prior.latent_shape))  # t, to be broadcast against z
    v = (velocity or prior.velocity)((1 - at) * eps + at * z, t, labels).float()
    return (v - (z - eps)).square().flatten(1).mean(1)


def standardise(mu: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and std of z ~ N(mu, exp(log_var)), of each channel of maps, (C, 1, 1), or number of vectors, (D,).

    By the law of total variance: Var[z] = Var[mu] + E[exp(log_var)]. mu and log_var are (N, *latent).
    """
    over = [0, *range(2, mu.dim())]
    variance, mean = torch.var_mean(mu, over, correction=0, keepdim=True)
    return mean[0], (variance + log_var.exp().mean(over, keepdim=True))[0].sqrt()
