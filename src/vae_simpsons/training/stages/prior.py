"""The second stage: a flow that learns to draw latents like those of the images.

The autoencoder is not trained any further. Every image is encoded once, mirrored too where the settings say so; each
step draws z anew from the posteriors of its images. Source: Vahdat et al., LSGM, arXiv 2106.05931; Rombach et al.,
arXiv 2112.10752 (a prior on the latents of an autoencoder that is trained first).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vae_simpsons.checkpoint import PRIOR, PRIOR_AVERAGE, Checkpoint
from vae_simpsons.data.batches import Batch
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.images import denormalise
from vae_simpsons.inference.latents import decode, encode_posteriors
from vae_simpsons.inference.sample import prior_noise
from vae_simpsons.models import build_autoencoder, build_prior, reparameterize
from vae_simpsons.models.cpu import use_fast_convolutions
from vae_simpsons.models.priors import FlowPrior, flow_loss, standardise
from vae_simpsons.progress import Progress
from vae_simpsons.settings import Settings
from vae_simpsons.training.muon import Muon
from vae_simpsons.training.schedule import cosine_share
from vae_simpsons.training.stages.base import Stage

SAMPLES, STEPS = 32, 10  # shown after each epoch, and the steps that each takes: half of what `vae sample` does
SAMPLES_SEED = 0
BETAS = (0.9, 0.99)  # of the AdamW that trains what Muon does not
CLIP = 1.0  # norm of the gradient, above which a step is shortened: transformers have rare bad steps
WARM_UP = 100  # steps
EMA = 0.999  # of the average where optimizer.ema does not say


class PriorStage(Stage[FlowPrior]):
    """Trains a flow on the latents of the images, which the autoencoder has encoded.

    Figures: the flow's loss of training and validation images, the latter with the same noise and times every epoch.
    """

    name = "prior"
    number = 1
    prefix, average_prefix, in_files = PRIOR, PRIOR_AVERAGE, "prior_"
    step_figures = ("loss",)
    figures = ("train/loss", "val/loss", "train/lr")
    best = "val/loss"
    lr_name = "prior.lr"
    clip = CLIP

    def __init__(self, settings: Settings, class_names: Sequence[str]) -> None:
        """`class_names`: those that the flow is told."""
        super().__init__()
        chosen = settings.prior
        self.settings, self.class_names = settings, class_names
        self.epochs, self.batch_size, self.lr = chosen.epochs, chosen.batch_size, chosen.lr
        self.ema = settings.optimizer.ema or EMA
        prior = build_prior(settings, len(class_names))
        assert isinstance(prior, FlowPrior), "no other prior is trained"
        self.network = prior
        self.autoencoder = build_autoencoder(settings).requires_grad_(False)

    def start(
        self, earlier: Checkpoint, dataset: Dataset, device: torch.device, processes: int, progress: Progress
    ) -> None:
        """Encodes every image, and takes the latents' mean and standard deviation from those that train."""
        self.autoencoder.load_state_dict(earlier.weights())
        self.autoencoder.eval().to(device)
        if device.type == "cpu":
            use_fast_convolutions(self.autoencoder)
        pixels, flip = dataset.pack.pixels, self.settings.data.horizontal_flip
        self.inputs = encode_posteriors(self.autoencoder, pixels, flip, progress)  # (N, flips, 2, *latent)
        self.batch_size = min(self.batch_size, len(dataset.train) // processes)
        self.labels = dataset.numbered(self.class_names)
        mu, log_var = self.inputs[torch.from_numpy(dataset.train)].flatten(0, 1).unbind(1)
        mean, std = standardise(mu, log_var)
        self.network.mean.copy_(mean)
        self.network.std.copy_(std)

    def optimizer(self, fused: bool) -> torch.optim.Optimizer:
        return Muon(self.network, self.lr, BETAS, weight_decay=0.0, fused=fused)

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """Returns a cosine from prior.lr to zero, after WARM_UP steps."""
        total = steps_per_epoch * self.epochs
        return self.lr * cosine_share(step, min(WARM_UP, total // 10), total)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the mean flow loss of latents drawn from the posteriors (B, flips, 2, *latent), of both networks."""
        count, flips = batch.inputs.shape[:2]
        chosen = batch.inputs[:, 0]
        if flips > 1:
            mirrored = torch.rand(count, device=chosen.device) < 0.5
            chosen = torch.where(mirrored.view(-1, *[1] * (chosen.ndim - 1)), batch.inputs[:, 1], chosen)
        mu, log_var = chosen.unbind(1)
        z = reparameterize(mu, log_var)
        loss = flow_loss(self.network, z, batch.labels).mean()
        figures = loss.detach()[None]
        if self.network.weak:  # no weight is in both, so that each learns as if it were alone
            loss = loss + flow_loss(self.network, z, None, velocity=self.network.weak).mean()
        return loss, figures

    def start_validation(self, device: torch.device, seed: int) -> None:
        self.sums = torch.zeros(2, device=device)  # of the loss, and how many images
        self.noise = torch.Generator(device).manual_seed(seed)

    def validate(self, batch: Batch) -> None:
        mu, log_var = batch.inputs[:, 0].unbind(1)
        z = reparameterize(mu, log_var, self.noise)
        eps = torch.randn(z.shape, generator=self.noise, device=z.device)
        t = torch.sigmoid(torch.randn(len(z), generator=self.noise, device=z.device))
        losses = flow_loss(self.final, z, batch.labels, eps=eps, t=t, drop=0.0)
        self.sums += torch.stack([losses.sum(), losses.new_tensor(len(z))])

    def end_validation(self, add_up: Callable[[Tensor], Tensor]) -> dict[str, float]:
        total, count = add_up(self.sums).tolist()
        return {"val/loss": total / count}

    def pictures(self, originals: Tensor, columns: int) -> dict[str, Tensor]:
        """Returns samples from the same noise each time, a row a class where there are classes."""
        noise = next(prior_noise(self.final.latent_shape, SAMPLES, SAMPLES_SEED, SAMPLES)).to(self.final.mean.device)
        labels = None
        if self.class_names:
            labels = torch.arange(SAMPLES, device=noise.device) // columns % len(self.class_names)
        z = self.final.draw(noise, labels, guidance=self.final.guidance, steps=STEPS)
        return {"samples": denormalise(decode(self.autoencoder, z))}

    def describe(self) -> dict[str, str]:
        """Returns the flow's shape and what it is told."""
        shape = "x".join(map(str, self.autoencoder.latent_shape))
        count = sum(p.numel() for p in self.network.parameters())
        return {"prior": f"a flow on latents of {shape}, {count:,} parameters"}
