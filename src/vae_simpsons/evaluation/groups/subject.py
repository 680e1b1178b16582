"""What is measured: a network, the images of its run, and what several groups of figures need of them, made once."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.order import permutation
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import plan
from vae_simpsons.evaluation.blocks import BLOCK, in_blocks
from vae_simpsons.evaluation.features import features, is_installed, load_network
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.likelihood import posteriors
from vae_simpsons.evaluation.pixels import similarities
from vae_simpsons.images import denormalise, normalise
from vae_simpsons.inference.blocks import block_size, device_of
from vae_simpsons.inference.drawing import usual_guidance
from vae_simpsons.inference.sample import sample
from vae_simpsons.models import Autoencoder
from vae_simpsons.models.priors import FlowPrior
from vae_simpsons.objective import Objective
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Settings

CHOICE_STREAM, LABEL_STREAM = 0xE7A1, 0x1ABE1  # keep what a seed decides apart: images, classes of samples
TRAIN, VAL, SAMPLES = "train", "val", "samples"


class Asked(NamedTuple):
    """What is asked of an evaluation."""

    split: str = VAL  # or train: the side whose reconstructions, likelihoods and latents are measured
    most: int | None = None  # images on each side of a figure, at most; None: 5,000, or 500 with `quick`
    seed: int = 0  # decides samples, noise and which images are chosen
    quick: bool = False  # fewer images for each figure, and nothing that takes long
    class_names: Sequence[str] = ()  # that the prior is told: samples are of the classes of random training images


class Reconstructed(NamedTuple):
    """The images of the evaluated split through the network, from mu; one value an image, (n,), float64."""

    recon: Tensor  # uint8 (n, C, H, W)
    mse: Tensor
    ssim: Tensor  # NaN where images are too small
    ms_ssim: Tensor  # likewise


class Subject:
    """What every group of figures is measured on.

    Attributes:
        values: C * H * W of an image.
        sigma: the pixel noise that the loss implies or learned; None if it fitted it.
        told: the class of each image as the prior knows it, int64 (N,), -1 for none; None: it is told nothing.
        images: indices of the images of the evaluated split that are looked at, ascending.
        training: indices of the training images that images are compared with, ascending.
        held_out: indices of the validation images that are compared with them, the floor, ascending.
    """

    def __init__(
        self, network: Autoencoder, settings: Settings, dataset: Dataset, progress: Progress, asked: Asked
    ) -> None:
        """`network` in eval mode, `settings` of its run."""
        if asked.split not in (VAL, TRAIN):
            raise VAEError(f"split: {asked.split!r} is not accepted. Give {VAL} or {TRAIN}.")
        self.network, self.dataset, self.split, self.seed = network, dataset, asked.split, asked.seed
        self.values = math.prod(network.image_shape)
        self.sigma = network.learned_sigma or Objective(settings.objective, self.values).implied_sigma()
        self.told = dataset.numbered(asked.class_names) if asked.class_names else None
        self._features: dict[str, Tensor] = {}
        flow, side = isinstance(network.prior, FlowPrior), dataset.train if asked.split == TRAIN else dataset.val
        drawn = asked.most or ((plan.QUICK_FLOW_SAMPLES if asked.quick else plan.FLOW_SAMPLES) if flow else None)
        most = asked.most or (plan.QUICK_SAMPLES if asked.quick else plan.SAMPLES)
        sizes = (len(side), len(dataset.train), len(dataset.val), most)
        self.plan = plan.make_plan(*sizes, asked.quick, self.values, network.variational, drawn)
        self.images = choose(side, self.plan.images, self.seed)
        self.training = choose(dataset.train, self.plan.training, self.seed)
        self.held_out = choose(dataset.val, self.plan.held_out, self.seed)
        seconds = plan.expected_seconds(
            self.plan, self.values, network.variational, features=is_installed(),
            labels=len(dataset.class_names) > 1, flow=flow,
            factors=(dataset.source / "factors.csv").is_file() and len(network.latent_shape) == 1,
        )  # fmt: skip
        self.bar = plan.Bar(progress, seconds)

    @property
    def block(self) -> int:
        """How many images the network is given at a time."""
        return min(BLOCK, block_size(self.network))

    def pixels(self, indices: np.ndarray) -> Tensor:
        """Returns the uint8 images (n, C, H, W) at `indices`, in memory."""
        return self.dataset.pack.pixels[torch.from_numpy(indices)]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mu and log_var, on the CPU, of a full block x in [-1, 1]; an autoencoder's log_var is empty."""
        found = [self.network.encode(part) for part in x.to(device_of(self.network)).split(self.block)]
        mu = torch.cat([m for m, _ in found]).cpu()
        log_vars = [v for _, v in found if v is not None]
        return mu, torch.cat(log_vars).cpu() if log_vars else mu.new_empty(len(mu), 0)

    def decode(self, z: Tensor) -> Tensor:
        """Returns recon, on the CPU, of a full block z (n, *latent)."""
        parts = z.to(device_of(self.network)).split(self.block)
        return torch.cat([self.network.decode(part).float().cpu() for part in parts])

    @cached_property
    def originals(self) -> Tensor:
        """The pixels of `images`."""
        return self.pixels(self.images)

    @cached_property
    def posterior(self) -> tuple[Tensor, Tensor]:
        """mu and log_var (n, *latent) of `images`."""
        return posteriors(self.encode, self.originals, self.bar.part("encode", len(self.images)))

    @cached_property
    def reconstructed(self) -> Reconstructed:
        """`images` through the network."""

        def look(mu: Tensor, pixels: Tensor) -> tuple[Tensor, ...]:
            recon = self.decode(mu)
            return denormalise(recon), *similarities(recon, normalise(pixels))

        show = self.bar.part("reconstruct", len(self.images))
        return Reconstructed(*in_blocks(look, self.posterior[0], self.originals, size=self.block, on_progress=show))

    @cached_property
    def mean_image(self) -> Tensor:
        """The mean of all training images, (C, H, W) in [-1, 1]."""
        total = torch.zeros(self.network.image_shape, dtype=torch.int64)
        for rows in np.array_split(self.dataset.train, -(-len(self.dataset.train) // 1024)):
            total += self.pixels(rows).sum(0, dtype=torch.int64)
        return (total.double() / len(self.dataset.train) / 127.5 - 1).float()

    @cached_property
    def samples(self) -> Tensor:
        """Images drawn from the prior as `vae sample` does, uint8 (n, C, H, W); of classes as common as in training."""
        show = self.bar.part("draw", self.plan.samples)
        parts: list[Tensor] = []
        labels = self.told[self.drawn_like] if self.told is not None else None
        guidance = usual_guidance(self.network.prior)
        for images in sample(self.network, self.plan.samples, self.seed, labels, guidance):
            parts.append(denormalise(images))
            show(sum(map(len, parts)))
        return torch.cat(parts)

    @cached_property
    def drawn_like(self) -> Tensor:
        """The training image whose class each sample is drawn of, int64 (n,), where the prior is told classes."""
        order = permutation(len(self.dataset.train), LABEL_STREAM, self.seed)
        return torch.from_numpy(self.dataset.train[np.resize(order, self.plan.samples)])

    @cached_property
    def no_features(self) -> str:
        """Why there are no features; '' where there are."""
        try:
            self._feature_network = load_network()
        except VAEError as e:
            return str(e).removeprefix("evaluate: ")
        return ""

    def features(self, name: str, pixels: Callable[[], Tensor]) -> Tensor:
        """Returns the features (n, 1280) of the uint8 images called `name`; each set is looked at once."""
        if name not in self._features:
            done = sum(map(len, self._features.values()))
            show = self.bar.part("features", self.plan.features)
            found = features(self._feature_network, pixels(), lambda n: show(done + n))
            self._features[name] = found
        return self._features[name]


def choose(indices: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns `count` of `indices`, ascending, that `seed` decides; all of them where there are no more."""
    if len(indices) <= count:
        return indices
    return np.sort(indices[permutation(len(indices), CHOICE_STREAM, seed)[:count]])


def attempt(missing: list[str], measure: Callable[[], list[Figure]]) -> list[Figure]:
    """Returns the figures that `measure` makes; none where it refuses, and its reason is added to `missing`."""
    try:
        return measure()
    except VAEError as e:
        if str(e) not in missing:
            missing.append(str(e))
        return []
