"""The first stage: the autoencoder, variational or plain."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vae_simpsons import objective
from vae_simpsons.checkpoint import AVERAGE, NETWORK
from vae_simpsons.data.batches import Batch
from vae_simpsons.evaluation.sums import ValidationMeans, ValidationSums
from vae_simpsons.images import denormalise, interleave_rows, normalise
from vae_simpsons.inference import latents
from vae_simpsons.inference.sample import sample
from vae_simpsons.inference.traverse import choose_dims, traverse
from vae_simpsons.models import Autoencoder, build_autoencoder
from vae_simpsons.objective import Objective
from vae_simpsons.settings import Settings
from vae_simpsons.training import schedule
from vae_simpsons.training.muon import Muon
from vae_simpsons.training.stages.base import Stage

SAMPLES = 64  # shown after each epoch
TRAVERSED = 8  # latent dimensions, those with the largest KL, a row each
REACH = 3.0  # standard deviations of the prior that they are moved to either side
SHOWN_LATENTS = 512  # validation images, the first, whose mu and sigma the histograms show
SAMPLES_SEED = 0  # of the z that every epoch's samples are decoded from
FEW_UNITS = 0.02  # share of the latent dimensions that are active, below which the posterior has collapsed
LITTLE_VARIANCE = 1e-3  # of the reconstructions, as a share of the images' own, below which the decoder is dead


class AutoencoderStage(Stage[Autoencoder]):
    """Trains encoder and decoder on the loss that `objective` describes, or on the squared error alone.

    Figures, of training and validation alike: loss, mse, kl (nats an image), elbo (nats an image, at beta 1 and the
    pixel noise that the loss assumes, fits or learns). Of validation also the active units, and the noise that is
    really left (sigma/residual) beside the noise that the loss assumes or has learned (sigma/implied).
    """

    name = "autoencoder"
    number = 0
    prefix, average_prefix, in_files = NETWORK, AVERAGE, ""
    best = "val/loss"
    lr_name = "optimizer.lr"
    means: ValidationMeans  # of the last validation
    kl_share: Tensor  # of the KL term's weight, in warm-up

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.network = build_autoencoder(settings)
        self.latent_values = math.prod(self.network.latent_shape)
        self.objective = Objective(settings.objective, math.prod(self.network.image_shape))
        self.epochs, self.batch_size = settings.trainer.max_epochs, settings.data.batch_size
        self.ema, self.clip = settings.optimizer.ema, settings.trainer.gradient_clip_val
        self.lr, self.horizontal_flip = settings.optimizer.lr, settings.data.horizontal_flip
        self.register_buffer("kl_share", torch.ones(()), persistent=False)
        variational = self.network.variational
        self.step_figures = ("loss", "mse", "kl", "elbo") if variational else ("loss", "mse")
        both = [f"{side}/{figure}" for side in ("train", "val") for figure in self.step_figures]
        optimal = settings.objective.sigma == "optimal"
        sigmas = ("sigma/residual", "sigma/implied") if variational and not optimal else ("sigma/residual",)
        self.figures = (*both, "val/active_units", *sigmas, "train/lr")

    def optimizer(self, fused: bool) -> torch.optim.Optimizer:
        chosen = self.settings.optimizer
        if chosen.kind == "muon":
            return Muon(self.network, chosen.lr, (0.9, chosen.beta2), chosen.weight_decay, fused)
        kind = torch.optim.AdamW if chosen.kind == "adamw" else torch.optim.Adam
        return kind(
            self.network.parameters(),
            chosen.lr,
            betas=(0.9, chosen.beta2),
            weight_decay=chosen.weight_decay,
            fused=fused,
        )

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        return schedule.learning_rate(self.settings.optimizer, step, steps_per_epoch, self.epochs)

    def prepare_step(self, step: int, steps_per_epoch: int) -> None:
        if warmup := self.settings.objective.warmup_epochs:
            self.kl_share.fill_(schedule.kl_share(warmup, step, steps_per_epoch))

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the loss of `batch`, and its loss, mse and, of a variational autoencoder, kl and elbo."""
        x = normalise(batch.inputs)
        recon, mu, log_var = self.network(x)
        mse = objective.mean_squared_error(recon, x)
        if log_var is None:
            return mse, torch.stack([mse, mse]).detach()
        kl = objective.kl_per_dimension(mu, log_var).flatten(1).mean(0)
        terms = self.objective.terms(mse, kl, self.kl_share, self.network.log_sigma)
        return terms.loss, torch.stack(terms).detach()

    def start_validation(self, device: torch.device, seed: int) -> None:
        """Begins a validation with the noise of every other one, so that curves differ by the model alone."""
        self.sums = ValidationSums(self.latent_values, device)
        self.latents: list[tuple[Tensor, Tensor | None]] = []
        self.noise = torch.Generator(device).manual_seed(seed)

    def validate(self, batch: Batch) -> None:
        x = normalise(batch.inputs)
        recon, mu, log_var = self.final(x, self.noise)
        self.sums.add(x, recon, mu, log_var)
        if sum(len(mu) for mu, _ in self.latents) < SHOWN_LATENTS:
            self.latents.append((mu, log_var))

    def end_validation(self, add_up: Callable[[Tensor], Tensor]) -> dict[str, float]:
        self.means = means = self.sums.means(add_up)
        figures = {"val/loss": means.mse, "val/mse": means.mse, "sigma/residual": math.sqrt(means.mse)}
        if self.network.variational:
            noise = self.final.log_sigma
            sigma = self.final.learned_sigma or self.objective.implied_sigma()
            log_sigma = None if noise is None else noise.detach().double().cpu()
            terms = self.objective.terms(torch.tensor(means.mse).double(), means.kl_per_dimension, 1.0, log_sigma)
            figures |= {"val/loss": float(terms.loss), "val/kl": float(terms.kl), "val/elbo": float(terms.elbo)}
            figures |= {} if sigma is None else {"sigma/implied": sigma}
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
        recon = denormalise(latents.reconstruct(self.final, normalise(originals)))
        pictures = {"reconstructions": interleave_rows(originals, recon, columns)}
        if self.network.variational and self.settings.prior.kind == "normal":  # any other prior is fitted later
            pictures["samples"] = denormalise(torch.cat(list(sample(self.final, SAMPLES, SAMPLES_SEED))))
        if self.network.variational:
            # Zero, but for one dimension a row that goes from -REACH to REACH.
            dims = choose_dims(f"top{TRAVERSED}", self.means.kl_per_dimension)
            z = traverse(torch.zeros(self.network.latent_shape), dims, REACH, columns).flatten(0, 1)
            pictures["traversal"] = denormalise(latents.decode(self.final, z))
        return pictures

    def histograms(self) -> dict[str, Tensor]:
        """Returns the nats of each latent dimension over the last validation, and mu and sigma of its first images."""
        assert self.means is not None, "after a validation"
        mu = torch.cat([mu for mu, _ in self.latents])[:SHOWN_LATENTS].flatten()
        if not self.network.variational:
            return {"mu": mu}
        log_var = torch.cat([log_var for _, log_var in self.latents if log_var is not None])[:SHOWN_LATENTS].flatten()
        return {"kl_per_dimension": self.means.kl_per_dimension, "mu": mu, "sigma": torch.exp(0.5 * log_var)}

    def describe(self) -> dict[str, str]:
        """Returns the network's shapes and what the loss says about pixels."""
        image, latent = ("x".join(map(str, shape)) for shape in (self.network.image_shape, self.network.latent_shape))
        shapes = f"{image} -> {latent} -> {image}, {self.network.parameter_count():,} parameters"
        if not self.network.variational:
            return {"model": f"autoencoder, {shapes}"}
        return {"model": f"VAE, {shapes}", "noise": self.noise_in_words()}

    def noise_in_words(self) -> str:
        """Returns what the loss says about the noise of a pixel."""
        sigma, chosen = self.objective.implied_sigma(), self.settings.objective
        if chosen.sigma == "learned":
            return "the noise of a pixel is learned with the weights (sigma/implied)"
        if sigma is None:
            return "the noise of a pixel is what is left of it in each batch: sigma^2 = mse (sigma/residual)"
        given = (
            f"sigma {chosen.sigma:g}" if chosen.sigma else f"beta * kld_weight = {chosen.beta * chosen.kld_weight:g}"
        )
        return f"{given} takes pixels, which span [-1, 1], to have noise sigma = {sigma:.2f} (compare sigma/residual)"
