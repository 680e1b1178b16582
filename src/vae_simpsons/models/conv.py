"""The published encoder and decoder: 3x3 convolutions with stride 2, and a vector as the latent."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Encoder(nn.Module):
    """x -> mu, log_var: convolutions that halve the image, then one linear layer for each.

    Args:
        image_size: height and width of the images; 2^len(widths) divides both.
        widths: channels after each stage.
        variational: without it there is no layer for log_var, and None in its place.
    """

    def __init__(
        self,
        channels: int,
        image_size: tuple[int, int],
        widths: Sequence[int],
        latent_dim: int,
        variational: bool = True,
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential(*(halve(i, o) for i, o in pairwise([channels, *widths])))
        height, width = (side // 2 ** len(widths) for side in image_size)
        features = widths[-1] * height * width
        self.mu = nn.Linear(features, latent_dim)
        self.log_var = nn.Linear(features, latent_dim) if variational else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, C, H, W) -> mu (B, latent_dim), log_var (B, latent_dim) or None."""
        h = self.stages(x).flatten(1)  # (B, widths[-1], H / 2^n, W / 2^n) -> (B, features)
        return self.mu(h), self.log_var(h) if self.log_var is not None else None


class Decoder(nn.Module):
    """z -> recon in [-1, 1]: a linear layer, then transposed convolutions back through the encoder's `widths`."""

    def __init__(self, channels: int, image_size: tuple[int, int], widths: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        height, width = (side // 2 ** len(widths) for side in image_size)
        back = list(reversed(widths))  # 512, 256, ...
        self.linear = nn.Linear(latent_dim, back[0] * height * width)
        self.unflatten = nn.Unflatten(1, (back[0], height, width))
        self.stages = nn.Sequential(*(double(i, o) for i, o in pairwise([*back, back[-1]])))
        self.to_image = nn.Sequential(nn.Conv2d(back[-1], channels, kernel_size=3, padding=1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent_dim) -> (B, C, H, W)."""
        h = self.unflatten(self.linear(z))  # (B, widths[-1], H / 2^n, W / 2^n)
        return self.to_image(self.stages(h))  # (B, widths[0], H, W) -> (B, C, H, W)


def halve(in_channels: int, out_channels: int) -> nn.Sequential:
    """Returns a stage of the encoder, (B, in, H, W) -> (B, out, H/2, W/2)."""
    return normalised(nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1))


def double(in_channels: int, out_channels: int) -> nn.Sequential:
    """Returns a stage of the decoder, (B, in, H, W) -> (B, out, 2H, 2W)."""
    convolution = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1, output_padding=1)
    return normalised(convolution)


def normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    """Returns `convolution` followed by BatchNorm and LeakyReLU, its bias as it was drawn for good.

    BatchNorm subtracts the batch's mean, and with it the bias, whose gradient is therefore zero. What torch computes in
    its place is rounding, which Adam, dividing it by its own size, would turn into steps of the full learning rate.
    """
    convolution.get_parameter("bias").requires_grad_(False)
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.LeakyReLU(inplace=True))
