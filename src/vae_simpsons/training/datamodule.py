"""The DataModule: a stage's batches, as each process of Lightning's asks for them."""

from dataclasses import replace
from typing import TypeVar

import pytorch_lightning as pl
import torch

from vae_simpsons.data.batches import CopiedAhead, EvalBatches, TrainBatches, resident
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.settings import Settings
from vae_simpsons.training.engine import chunk_ends, chunk_steps
from vae_simpsons.training.lightning import StageTrainer
from vae_simpsons.training.stages import Stage

Batches = TypeVar("Batches", TrainBatches, EvalBatches)
GPU_EVAL_BATCH = 512  # validation has no reason to be in batches so small that a GPU waits for Python


class ImagesDataModule(pl.LightningDataModule):
    """Serves batches of what `stage` makes of the images of `dataset`; Lightning asks for new ones each epoch.

    Args:
        chunked: serve training batches in chunks, inputs (k, B, ...) and labels (k, B), as GraphModule takes them.
        first_step: where the first epoch begins; more than 0 continues in the middle of it.
    """

    trainer: StageTrainer

    def __init__(
        self, stage: Stage, dataset: Dataset, settings: Settings, chunked: bool = False, first_step: int = 0
    ) -> None:
        super().__init__()
        self.stage, self.dataset, self.settings = stage, dataset, settings
        self.chunked, self.first_step = chunked, first_step
        self.inputs, self.labels = stage.inputs, stage.labels

    def setup(self, stage: str) -> None:
        """Copies the inputs to the device that trains, if it has room."""
        self.inputs = resident(self.stage.inputs, self.device, self.settings.data.gpu_share)
        self.labels = self.stage.labels.to(self.inputs.device)

    @property
    def device(self) -> torch.device:
        """The device that this process trains on."""
        return self.trainer.strategy.root_device

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return len(self.dataset.train) // (self.stage.batch_size * self.trainer.world_size)

    def train_dataloader(self) -> TrainBatches | CopiedAhead:
        """Returns the batches of the current epoch, of this process."""
        trainer, size, first = self.trainer, self.stage.batch_size, self.first_step
        self.first_step = 0
        batches = TrainBatches(
            self.inputs,
            self.labels,
            self.dataset.train,
            size,
            seed=self.settings.seed,
            epoch=trainer.current_epoch,
            horizontal_flip=self.stage.horizontal_flip,
            rank=trainer.global_rank,
            world=trainer.world_size,
            first_step=first,
        )
        if self.chunked:
            most, every = chunk_steps(self.inputs, size), trainer.log_every_n_steps
            ends = chunk_ends(batches.steps - first, trainer.global_step, every, most, trainer.max_steps)
            batches = replace(batches, chunk_ends=[first + end for end in ends])
        return self.copied_ahead(batches)

    def val_dataloader(self) -> EvalBatches | CopiedAhead:
        """Returns this process's share of the validation images."""
        size = self.stage.batch_size if self.device.type == "cpu" else GPU_EVAL_BATCH
        share = {"rank": self.trainer.global_rank, "world": self.trainer.world_size}
        return self.copied_ahead(EvalBatches(self.inputs, self.labels, self.dataset.val, size, **share))

    def copied_ahead(self, batches: Batches) -> Batches | CopiedAhead:
        """Returns `batches`, copied ahead of their turn where the images are not on the GPU that trains."""
        if self.device.type == "cuda" and self.inputs.device.type == "cpu":
            return CopiedAhead(batches, self.device)
        return batches
