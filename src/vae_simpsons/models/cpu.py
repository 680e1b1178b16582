"""Faster ways to compute the same 3x3 convolutions on a CPU, put into a network from outside.

A convolution is a matrix product: each output position is a row, its 3x3 patch of the input laid out; the weights are
the matrix. A transposed convolution is its adjoint: a matrix product, then each patch added to where it lies. torch's
CPU kernels reach a fifth of the matrix-product rate where a map has few positions and many channels; there the product
is written out. Nor are they fast at a convolution to three channels, which fill 3 of a register's 16 lanes; there a
block of 2x2 pixels is one position with 12 channels. All ways are the same sums, in another order.

Source: Chellapilla et al., 2006 (im2col); Dumoulin & Visin, arXiv 1603.07285, Section 4.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

# Of the smaller of the two maps. Forward and backward of 256 -> 512 channels on 2x2, batch 64: 6.7 ms for 18.6 in
# float32, 2.0 for 12.2 in bfloat16; of 128 -> 256 on 4x4: 6.6 for 6.5, 2.5 for 4.2; on 8x8 it is slower (2 cores).
SMALL_MAP = 4 * 4


def use_fast_convolutions(network: nn.Module) -> None:
    """Replaces, in place, the convolutions of a `network` on a CPU that have a faster form; weights and names stay."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if (fast := fast_form(layer)) is not None:
                setattr(parent, name, fast)


def fast_form(layer: nn.Module) -> nn.Module | None:
    """Returns a layer with the very weights of `layer` that computes the same faster; None: there is none."""
    fast: nn.Conv2d | nn.ConvTranspose2d
    match layer:
        case nn.ConvTranspose2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1), groups=1):
            fast = DoublingConv(layer.in_channels, layer.out_channels, 3, 2, 1, output_padding=1, device="meta")
        case nn.Conv2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), groups=1):
            fast = HalvingConv(layer.in_channels, layer.out_channels, 3, 2, 1, device="meta")
        case nn.Conv2d(kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=1) if layer.out_channels <= 4:
            fast = ToImageConv(layer.in_channels, layer.out_channels, 3, 1, 1, device="meta")
        case _:
            return None
    fast.weight, fast.bias = layer.weight, layer.bias
    return fast


class HalvingConv(nn.Conv2d):
    """A 3x3 convolution with stride 2: (B, in, H, W) -> (B, out, H/2, W/2), H and W even."""

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        if height * width // 4 > SMALL_MAP:
            return super().forward(x)
        patches = WithAdjoint.apply(x.permute(0, 2, 3, 1), patches_of, overlap)
        rows = patches.view(-1, 9 * channels)  # (B * H/2 * W/2, 9 * in)
        matrix = self.weight.permute(0, 2, 3, 1).reshape(-1, 9 * channels)  # (out, 9 * in)
        y = F.linear(rows, matrix, self.bias)  # (B * H/2 * W/2, out)
        return y.view(batch, height // 2, width // 2, -1).permute(0, 3, 1, 2)


class DoublingConv(nn.ConvTranspose2d):
    """A 3x3 transposed convolution with stride 2, the adjoint of HalvingConv: (B, in, H, W) -> (B, out, 2H, 2W)."""

    bias: Tensor

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        batch, channels, height, width = x.shape
        if height * width > SMALL_MAP:
            return super().forward(x)
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels)  # (B * H * W, in)
        matrix = self.weight.permute(2, 3, 1, 0).reshape(-1, channels)  # (9 * out, in)
        patches = F.linear(rows, matrix).view(batch, height, width, 3, 3, -1)
        y = WithAdjoint.apply(patches, overlap, patches_of)  # (B, 2H, 2W, out)
        return (y + self.bias.to(y.dtype)).permute(0, 3, 1, 2)


class WithAdjoint(torch.autograd.Function):
    """A linear map, applied to its first argument; its gradient is the map's adjoint, the third."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.adjoint = adjoint
        return linear(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.adjoint(gradient), None, None


def patches_of(x: Tensor) -> Tensor:
    """The 3x3 patches, (B, H/2, W/2, 3, 3, C), around every second position of x (B, H, W, C), H and W even."""
    padded = F.pad(x, (0, 0, 1, 0, 1, 0))  # with H even, no patch reaches below or right of the map
    return padded.unfold(1, 3, 2).unfold(2, 3, 2).permute(0, 1, 2, 4, 5, 3).contiguous()


def overlap(patches: Tensor) -> Tensor:
    """The adjoint of patches_of: the map (B, 2h, 2w, C) in which the patches (B, h, w, 3, 3, C) overlap, added up."""
    batch, height, width, _, _, channels = patches.shape
    padded = patches.new_zeros(batch, 2 * height + 1, 2 * width + 1, channels)
    for i in range(3):
        for j in range(3):
            padded[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += patches[:, :, :, i, j]
    return padded[:, 1:, 1:]


class ToImageConv(nn.Conv2d):
    """A 3x3 convolution to an image's few channels: (B, in, H, W) -> (B, out, H, W), H and W even."""

    bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        # One 4x4 kernel for each pixel of a block of 2x2: the weights, where that pixel needs them.
        moved = [F.pad(self.weight, (j, 1 - j, i, 1 - i)) for i in range(2) for j in range(2)]
        kernels = torch.stack(moved, 1).flatten(0, 1)  # (4 * out, in, 4, 4)
        return Blockwise.apply(x, self.weight, kernels, self.bias.repeat_interleave(4))


class Blockwise(torch.autograd.Function):
    """A 3x3 convolution, padded by 1, as one of blocks of 2x2 pixels, whose channels are then laid out as pixels.

    The gradient for x is that of the plain convolution, whose registers are filled. Of 32 -> 3 channels on 64x64, batch
    64, forward and backward: 18.1 ms for 29.5 in float32, 9.9 for 16.2 in bfloat16 (2 cores).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, kernels: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = kernels.shape
        return F.pixel_shuffle(F.conv2d(x, kernels, bias, stride=2, padding=1), 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        x, weight = (tensor.to(gradient.dtype) for tensor in ctx.saved_tensors)
        blocks = F.pixel_unshuffle(gradient, 2)
        for_kernels = conv2d_weight(x, ctx.shape, blocks, stride=2, padding=1)
        return F.conv_transpose2d(gradient, weight, padding=1), None, for_kernels, blocks.sum((0, 2, 3))
