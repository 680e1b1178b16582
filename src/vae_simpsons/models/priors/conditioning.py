"""What a velocity network is told beside x: the time and the class, and how its layers listen to them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FREQUENCIES = 64  # of the sines and cosines that stand for t
# Radians per unit of t. Up to 1000, as for the thousand steps of a diffusion, small flows learned more slowly: after
# 800 steps on two moons the kernel distance was 0.15 of a Gaussian's, for 0.12 up to 30.
LOWEST, HIGHEST = 0.1, 30.0


class Conditioning(nn.Module):
    """(t, labels) -> (B, width): a small network of the time plus a learned vector for the class or for "no class"."""

    def __init__(self, class_count: int, width: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(class_count + 1, width)  # row 0: no class
        nn.init.normal_(self.label.weight, std=0.02)

    def forward(self, t: Tensor, labels: Tensor | None) -> Tensor:
        """t (B,) in [0, 1], labels int64 (B,) with -1 for "no class", or None for that throughout -> (B, width)."""
        if labels is None:
            labels = torch.full_like(t, -1, dtype=torch.int64)
        return F.silu(self.time(sinusoids(t)) + self.label(labels + 1))


class Modulation(nn.Module):
    """The shifts, scales and gates of all blocks, computed once from the condition; each block adds its own `offsets`.

    Both start at zero (adaLN-zero), so that each block starts as the identity.

    Source: Peebles & Xie, Scalable Diffusion Models with Transformers, arXiv 2212.09748, Section 3.2 (adaLN-zero);
    Chen et al., PixArt-alpha, arXiv 2310.00426, Section 2.3 (adaLN-single).
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(width, parts * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition: Tensor) -> Tensor:
        """(B, width) -> (B, parts, width)."""
        return self.linear(condition).unflatten(1, (self.parts, -1))


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Returns (1 + scale) * LayerNorm(h) + shift; h (..., width), the others broadcast against it."""
    return torch.addcmul(shift, F.layer_norm(h, h.shape[-1:]), 1 + scale)


def sinusoids(t: Tensor) -> Tensor:
    """Returns sin and cos of t (B,) at frequencies in geometric progression, (B, 2 * FREQUENCIES), float32.

    Source: Vaswani et al., Attention Is All You Need, arXiv 1706.03762, Section 3.5.
    """
    exponents = torch.linspace(math.log(LOWEST), math.log(HIGHEST), FREQUENCIES, device=t.device)
    angles = t.float()[:, None] * exponents.exp()
    return torch.cat([angles.sin(), angles.cos()], dim=1)
