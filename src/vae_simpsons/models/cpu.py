"""Faster ways to compute the same 3x3 convolutions on a CPU, put into a network from outside.

A convolution is a matrix product: each output position is a row, its 3x3 patch of the input laid out; the weights are
the matrix. A transposed convolution is its adjoint: a matrix product, then each patch added to where it lies. torch's
CPU kernels reach a fifth of the matrix-product rate where a map has few positions and many channels; there the product
is written out. Nor are they fast at a convolution to three channels, which fill 3 of a register's 16 lanes; there a
block of 2x2 pixels is one position with 12 channels. All ways are the same sums, in another order.

Source: Chellapilla et al., High Performance Convolutional Neural Networks for Document Processing, 2006 (im2col);
Dumoulin & Visin, A guide to convolution arithmetic for deep learning, arXiv 1603.07285, Section 4.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of the smaller of the two maps. Forward and backward of 256 -> 512 channels on 2x2, batch 64: 6.7 ms for 18.6 in
# float32, 2.0 for 12.2 in bfloat16; of 128 -> 256 on 4x4: 6.6 for 6.5, 2.5 for 4.2; on 8x8 it is slower (2 cores).
SMALL_MAP = 4 * 4


def use_fast_convolutions(network: nn.Module) -> None:
    """Replaces, in place, those convolutions of `network` that have a faster form on a CPU; weights and names stay.

    For a network that lives on a CPU. On a GPU, and for an export, the plain layers are the right ones.
    """
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            fast = fast_form(layer)
            if fast is not None:
                setattr(parent, name, fast)


def fast_form(layer: nn.Module) -> nn.Module | None:
    """Returns a layer with the very weights of `layer` that computes the same faster; None: there is none."""
    match layer:
        case nn.ConvTranspose2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1), groups=1):
            fast = DoublingConv(layer.in_channels, layer.out_channels)
        case nn.Conv2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), groups=1):
            fast = HalvingConv(layer.in_channels, layer.out_channels)
        case nn.Conv2d(kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=1) if layer.out_channels <= 4:
            fast = ToImageConv(layer.in_channels, layer.out_channels)
        case _:
            return None
    fast.weight, fast.bias = layer.weight, layer.bias
    return fast


class HalvingConv(nn.Conv2d):
    """A 3x3 convolution with stride 2: (B, in, H, W) -> (B, out, H/2, W/2), H and W even."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, stride=2, padding=1, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H/2, W/2)."""
        batch, channels, height, width = x.shape
        if height * width // 4 > SMALL_MAP:
            return super().forward(x)
        rows = Patches.apply(x.permute(0, 2, 3, 1)).view(-1, 9 * channels)  # (B * H/2 * W/2, 9 * in)
        matrix = self.weight.permute(0, 2, 3, 1).reshape(-1, 9 * channels)  # (out, 9 * in)
        y = F.linear(rows, matrix, self.bias)  # (B * H/2 * W/2, out)
        return y.view(batch, height // 2, width // 2, -1).permute(0, 3, 1, 2)


class DoublingConv(nn.ConvTranspose2d):
    """A 3x3 transposed convolution with stride 2, the adjoint of HalvingConv: (B, in, H, W) -> (B, out, 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, stride=2, padding=1, output_padding=1, device="meta")

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, in, H, W) -> (B, out, 2H, 2W)."""
        batch, channels, height, width = x.shape
        if height * width > SMALL_MAP:
            return super().forward(x, output_size)
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels)  # (B * H * W, in)
        matrix = self.weight.permute(2, 3, 1, 0).reshape(-1, channels)  # (9 * out, in)
        patches = F.linear(rows, matrix).view(batch, height, width, 3, 3, -1)
        y = Overlap.apply(patches)  # (B, 2H, 2W, out)
        return (y + self.bias.to(y.dtype)).permute(0, 3, 1, 2)


class ToImageConv(nn.Conv2d):
    """A 3x3 convolution to an image's few channels: (B, in, H, W) -> (B, out, H, W), H and W even."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W)."""
        return Blockwise.apply(x, self.weight, self.bias)


class Blockwise(torch.autograd.Function):
    """A 3x3 convolution, padded by 1, computed for blocks of 2x2 pixels: (B, in, H, W) -> (B, out, H, W).

    Of 32 -> 3 channels on 64x64, batch 64, forward and backward: 18.1 ms for 29.5 in float32, 9.9 for 16.2 in bfloat16
    (2 cores).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The convolution with a 4x4 kernel for each of a block's pixels, its channels then laid out as pixels."""
        ctx.save_for_backward(x, weight)
        blocks = F.conv2d(x, four_kernels(weight), bias.repeat_interleave(4), stride=2, padding=1)
        return F.pixel_shuffle(blocks, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For x as of a plain convolution, whose registers are filled; for the weights in blocks."""
        x, weight = ctx.saved_tensors
        for_x = F.conv_transpose2d(gradient, weight.to(gradient.dtype), padding=1)
        blocks = F.pixel_unshuffle(gradient, 2)
        shape = (blocks.shape[1], weight.shape[1], 4, 4)
        four = torch.nn.grad.conv2d_weight(x.to(gradient.dtype), shape, blocks, stride=2, padding=1)
        return for_x, one_kernel(four).to(weight.dtype), gradient.sum((0, 2, 3)).to(weight.dtype)


def four_kernels(weight: Tensor) -> Tensor:
    """The kernels (4 * out, in, 4, 4) of a block's pixels: `weight`, (out, in, 3, 3), where each of them needs it."""
    four = weight.new_zeros(weight.shape[0], 2, 2, weight.shape[1], 4, 4)
    for i in range(2):
        for j in range(2):
            four[:, i, j, :, i : i + 3, j : j + 3] = weight
    return four.flatten(0, 2)


def one_kernel(four: Tensor) -> Tensor:
    """The adjoint of four_kernels, for gradients: (4 * out, in, 4, 4) -> (out, in, 3, 3)."""
    four = four.unflatten(0, (-1, 2, 2))
    return sum(four[:, i, j, :, i : i + 3, j : j + 3] for i in range(2) for j in range(2))


class Patches(torch.autograd.Function):
    """Each position's patch: (B, H, W, C) -> (B, H/2, W/2, 3, 3, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """The 3x3 patches around every second position, zeros outside."""
        return patches_of(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Its adjoint, Overlap."""
        return overlap(gradient)


class Overlap(torch.autograd.Function):
    """The sum of overlapping patches: (B, h, w, 3, 3, C) -> (B, 2h, 2w, C)."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor) -> Tensor:
        """Each patch added where Patches would have read it."""
        return overlap(patches)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Its adjoint, Patches."""
        return patches_of(gradient)


def patches_of(x: Tensor) -> Tensor:
    """The 3x3 patches, (B, H/2, W/2, 3, 3, C), around every second position of x (B, H, W, C), H and W even."""
    padded = F.pad(x, (0, 0, 1, 0, 1, 0))  # with H even, no patch reaches below or right of the map
    return padded.unfold(1, 3, 2).unfold(2, 3, 2).permute(0, 1, 2, 4, 5, 3).contiguous()


def overlap(patches: Tensor) -> Tensor:
    """The map (B, 2h, 2w, C) in which the patches (B, h, w, 3, 3, C) overlap, added up."""
    batch, height, width, _, _, channels = patches.shape
    padded = patches.new_zeros(batch, 2 * height + 1, 2 * width + 1, channels)
    for i in range(3):
        for j in range(3):
            padded[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += patches[:, :, :, i, j]
    return padded[:, 1:, 1:]
