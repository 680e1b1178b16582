"""The decoder: a latent to the mean of its image."""

from collections.abc import Sequence

from torch import Tensor, nn

from vae_simpsons.models.convolution import Double, ToImage, without_gradient


class Decoder(nn.Module):
    """z -> recon in [-1, 1]: a linear layer, then transposed convolutions back down the widths.

    Args:
        channels: C of the images.
        image_size: their height and width; 2^len(widths) divides it.
        widths: the encoder's, in the encoder's order.
        latent_dim: length of z.
    """

    def __init__(self, channels: int, image_size: int, widths: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        side = image_size // 2 ** len(widths)
        back = list(reversed(widths))  # 512, 256, ... ; a copy: the caller's list stays as it is
        self.linear = nn.Linear(latent_dim, back[0] * side**2)
        self.unflatten = nn.Unflatten(1, (back[0], side, side))
        self.stages = nn.Sequential(*(upsample(i, o) for i, o in zip(back, [*back[1:], back[-1]], strict=True)))
        self.to_image = nn.Sequential(ToImage(back[-1], channels), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent_dim) -> (B, C, H, W)."""
        h = self.unflatten(self.linear(z))  # (B, widths[-1], H / 2^n, W / 2^n)
        h = self.stages(h)  # (B, widths[0], H, W)
        return self.to_image(h)


def upsample(in_channels: int, out_channels: int) -> nn.Sequential:
    """A stage (B, in, H, W) -> (B, out, 2H, 2W)."""
    convolution = Double(in_channels, out_channels)
    without_gradient(convolution.bias)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.LeakyReLU(inplace=True))
