"""The DataModule: a Dataset's batches, as each process of Lightning's asks for them."""

from dataclasses import replace

import pytorch_lightning as pl
import torch

from vae_simpsons.data.batches import CopiedAhead, EvalBatches, TrainBatches, resident
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.settings import Settings
from vae_simpsons.training.engine import chunk_ends, chunk_steps

GPU_EVAL_BATCH = 512  # validation has no reason to be in batches so small that a GPU waits for Python


class ImagesDataModule(pl.LightningDataModule):
    """Serves batches of `dataset`; Lightning asks for new training batches each epoch.

    Args:
        chunked: serve training batches in chunks, pixels (k, B, C, H, W) and labels (k, B), as GraphModule takes them.
        first_step: where the first epoch begins; more than 0 continues in the middle of it.
    """

    def __init__(self, dataset: Dataset, settings: Settings, chunked: bool = False, first_step: int = 0) -> None:
        super().__init__()
        self.dataset, self.settings, self.chunked, self.first_step = dataset, settings, chunked, first_step
        self.pixels, self.labels = dataset.pack.pixels, dataset.labels

    def setup(self, stage: str) -> None:
        """Copies the images to the device that trains, if it has room."""
        self.pixels = resident(self.dataset.pack.pixels, self.device, self.settings.data.gpu_share)
        self.labels = self.dataset.labels.to(self.pixels.device)

    @property
    def device(self) -> torch.device:
        """The device that this process trains on."""
        return self.trainer.strategy.root_device

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return len(self.dataset.train) // (self.settings.data.batch_size * self.trainer.world_size)

    def train_dataloader(self) -> TrainBatches | CopiedAhead:
        """Returns the batches of the current epoch, of this process."""
        trainer, data, first = self.trainer, self.settings.data, self.first_step
        self.first_step = 0
        batches = TrainBatches(
            self.pixels,
            self.labels,
            self.dataset.train,
            data.batch_size,
            seed=self.settings.seed,
            epoch=trainer.current_epoch,
            horizontal_flip=data.horizontal_flip,
            rank=trainer.global_rank,
            world=trainer.world_size,
            first_step=first,
        )
        if self.chunked:
            most, every = chunk_steps(self.pixels.shape[1:], data.batch_size), trainer.log_every_n_steps
            ends = chunk_ends(batches.steps - first, trainer.global_step, every, most, trainer.max_steps)
            batches = replace(batches, chunk_ends=[first + end for end in ends])
        return self.copied_ahead(batches)

    def val_dataloader(self) -> EvalBatches | CopiedAhead:
        """Returns this process's share of the validation images."""
        size = self.settings.data.batch_size if self.device.type == "cpu" else GPU_EVAL_BATCH
        share = {"rank": self.trainer.global_rank, "world": self.trainer.world_size}
        return self.copied_ahead(EvalBatches(self.pixels, self.labels, self.dataset.val, size, **share))

    def copied_ahead(self, batches: TrainBatches | EvalBatches) -> TrainBatches | EvalBatches | CopiedAhead:
        """Returns `batches`, copied ahead of their turn where the images are not on the GPU that trains."""
        if self.device.type == "cuda" and self.pixels.device.type == "cpu":
            return CopiedAhead(batches, self.device)
        return batches
