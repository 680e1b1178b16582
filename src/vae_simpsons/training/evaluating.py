"""The evaluation's quick figures during training: every few epochs, as curves.

The checkpoint of the epoch comes first: it never waits for figures. So a run may be killed in between, and measures
them again when it resumes. Their points are at the step after the epoch's last one, which is where a run resumed from
the end of the epoch begins: there TensorBoard forgets them, and they are logged anew.
"""

import math
import re
from typing import Any

import pytorch_lightning as pl
import torch

from vae_simpsons.data.dataset import Dataset
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.files import read_csv
from vae_simpsons.models import Autoencoder
from vae_simpsons.progress import no_progress, warn
from vae_simpsons.settings import Settings
from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.runfolder import Run
from vae_simpsons.training.stage import StageModule, in_eval_mode
from vae_simpsons.training.table import write_table

NOT_IN_TAGS = r"[^\w.-]+"  # what TensorBoard does not take in the name of a curve


class QuickFigures(pl.Callback):
    """Measures the evaluation's quick figures every few epochs; comes after the callback that saves."""

    def __init__(self, run: Run) -> None:
        self.settings, self.path, self.attempts = run.settings, run.folder.evaluations, run.attempts
        self.rows: list[dict[str, Any]] = []
        self.warned: set[str] = set()

    def on_train_start(self, trainer: StageTrainer, module: StageModule) -> None:
        """Drops the figures of epochs that will be trained again; makes up for those of the epoch just resumed from."""
        done = trainer.current_epoch
        if trainer.is_global_zero and self.path.exists():
            self.rows = [row for row in read_csv(self.path) if int(row["epoch"]) <= done]
        if trainer.is_global_zero and done and not module.resumes_within_epoch and is_due(self.settings, done):
            known = next((row for row in self.rows if int(row["epoch"]) == done), None)
            self.add_points(trainer, known or self.measure(trainer, module, done))

    def on_train_epoch_end(self, trainer: StageTrainer, module: StageModule) -> None:
        """Measures and logs, if it is time."""
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero and is_due(self.settings, epoch):
            self.add_points(trainer, self.measure(trainer, module, epoch))

    def measure(self, trainer: StageTrainer, module: StageModule, epoch: int) -> dict[str, Any]:
        """Returns the row of an epoch, which the table has then."""
        network = module.stage.final
        devices = [module.device] if module.device.type == "cuda" else []
        with in_eval_mode(network), torch.random.fork_rng(devices):  # the run's own random numbers stay as they are
            figures = self.figures(network, trainer.datamodule.dataset)
        row = {"epoch": epoch, "step": trainer.global_step} | {k: f"{v:.8g}" for k, v in figures.items()}
        self.rows = [other for other in self.rows if int(other["epoch"]) != epoch] + [row]
        self.attempts(str(self.path), write_table, self.path, self.rows)
        return row

    def figures(self, network: Autoencoder, dataset: Dataset) -> dict[str, float]:
        """Returns the quick figures by name; what cannot be measured is warned of once, and training goes on."""
        try:
            evaluation = evaluate_quickly(network, self.settings, dataset)
        except VAEError as e:
            self._warn(str(e))
            return {}
        for reason in evaluation.missing:
            self._warn(reason)
        return {
            f"quick_{group}/{re.sub(NOT_IN_TAGS, '_', figure.name)}": figure.value
            for group, figures in evaluation.groups.items()
            for figure in figures
            if math.isfinite(figure.value)
        }

    def add_points(self, trainer: StageTrainer, row: dict[str, Any]) -> None:
        """Adds a point to each curve."""
        figures = {name: float(text) for name, text in row.items() if name not in ("epoch", "step") and text != ""}
        trainer.logger.log_metrics(figures, step=trainer.global_step)

    def _warn(self, reason: str) -> None:
        if reason not in self.warned:
            warn(f"trainer.evaluate_every: not measured: {reason}")
        self.warned.add(reason)


def evaluate_quickly(network: Autoencoder, settings: Settings, dataset: Dataset) -> Evaluation:
    """Returns what `vae evaluate --quick` measures."""
    # Here: a run without figures starts without their libraries.
    from vae_simpsons.evaluation.evaluate import evaluate
    from vae_simpsons.evaluation.groups.subject import Asked

    return evaluate(network, settings, dataset, no_progress, Asked(quick=True))


def is_due(settings: Settings, epoch: int) -> bool:
    """Whether figures are measured after `epoch`, counted from 1."""
    every = settings.trainer.evaluate_every
    return every is not None and epoch % every == 0
