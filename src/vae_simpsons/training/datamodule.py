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
    """Serves uint8 batches (B, C, H, W) of `dataset`; Lightning asks for new training batches each epoch.

    Args:
        chunked: serve training batches in chunks (k, B, C, H, W), as GraphModule takes them.
        first_step: where the first epoch that is asked for begins; more than 0 goes on in the middle of it.
    """

    def __init__(self, dataset: Dataset, config: Settings, chunked: bool = False, first_step: int = 0) -> None:
        super().__init__()
        self.dataset = dataset
        self.config = config
        self.chunked = chunked
        self.first_step = first_step
        self.pixels = dataset.pack.pixels
        self.labels = dataset.labels

    def setup(self, stage: str) -> None:
        """Take the images to the device that trains, if it has room."""
        self.pixels = resident(self.dataset.pack.pixels, self.device, self.config.data.gpu_share)
        self.labels = self.labels.to(self.pixels.device)

    @property
    def device(self) -> torch.device:
        """The device that this process trains on."""
        return self.trainer.strategy.root_device

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return len(self.dataset.train) // (self.config.data.batch_size * self.trainer.world_size)

    def train_dataloader(self) -> TrainBatches | CopiedAhead:
        """The batches of the current epoch, of this process."""
        batches = TrainBatches(
            self.pixels,
            self.labels,
            self.dataset.train,
            self.config.data.batch_size,
            seed=self.config.seed,
            epoch=self.trainer.current_epoch,
            horizontal_flip=self.config.data.horizontal_flip,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
            first_step=self.first_step,
        )
        if self.chunked:
            batches = replace(batches, chunk_ends=self.chunk_ends(batches.steps))
        self.first_step = 0
        return self.ahead(batches)

    def chunk_ends(self, steps: int) -> list[int]:
        """The steps, of an epoch's `steps`, after which a chunk ends."""
        most = chunk_steps(self.pixels.shape[1:], self.config.data.batch_size)
        trainer, first = self.trainer, self.first_step
        ends = chunk_ends(steps - first, trainer.global_step, trainer.log_every_n_steps, most, trainer.max_steps)
        return [first + end for end in ends]

    def val_dataloader(self) -> EvalBatches | CopiedAhead:
        """This process's share of the validation images."""
        batches = EvalBatches(
            self.pixels,
            self.labels,
            self.dataset.val,
            self.config.data.batch_size if self.device.type == "cpu" else GPU_EVAL_BATCH,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        return self.ahead(batches)

    def ahead(self, batches: TrainBatches | EvalBatches) -> TrainBatches | EvalBatches | CopiedAhead:
        """`batches`, copied ahead where the images are not on the GPU that trains."""
        far = self.device.type == "cuda" and self.pixels.device.type == "cpu"
        return CopiedAhead(batches, self.device) if far else batches
