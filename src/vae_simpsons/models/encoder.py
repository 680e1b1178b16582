"""The encoder: an image to the parameters of its posterior."""

from collections.abc import Sequence

from torch import Tensor, nn

from vae_simpsons.models.convolution import Halve, without_gradient


class Encoder(nn.Module):
    """x -> (mu, log_var): stride-2 convolutions, then one linear head for each.

    Args:
        channels: C of the images.
        image_size: their height and width; 2^len(widths) divides it.
        widths: channels after each stage, which halves height and width.
        latent_dim: length of mu and of log_var.
        variational: without it there is no head for log_var, and None in its place.
    """

    def __init__(
        self, channels: int, image_size: int, widths: Sequence[int], latent_dim: int, variational: bool = True
    ) -> None:
        super().__init__()
        ins = [channels, *widths[:-1]]
        self.stages = nn.Sequential(*(downsample(i, o) for i, o in zip(ins, widths, strict=True)))
        features = widths[-1] * (image_size // 2 ** len(widths)) ** 2
        self.mu = nn.Linear(features, latent_dim)
        self.log_var = nn.Linear(features, latent_dim) if variational else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, C, H, W) -> mu (B, latent_dim), log_var (B, latent_dim) or None."""
        h = self.stages(x)  # (B, widths[-1], H / 2^n, W / 2^n)
        h = h.flatten(1)  # (B, features)
        return self.mu(h), self.log_var(h) if self.log_var is not None else None


def downsample(in_channels: int, out_channels: int) -> nn.Sequential:
    """A stage (B, in, H, W) -> (B, out, H/2, W/2)."""
    convolution = Halve(in_channels, out_channels)
    without_gradient(convolution.bias)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.LeakyReLU(inplace=True))
