"""Stops a run that has gone wrong, and warns of a model that is about to."""

import pytorch_lightning as pl

from vae_simpsons.errors import VAEError
from vae_simpsons.progress import warn
from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.stage import StageModule

EPOCHS = 3  # in a row that show a fault before it is reported: the first steps of many a good run look collapsed


class Health(pl.Callback):
    """Stops a run whose loss is not finite, before anything of it is saved, and warns of a model that goes bad."""

    def __init__(self) -> None:
        self.known_bad = 0
        self.epochs: dict[str, int] = {}  # how many epochs in a row have shown each fault

    def on_train_batch_start(self, trainer: StageTrainer, module: StageModule, *args: object) -> None:
        """Checks where that costs nothing: on a CPU at every step, on a GPU when figures are read anyway."""
        if module.device.type == "cpu" or trainer.global_step % trainer.log_every_n_steps == 0:
            self.check(trainer, module)

    def on_validation_start(self, trainer: StageTrainer, module: StageModule) -> None:
        self.check(trainer, module)  # before a whole epoch counts

    def check(self, trainer: StageTrainer, module: StageModule) -> None:
        """Ends a run that has had a step that was not finite or, if it leaves such steps out, no other step."""
        guard = module.guard
        bad, steps = int(guard.bad), int(guard.steps)
        if bad == self.known_bad:
            return
        first = trainer.global_step - steps + int(guard.first_bad)
        if not guard.skip:
            raise VAEError(f"step {first} (epoch {trainer.current_epoch + 1}): {explain_fault(module)}")
        if bad == steps:
            raise VAEError(f"every step since step {first} was left out: {explain_fault(module)}")
        if trainer.is_global_zero:
            warn(f"by step {trainer.global_step}, {bad} steps were left out: their loss or gradient was not finite.")
        self.known_bad = bad

    def on_validation_end(self, trainer: StageTrainer, module: StageModule) -> None:
        """Warns of a fault that several epochs in a row have shown."""
        faults = module.stage.faults()
        self.epochs = {name: self.epochs.get(name, 0) + 1 for name in faults}
        for name, text in faults.items():
            if self.epochs[name] == EPOCHS and trainer.is_global_zero:
                warn(text)


def explain_fault(module: StageModule) -> str:
    """Returns what is not finite, the likely cause, and what to change."""
    settings = module.settings.trainer
    cause = f"likely the learning rate ({float(module.adam.param_groups[0]['lr']):.3g}) is too large"
    if settings.precision == "16-mixed":
        cause = "likely float16, which ends at 65,504, is too small (bf16-mixed is not)"
    again = f"Start again with --{module.stage.lr_name} {module.stage.lr / 5:g}"
    if module.stage.clip is None:
        again += ", or resume from the last checkpoint with --trainer.gradient_clip_val 1"
    return (
        f"the loss or its gradient is not finite; {cause}. Nothing of it reached the weights or a checkpoint. "
        f"{again}, or with --trainer.on_nonfinite skip."
    )
