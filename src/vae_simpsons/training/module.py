"""The LightningModule: what a step of training and of validation computes, and what is logged of it."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from vae_simpsons import checkpoint, objective
from vae_simpsons.config import Config
from vae_simpsons.images import normalise

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
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.network = checkpoint.build_network(config)
        self.values = int(np.prod(self.network.shape))  # C * H * W
        self.kl_weight = config.objective.beta * config.objective.kld_weight
        self.elbo_sigma = objective.implied_sigma(config.objective.kld_weight, self.values)
        self.kl_per_dimension: Tensor | None = None

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
        """Seed the epoch's noise by epoch and process, so that a resumed run draws what an uninterrupted one would."""
        stream = np.random.SeedSequence([self.config.seed, self.current_epoch, self.global_rank])
        torch.manual_seed(int(stream.generate_state(1, np.uint64)[0]))
        self.log("lr", self.optimizers().param_groups[0]["lr"], on_step=False, on_epoch=True)

    def training_step(self, pixels: Tensor, batch_idx: int) -> Tensor:
        """The loss of uint8 pixels (B, C, H, W)."""
        loss, means = self.terms_of(pixels)
        self.log_step(means, means["train/loss"], len(pixels))
        return loss

    def terms_of(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss (), to be differentiated, of uint8 pixels (B, C, H, W); and what is logged of them, each ()."""
        x = normalise(pixels)
        recon, mu, log_var = self.network(x)
        loss, mse, kl = self.terms(recon, x, mu, log_var)
        means = {"train/loss": loss, "train/mse": mse}
        if log_var is not None:
            kl = kl.mean()
            means |= {"train/kl": kl, "train/elbo": objective.elbo(mse, kl, self.elbo_sigma, self.values)}
        return loss, {name: value.detach() for name, value in means.items()}

    def log_step(self, means: dict[str, Tensor], last_loss: Tensor, images: int) -> None:
        """Log the means over `images` into the epoch's, and the last batch's loss; nothing is read from the device."""
        self.log_dict(means, on_step=False, on_epoch=True, sync_dist=True, batch_size=images)
        self.log("train/loss_step", last_loss, on_step=True, on_epoch=False, batch_size=images)

    def on_validation_epoch_start(self) -> None:
        """Empty sums, and the same posterior noise as in every other validation: curves differ by the model alone."""
        self.sums = ValidationSums(self.network.latent_dim, self.device)
        self.noise = torch.Generator(self.device).manual_seed(self.config.seed + self.global_rank)

    def validation_step(self, pixels: Tensor, batch_idx: int) -> None:
        """Add uint8 pixels (B, C, H, W) to the validation's sums, through one z drawn for each image."""
        x = normalise(pixels)
        recon, mu, log_var = self.network(x, self.noise)
        self.sums.add(objective.mean_squared_error(recon, x), mu, log_var)

    def on_validation_epoch_end(self) -> None:
        """Log the means over every validation image, of all processes."""
        mse, kl_per_dimension, active = self.sums.means(self.trainer.strategy.reduce)
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
        self.log_dict({name: float(value) for name, value in logged.items()})

    def on_save_checkpoint(self, payload: dict[str, Any]) -> None:
        """Make Lightning's checkpoint one of this project: with its config, format and epochs."""
        checkpoint.stamp(payload, self.config, self.trainer.fit_loop.epoch_progress.current.processed)
        for group in payload["optimizer_states"][0]["param_groups"]:
            group |= {"lr": float(group["lr"]), "capturable": False}  # numbers, as every engine reads them
        for schedule in payload["lr_schedulers"]:
            schedule["_last_lr"] = [float(lr) for lr in schedule["_last_lr"]]

    def on_load_checkpoint(self, payload: dict[str, Any]) -> None:
        """Let the run go on with another engine: Lightning counts automatic and manual steps apart."""
        for group in payload["optimizer_states"][0]["param_groups"]:
            group["fused"] = self.fused
        steps = {"ready": payload["global_step"], "completed": payload["global_step"]}
        loops = payload["loops"]["fit_loop"]
        loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]["total"] = dict(steps)
        loops["epoch_loop.manual_optimization.optim_step_progress"]["total"] = dict(steps)

    @property
    def fused(self) -> bool:
        """Whether Adam runs as one kernel for all weights; Lightning refuses that under loss scaling."""
        return self.device.type in ("cpu", "cuda") and self.config.trainer.precision != "16-mixed"


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
