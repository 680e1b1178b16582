"""The velocity network of latent vectors: residual blocks of two linear layers, which time and class modulate."""

import torch
from torch import Tensor, nn

from vae_simpsons.models.priors.conditioning import Conditioning, Modulation, modulate


class MLP(nn.Module):
    """(x (B, D), t (B,), labels (B,) or None) -> velocity (B, D); it starts as zero.

    Args:
        latent_dim: D.
        class_count: number of classes that labels name.
        width: numbers between blocks; within one they are twice as many.
        depth: blocks.
        dropout: share of each block's output that is left out while training.
    """

    def __init__(self, latent_dim: int, class_count: int, width: int, depth: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Linear(latent_dim, width)
        self.conditioning = Conditioning(class_count, width)
        self.modulation = Modulation(width, parts=3)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
        self.final_offsets = nn.Parameter(torch.zeros(2, width))
        self.to_velocity = nn.Linear(width, latent_dim)
        nn.init.zeros_(self.to_velocity.weight)
        nn.init.zeros_(self.to_velocity.bias)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.embed(x)  # (B, width)
        modulation = self.modulation(self.conditioning(t, labels))  # (B, 3, width)
        for block in self.blocks:
            h = block(h, modulation)
        shift, scale = (modulation[:, :2] + self.final_offsets).unbind(1)
        return self.to_velocity(modulate(h, shift, scale))


class Block(nn.Module):
    """h -> h + gate * MLP(modulated h), (B, width) stays."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.zeros(3, width))
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width), nn.Dropout(dropout)
        )

    def forward(self, h: Tensor, modulation: Tensor) -> Tensor:
        shift, scale, gate = (modulation + self.offsets).unbind(1)  # each (B, width)
        return h + gate * self.mlp(modulate(h, shift, scale))
