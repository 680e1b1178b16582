"""A small classifier of labelled images: do reconstructions and samples still show what the label says?

It is trained on real training images alone. The accuracy on reconstructions or samples is read beside its accuracy on
real validation images, which is as good as it gets.

Source: Ravuri & Vinyals, Classification Accuracy Score, arXiv 1905.10887, the other way round: trained on real images.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from vae_simpsons.evaluation.blocks import in_blocks
from vae_simpsons.evaluation.figures import Figure, mean_figure, require
from vae_simpsons.images import normalise

STEPS, BATCH = 300, 64  # however many images there are
PEAK_RATE = 3e-3  # of Adam, reached after a tenth of the steps; then a cosine to 0
WIDTHS = (24, 48, 96, 192)  # channels after each halving
LARGEST = 64  # pixels; larger images are reduced
ACCURACY = "label accuracy"
DEFINITIONS = {ACCURACY: "share of images that a small classifier, trained on real training images, labels right"}


class Classifier(nn.Module):
    """uint8 images (B, C, H, W) to logits (B, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((channels, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        x = normalise(pixels)
        if max(x.shape[-2:]) > LARGEST:
            x = interpolate(x, (LARGEST, LARGEST), mode="bilinear", antialias=True)
        return self.head(self.body(x).mean((2, 3)))


def train_classifier(
    pixels: Tensor, labels: Tensor, classes: int, seed: int, on_progress: Callable[[int], None] | None = None
) -> Classifier:
    """A classifier of uint8 images (N, C, H, W) with labels (N,), 0 to classes - 1, in evaluation mode, on the CPU.

    The same seed gives the same weights, and torch's global generator is left where it was.

    Args:
        on_progress: called with the number of steps done, of STEPS.

    Raises:
        VAEError: fewer images than a batch, or one class.
    """
    require(ACCURACY, len(pixels), BATCH, "training images")
    require(ACCURACY, classes, 2, "labels")
    source = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # torch's layers draw their first weights from the global generator
        torch.default_generator.manual_seed(seed)
        network = Classifier(pixels.shape[1], classes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    order = torch.cat([torch.randperm(len(pixels), generator=source) for _ in range(-(-STEPS * BATCH // len(pixels)))])
    with torch.enable_grad():
        for step, chosen in enumerate(order[: STEPS * BATCH].split(BATCH)):
            optimizer.param_groups[0]["lr"] = PEAK_RATE * _schedule((step + 1) / STEPS)
            optimizer.zero_grad()
            cross_entropy(network(pixels[chosen]), labels[chosen]).backward()
            optimizer.step()
            if on_progress:
                on_progress(step + 1)
    return network.eval().requires_grad_(False)


def predictions(network: Classifier, pixels: Tensor) -> Tensor:
    """The likeliest label of each uint8 image, (N,)."""
    return in_blocks(lambda block: network(block).argmax(1), pixels)[0]


def accuracy(network: Classifier, pixels: Tensor, labels: Tensor) -> Figure:
    """The share of uint8 images (N, C, H, W) whose predicted label is theirs, (N,)."""
    return mean_figure(ACCURACY, (predictions(network, pixels) == labels).double(), DEFINITIONS[ACCURACY])


def majority_share(labels: Tensor) -> float:
    """The accuracy of always naming the commonest label: what any classifier must beat."""
    return labels.bincount().max().item() / len(labels)


def _schedule(done: float) -> float:
    """The share of PEAK_RATE after the share `done` of the steps."""
    warm = 0.1
    return done / warm if done < warm else 0.5 * (1 + math.cos(math.pi * (done - warm) / (1 - warm)))
