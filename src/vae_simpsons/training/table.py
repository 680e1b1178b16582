"""The figures of each epoch: a row of metrics.csv and a point of each curve."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from vae_simpsons.files import atomic_path, read_csv, write_csv
from vae_simpsons.settings import to_flat
from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.runfolder import Run
from vae_simpsons.training.saving import figures_of
from vae_simpsons.training.stage import StageModule


class MetricsTable(pl.Callback):
    """Writes the figures of each epoch; comes before the callback that saves, so that no saved epoch lacks its row."""

    def __init__(self, run: Run, stage: str) -> None:
        self.path, self.attempts = run.folder.table(stage), run.attempts
        self.rows: list[dict[str, Any]] = []

    def on_train_start(self, trainer: StageTrainer, module: StageModule) -> None:
        """Drops the rows of epochs that will be trained again, and tells TensorBoard what is coming."""
        trainer.logger.log_settings(to_flat(module.settings))
        trainer.logger.log_charts(module.stage.figures)
        if trainer.is_global_zero and self.path.exists():
            self.rows = [row for row in read_csv(self.path) if int(row["epoch"]) <= trainer.current_epoch]
            self.attempts(str(self.path), write_table, self.path, self.rows)

    def on_train_epoch_end(self, trainer: StageTrainer, module: StageModule) -> None:
        if not trainer.is_global_zero:
            return
        figures = figures_of(trainer, module)
        # Here, and not by Lightning after all callbacks: a run killed once its checkpoint is saved would lack a point.
        trainer.logger.log_metrics(figures, step=last_step(trainer))
        row: dict[str, Any] = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        row |= {name: f"{value:.8g}" for name, value in figures.items()}
        self.rows.append(row | {"time_s": f"{module.epoch_s:.3f}"})
        self.attempts(str(self.path), write_table, self.path, self.rows)


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes `rows` as a metrics.csv, which is at every instant a complete file."""
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["epoch", "step"]
    with atomic_path(path) as temporary:
        write_csv(temporary, columns, ([row.get(name, "") for name in columns] for row in rows))


def last_step(trainer: StageTrainer) -> int:
    """Returns the number of the last optimizer step, counted from 0, as Lightning counts the points of its curves."""
    return trainer.global_step - 1
