"""What is wrong with a run, said while something can be done: numbers that are not finite, a posterior that collapses.

A loss or gradient that is not finite is seen before the optimizer's step and kept from the weights, on the device and
without waiting for it: Adam's kernel leaves a step out where its `found_inf` says so, as loss scaling has it do.
"""

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vae_simpsons.errors import VAEError
from vae_simpsons.progress import warn

EPOCHS = 3  # in a row that show a fault before it is said: the first steps of many a good run look collapsed
FEW_UNITS = 0.02  # share of the latent units that are active, below which the posterior has collapsed
LITTLE_VARIANCE = 1e-3  # of the reconstructions, as a share of the images' own, below which the decoder is dead


class Guard(nn.Module):
    """Counts the steps whose loss or gradient is not finite, and keeps them from the weights.

    Args:
        network: whose gradients are watched.
        skip: leave such steps out and go on; else everything after the first one is left out too, until it is noticed.
    """

    def __init__(self, network: nn.Module, skip: bool) -> None:
        super().__init__()
        self.watched = [network]  # in a list: its weights are not this module's
        self.skip = skip
        self.statistics: list[Tensor] = []
        for name in ("steps", "bad", "first_bad"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long), persistent=False)

    def before_step(self) -> None:
        """Remember BatchNorm's statistics, which the forward pass changes, bad or not."""
        if self.skip:
            self.statistics = [buffer.clone() for buffer in self.watched[0].buffers()]

    def before_optimizer(self, adam: torch.optim.Optimizer, loss: Tensor, scaled: bool, alone: bool) -> Tensor:
        """Have `adam` leave this step out if it is bad; the norm of its gradient, ().

        Args:
            loss: the batch's, ().
            scaled: gradients are scaled and looked at by Lightning's loss scaling.
            alone: no other process has a part in the gradient; all of them must come to the same decision.
        """
        gradients = [p.grad for p in self.watched[0].parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        finite = loss.isfinite() if scaled else norm.isfinite() & loss.isfinite() if alone else norm.isfinite()
        self.steps += 1
        self.first_bad.copy_(torch.where(~finite & (self.bad == 0), self.steps, self.first_bad))
        self.bad += ~finite
        leave_out = ~finite if self.skip else self.bad > 0
        for buffer, before in zip(self.watched[0].buffers(), self.statistics, strict=False):
            buffer.copy_(torch.where(leave_out, before, buffer))
        if adam.param_groups[0]["fused"]:
            adam.found_inf = leave_out.float()
        elif not scaled and leave_out:
            adam.zero_grad(set_to_none=True)
        return norm


class Health(pl.Callback):
    """Stops a run that has gone bad, before anything of it is saved, and warns of one that is about to."""

    def __init__(self) -> None:
        self.known_bad = 0
        self.epochs: dict[str, int] = {}  # how long each fault has been seen

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *args: object) -> None:
        """Look, where it costs nothing: on a CPU at every step, elsewhere when figures are read anyway."""
        if module.device.type == "cpu" or trainer.global_step % trainer.log_every_n_steps == 0:
            self.look(trainer, module)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Look, before a whole epoch is taken for good."""
        self.look(trainer, module)

    def look(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """See whether there were bad steps.

        Raises:
            VAEError: there was one, and the run is to stop; or a whole epoch of them.
        """
        bad = int(module.guard.bad)
        if bad == self.known_bad:
            return
        first = trainer.global_step - int(module.guard.steps) + int(module.guard.first_bad)
        if not module.guard.skip:
            raise VAEError(f"step {first} (epoch {trainer.current_epoch + 1}): {fault(trainer, module)}")
        if bad == int(module.guard.steps):
            raise VAEError(f"every step since step {first} was left out: {fault(trainer, module)}")
        if trainer.is_global_zero:
            warn(f"by step {trainer.global_step}, {bad} steps were left out: their loss or gradient was not finite.")
        self.known_bad = bad

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Warn of a fault that several epochs in a row have shown."""
        for name, text in faults(module).items():
            self.epochs[name] = self.epochs.get(name, 0) + 1 if text else 0
            if text and self.epochs[name] == EPOCHS and trainer.is_global_zero:
                warn(text)


def fault(trainer: pl.Trainer, module: pl.LightningModule) -> str:
    """What is not finite, the likely cause, and what to change."""
    settings = module.config.trainer
    lr = float(module.optimizers(use_pl_optimizer=False).param_groups[0]["lr"])
    if not all(bool(p.isfinite().all()) for p in module.network.parameters()):
        return "the weights themselves are not finite. The checkpoint gone on from is bad: take another, say best.ckpt."
    cause = f"likely the learning rate ({lr:.3g}) is too large"
    if settings.precision == "16-mixed":
        cause = "likely float16, which ends at 65,504, is too small (bf16-mixed is not)"
    again = f"Start again with --optimizer.lr {module.config.optimizer.lr / 5:g}"
    clip = (
        "" if settings.gradient_clip_val else ", or go on from the last checkpoint with --trainer.gradient_clip_val 1"
    )
    return (
        f"the loss or its gradient is not finite; {cause}. Nothing of it reached the weights or a checkpoint. "
        f"{again}{clip}, or with --trainer.on_nonfinite skip."
    )


def faults(module: pl.LightningModule) -> dict[str, str | None]:
    """By name what may be wrong with the model, in words; None where the last validation does not show it."""
    units, active = module.network.latent_dim, module.active_units
    collapsed = module.network.variational and active <= FEW_UNITS * units
    dead = module.varied <= LITTLE_VARIANCE and not collapsed
    return {
        "collapse": f"the posterior has collapsed: {active} of {units} latent units are active, so that the decoder "
        "ignores z and all samples look alike. Lower --objective.kld_weight or --objective.beta."
        if collapsed
        else None,
        "dead decoder": "the decoder is dead: it draws nearly the same picture whatever z is. Lower --optimizer.lr, or "
        "take another --seed."
        if dead
        else None,
    }
