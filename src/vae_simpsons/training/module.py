"""The LightningModule: what a step of training and of validation computes, and what is logged of it."""

import copy
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from vae_simpsons import checkpoint, objective
from vae_simpsons.data.batches import Batch
from vae_simpsons.errors import VAEError
from vae_simpsons.images import normalise
from vae_simpsons.settings import Settings
from vae_simpsons.training.health import Guard

TRAIN_FIGURES = ("train/loss", "train/mse", "train/kl", "train/elbo")
ACTIVE_VARIANCE = 0.01  # a latent unit is active where Var_x(E[z|x]) >= 0.01 (Burda et al., arXiv 1509.00519, Sec. 5.2)


class VAEModule(pl.LightningModule):
    """The network with its objective and its optimizer.

    Logs, for `train` and `val` alike: loss, mse, kl (nats an image), elbo (nats an image, at beta 1 and the pixel
    noise that kld_weight implies); and the learning rate, active units, the real residual sigma beside the implied.

    Attributes:
        network: the ConvVAE.
        kl_weight: beta * kld_weight.
        elbo_sigma: pixel noise of the ELBO that is logged.
        kl_per_dimension: nats of each latent dimension over the last validation, (latent_dim,).
        steps_done: how many steps of the current epoch are behind.
        totals: the sums over them of what `train_figures` names, and how many of them were finite.
        guard: keeps what is not finite from the weights.
        active_units: latent units that the last validation found active.
        varied: how much its reconstructions vary from image to image, as a share of the images' own variance.
    """

    def __init__(self, config: Settings) -> None:
        super().__init__()
        self.config = config
        self.network = checkpoint.build_network(config)
        self.values = int(np.prod(self.network.shape))  # C * H * W
        self.kl_weight = config.objective.beta * config.objective.kld_weight
        self.elbo_sigma = objective.implied_sigma(config.objective.kld_weight, self.values)
        self.kl_per_dimension: Tensor | None = None
        self.train_figures = train_figures(config)
        self.steps_done = 0
        self.register_buffer("totals", torch.zeros(len(self.train_figures) + 1), persistent=False)
        self.guard = Guard(self.network, skip=config.trainer.on_nonfinite == "skip")
        self.interrupted: dict[str, Any] | None = None  # what a checkpoint says of the epoch that it was taken in

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam, its learning rate multiplied by lr_decay after each epoch."""
        settings = self.config.optimizer
        adam = torch.optim.Adam(
            self.network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=self.fused
        )
        return {"optimizer": adam, "lr_scheduler": torch.optim.lr_scheduler.ExponentialLR(adam, settings.lr_decay)}

    def terms(self, recon: Tensor, x: Tensor, mu: Tensor, log_var: Tensor | None) -> objective.Terms:
        """The loss of a batch and its parts, by the objective that the config selects."""
        if log_var is None:
            return objective.autoencoder_loss(recon, x)
        return objective.vae_loss(recon, x, mu, log_var, self.kl_weight)

    def on_train_epoch_start(self) -> None:
        """Seed the epoch's noise by epoch and process; go on where an interrupted epoch was."""
        stream = np.random.SeedSequence([self.config.seed, self.current_epoch, self.global_rank])
        torch.manual_seed(int(stream.generate_state(1, np.uint64)[0]))
        self.steps_done = 0
        self.totals.zero_()
        if self.interrupted is not None:
            self.steps_done = self.interrupted["steps"]
            self.totals.copy_(self.interrupted["totals"][self.global_rank])
            state = self.interrupted["random"][self.global_rank]
            set_random_state(state.clone(), self.device)  # torch reads a view from where its storage begins
            self.interrupted = None
        self.log("lr", self.optimizers().param_groups[0]["lr"], on_step=False, on_epoch=True, logger=False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        self.guard.before_step()
        loss, figures = self.terms_of(batch.pixels)
        self.add(figures)
        self.last_loss = figures[0]
        self.after_steps(self.last_loss, 1)
        return loss

    def add(self, figures: Tensor) -> None:
        """Add a batch's train_figures to the epoch's, if they are finite."""
        counted = torch.cat([figures, figures.new_ones(1)])
        self.totals += torch.where(figures.isfinite().all(), counted, torch.zeros_like(counted))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep from the weights what is not finite."""
        scaled = self.config.trainer.precision == "16-mixed"
        self.guard.before_optimizer(optimizer, self.last_loss, scaled, alone=self.trainer.world_size == 1)

    def terms_of(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (), to be differentiated, of uint8 pixels (B, C, H, W); and the batch's train_figures."""
        x = normalise(pixels)
        recon, mu, log_var = self.network(x)
        loss, mse, kl = self.terms(recon, x, mu, log_var)
        figures = [loss, mse]
        if log_var is not None:
            kl = kl.mean()
            figures += [kl, objective.elbo(mse, kl, self.elbo_sigma, self.values)]
        return loss, torch.stack(figures).detach()

    def after_steps(self, last_loss: Tensor, steps: int) -> None:
        """Count `steps` and log the last one's loss, and at the epoch's end the means; the device is not waited for."""
        self.steps_done += steps
        self.log("train/loss_step", last_loss, on_step=True, on_epoch=False, batch_size=1)
        if self.trainer.is_last_batch:
            *sums, finite = self.totals
            means = {name: total / finite for name, total in zip(self.train_figures, sums, strict=True)}
            self.log_dict(means, on_step=False, on_epoch=True, sync_dist=True, batch_size=1, logger=False)

    def on_validation_epoch_start(self) -> None:
        """Empty sums, and the same posterior noise as in every other validation: curves differ by the model alone."""
        self.sums = ValidationSums(self.network.latent_dim, self.device)
        self.variances = torch.zeros(2, device=self.device)
        self.noise = torch.Generator(self.device).manual_seed(self.config.seed + self.global_rank)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the validation's sums, through one z drawn for each image."""
        x = normalise(batch.pixels)
        recon, mu, log_var = self.network(x, self.noise)
        self.sums.add(objective.mean_squared_error(recon, x), mu, log_var)
        self.variances += torch.stack([recon.float().var(0).mean(), x.var(0).mean()]) * len(x)

    def on_validation_epoch_end(self) -> None:
        """Log the means over every validation image, of all processes."""
        mse, kl_per_dimension, self.active_units = self.sums.means(self.trainer.strategy.reduce)
        recon_variance, variance = self.variances.tolist()
        self.varied = recon_variance / max(variance, 1e-12)
        if not (np.isfinite(mse) and kl_per_dimension.isfinite().all()):
            raise VAEError(
                f"epoch {self.current_epoch + 1}: val/loss is not finite, though the loss of its steps was; likely "
                "BatchNorm's statistics are not. Nothing of it is saved. Go on from an older checkpoint, or start "
                f"again with --optimizer.lr {self.config.optimizer.lr / 5:g}."
            )
        active = self.active_units
        logged = {"val/loss": mse, "val/mse": mse, "sigma/residual": mse**0.5, "val/active_units": active}
        if self.network.variational:
            kl = float(kl_per_dimension.sum())
            logged |= {
                "val/loss": mse + self.kl_weight * kl,
                "val/kl": kl,
                "val/elbo": objective.elbo(mse, kl, self.elbo_sigma, self.values),
                "sigma/implied": objective.implied_sigma(self.kl_weight, self.values),
            }
            self.kl_per_dimension = kl_per_dimension
        self.log_dict({name: float(value) for name, value in logged.items()}, logger=False)

    def on_save_checkpoint(self, payload: dict[str, Any]) -> None:
        """Make Lightning's checkpoint one of this project: with its config, format and place in the run."""
        epochs = self.trainer.fit_loop.epoch_progress.current.processed
        checkpoint.stamp(payload, self.config, epochs)
        whole = self.steps_done >= self.trainer.datamodule.steps_per_epoch
        payload["interrupted"] = None if whole else self.place_in_epoch()
        payload["loops"] = {"fit_loop": loops_after(payload["loops"]["fit_loop"], epochs, payload["global_step"])}
        for group in payload["optimizer_states"][0]["param_groups"]:
            group |= {"lr": float(group["lr"]), "capturable": False}  # numbers, as every engine reads them
        for schedule in payload["lr_schedulers"]:
            schedule["_last_lr"] = [float(lr) for lr in schedule["_last_lr"]]

    def place_in_epoch(self) -> dict[str, Any]:
        """What a run needs to go on in the middle of an epoch; its order of images follows from seed and epoch."""

        def of_each_process(tensor: Tensor) -> Tensor:
            alone = self.trainer.world_size == 1
            return tensor[None] if alone else self.all_gather(tensor.to(self.device))

        totals, random = of_each_process(self.totals), of_each_process(random_state(self.device))
        return {"steps": self.steps_done, "totals": totals, "random": random.cpu()}

    def on_load_checkpoint(self, payload: dict[str, Any]) -> None:
        """Take up the place in the epoch; and let the run go on with another engine."""
        self.interrupted = payload["interrupted"]
        for group in payload["optimizer_states"][0]["param_groups"]:
            group["fused"] = self.fused

    @property
    def fused(self) -> bool:
        """Whether Adam runs as one kernel for all weights; Lightning refuses that under loss scaling."""
        return self.device.type in ("cpu", "cuda") and self.config.trainer.precision != "16-mixed"


def train_figures(config: Settings) -> tuple[str, ...]:
    """The names of what is added up over an epoch's steps; an autoencoder has no KL."""
    return TRAIN_FIGURES if config.model.variational else TRAIN_FIGURES[:2]


def loops_after(fit_loop: dict[str, Any], epochs: int, steps: int) -> dict[str, Any]:
    """The state of Lightning's `fit_loop` as it is between epochs, after `epochs` of them and `steps` optimizer steps.

    The batches of an interrupted epoch that are left are an epoch of their own to Lightning. It counts the steps of
    automatic and of manual optimization apart; a run may go on with either.
    """
    stages = ("ready", "started", "processed", "completed")
    stepped = {"ready": steps, "completed": steps}
    fit_loop = copy.deepcopy(fit_loop)
    for name, count in (("epoch_progress", epochs), ("epoch_loop.batch_progress", steps)):
        fit_loop[name] |= {"total": dict.fromkeys(stages, count), "current": dict.fromkeys(stages, count)}
    fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] = steps
    fit_loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"] = dict(stepped)
    fit_loop["epoch_loop.manual_optimization.optim_step_progress"]["total"] = dict(stepped)
    return fit_loop


def random_state(device: torch.device) -> Tensor:
    """The state of the generator that `device` draws from, uint8 (n,)."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_random_state(state: Tensor, device: torch.device) -> None:
    """Go on drawing from `state`; of another kind of device it says nothing, and the epoch's seed stands."""
    if state.shape == random_state(device).shape:
        torch.cuda.set_rng_state(state, device) if device.type == "cuda" else torch.set_rng_state(state)


class ValidationSums:
    """What a validation adds up over its images, on the device, read once at its end."""

    def __init__(self, latent_dim: int, device: torch.device) -> None:
        self.images = torch.zeros(1, device=device)
        self.squared_error = torch.zeros(1, device=device)  # of each image's mean
        self.mu = torch.zeros(latent_dim, device=device)
        self.mu_squared = torch.zeros(latent_dim, device=device)
        self.kl = torch.zeros(latent_dim, device=device)

    def add(self, mse: Tensor, mu: Tensor, log_var: Tensor | None) -> None:
        """Add a batch: its mean squared error (), mu and log_var (B, latent_dim)."""
        self.images += len(mu)
        self.squared_error += mse * len(mu)
        self.mu += mu.sum(0)
        self.mu_squared += mu.square().sum(0)
        if log_var is not None:
            self.kl += objective.kl_per_dimension(mu, log_var).sum(0)

    def means(self, reduce: Any) -> tuple[float, Tensor, int]:
        """The mean squared error, the KL of each latent dimension in nats, and the number of active units.

        Args:
            reduce: adds a tensor up over the processes.
        """
        parts = [self.images, self.squared_error, self.mu, self.mu_squared, self.kl]
        total = reduce(torch.cat(parts), reduce_op="sum").double().cpu()
        images, squared_error, mu, mu_squared, kl = total.split([len(p) for p in parts])
        variance = mu_squared / images - (mu / images).square()  # Var_x(E[z|x])
        return float(squared_error / images), kl / images, int((variance >= ACTIVE_VARIANCE).sum())
