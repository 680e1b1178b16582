"""The first stage: the autoencoder, variational or plain."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vae_simpsons import objective
from vae_simpsons.data.batches import Batch
from vae_simpsons.evaluation.sums import ValidationMeans, ValidationSums
from vae_simpsons.images import denormalise, interleave_rows, normalise
from vae_simpsons.inference import latents
from vae_simpsons.inference.sample import sample
from vae_simpsons.inference.traverse import choose_dims, traverse
from vae_simpsons.models import build_autoencoder
from vae_simpsons.settings import Settings
from vae_simpsons.training.stages.base import Stage

SAMPLES = 64  # shown after each epoch
TRAVERSED = 8  # latent dimensions, those with the largest KL, a row each
REACH = 3.0  # standard deviations of the prior that they are moved to either side
SHOWN_LATENTS = 512  # validation images, the first, whose mu and sigma the histograms show
SAMPLES_SEED = 0  # of the z that every epoch's samples are decoded from
FEW_UNITS = 0.02  # share of the latent dimensions that are active, below which the posterior has collapsed
LITTLE_VARIANCE = 1e-3  # of the reconstructions, as a share of the images' own, below which the decoder is dead


class AutoencoderStage(Stage):
    """Trains encoder and decoder on mse + beta * kld_weight * kl, or on mse alone.

    Figures, of training and validation alike: loss, mse, kl (nats an image), elbo (nats an image, at beta 1 and the
    pixel noise that kld_weight implies). Of validation also the active units, and the noise that is really left
    (sigma/residual) beside the noise that the loss assumes (sigma/implied).
    """

    name = "autoencoder"
    number = 0
    best = "val/loss"
    means: ValidationMeans  # of the last validation

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings.optimizer
        self.network = build_autoencoder(settings)
        self.values = math.prod(self.network.image_shape)  # C * H * W
        self.latent_values = math.prod(self.network.latent_shape)
        self.kl_weight = settings.objective.beta * settings.objective.kld_weight
        self.implied_sigma = objective.implied_sigma(self.kl_weight, self.values)
        self.elbo_sigma = objective.implied_sigma(settings.objective.kld_weight, self.values)
        variational = self.network.variational
        self.step_figures = ("loss", "mse", "kl", "elbo") if variational else ("loss", "mse")
        both = [f"{side}/{figure}" for side in ("train", "val") for figure in self.step_figures]
        sigmas = ("sigma/residual", "sigma/implied") if variational else ("sigma/residual",)
        self.figures = (*both, "val/active_units", *sigmas, "lr")

    def optimizer(self, fused: bool) -> torch.optim.Adam:
        lr, decay = self.settings.lr, self.settings.weight_decay
        return torch.optim.Adam(self.network.parameters(), lr, weight_decay=decay, fused=fused)

    def learning_rate(self, epoch: int) -> float:
        """Returns lr * lr_decay^epoch."""
        return self.settings.lr * self.settings.lr_decay**epoch

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the loss of `batch`, and its loss, mse and, of a variational autoencoder, kl and elbo."""
        x = normalise(batch.pixels)
        recon, mu, log_var = self.network(x)
        if log_var is None:
            terms = objective.autoencoder_loss(recon, x)
            return terms.loss, torch.stack([terms.loss, terms.mse]).detach()
        terms = objective.vae_loss(recon, x, mu, log_var, self.kl_weight)
        kl = terms.kl.mean()
        elbo = objective.elbo(terms.mse, kl, self.elbo_sigma, self.values)
        return terms.loss, torch.stack([terms.loss, terms.mse, kl, elbo]).detach()

    def start_validation(self, device: torch.device, seed: int) -> None:
        """Begins a validation with the noise of every other one, so that curves differ by the model alone."""
        self.sums = ValidationSums(self.latent_values, device)
        self.latents: list[tuple[Tensor, Tensor | None]] = []
        self.noise = torch.Generator(device).manual_seed(seed)

    def validate(self, batch: Batch) -> None:
        x = normalise(batch.pixels)
        recon, mu, log_var = self.network(x, self.noise)
        self.sums.add(x, recon, mu, log_var)
        if sum(len(mu) for mu, _ in self.latents) < SHOWN_LATENTS:
            self.latents.append((mu, log_var))

    def end_validation(self, add_up: Callable[[Tensor], Tensor]) -> dict[str, float]:
        self.means = means = self.sums.means(add_up)
        figures = {"val/loss": means.mse, "val/mse": means.mse, "sigma/residual": math.sqrt(means.mse)}
        if self.network.variational:
            kl = float(means.kl_per_dimension.sum())
            figures["val/loss"] += self.kl_weight * kl
            figures["val/kl"] = kl
            figures["val/elbo"] = objective.elbo(means.mse, kl, self.elbo_sigma, self.values)
            figures["sigma/implied"] = self.implied_sigma
        return figures | {"val/active_units": float(means.active_units)}

    def faults(self) -> dict[str, str]:
        units, active, found = self.latent_values, self.means.active_units, {}
        if self.network.variational and active <= FEW_UNITS * units:
            found["collapse"] = (
                f"the posterior has collapsed: {active} of {units} latent units are active, so that the decoder "
                "ignores z and all samples look alike. Lower --objective.kld_weight or --objective.beta."
            )
        elif self.means.varied <= LITTLE_VARIANCE:
            found["dead decoder"] = (
                "the decoder is dead: it draws nearly the same picture whatever z is. Lower --optimizer.lr, or take "
                "another --seed."
            )
        return found

    def pictures(self, originals: Tensor, columns: int) -> dict[str, Tensor]:
        """Returns the originals above their reconstructions, and samples from the same z each time."""
        recon = denormalise(latents.reconstruct(self.network, normalise(originals)))
        pictures = {"reconstructions": interleave_rows(originals, recon, columns)}
        if self.network.variational:
            pictures["samples"] = denormalise(torch.cat(list(sample(self.network, SAMPLES, SAMPLES_SEED))))
            pictures["traversal"] = denormalise(latents.decode(self.network, self.traversal(columns)))
        return pictures

    def traversal(self, steps: int) -> Tensor:
        """Returns latents (rows * steps, *latent): zero, but for one dimension a row that goes from -REACH to REACH."""
        dims = choose_dims(f"top{TRAVERSED}", self.means.kl_per_dimension)
        return traverse(torch.zeros(self.network.latent_shape), dims, REACH, steps).flatten(0, 1)

    def histograms(self) -> dict[str, Tensor]:
        """Returns the nats of each latent dimension over the last validation, and mu and sigma of its first images."""
        assert self.means is not None, "after a validation"
        mu = torch.cat([mu for mu, _ in self.latents])[:SHOWN_LATENTS].flatten()
        if not self.network.variational:
            return {"mu": mu}
        log_var = torch.cat([log_var for _, log_var in self.latents])[:SHOWN_LATENTS].flatten()
        return {"kl_per_dimension": self.means.kl_per_dimension, "mu": mu, "sigma": torch.exp(0.5 * log_var)}

    def describe(self) -> dict[str, str]:
        """Returns the network's shapes and what the weight of the KL term says about pixels."""
        image, latent = ("x".join(map(str, shape)) for shape in (self.network.image_shape, self.network.latent_shape))
        shapes = f"{image} -> {latent} -> {image}, {self.network.parameter_count():,} parameters"
        if not self.network.variational:
            return {"model": f"autoencoder, {shapes}"}
        noise = f"beta * kld_weight = {self.kl_weight:g} takes pixels, which span [-1, 1], to have noise"
        noise += f" sigma = {self.implied_sigma:.2f} (compare sigma/residual)"
        return {"model": f"VAE, {shapes}", "noise": noise}
