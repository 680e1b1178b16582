"""The DataModule: a Dataset's batches, as each process of Lightning's asks for them."""

import pytorch_lightning as pl
import torch

from vae_simpsons.config import Config
from vae_simpsons.data.batches import CopiedAhead, EvalBatches, TrainBatches, resident
from vae_simpsons.data.dataset import Dataset


class ImagesDataModule(pl.LightningDataModule):
    """Serves uint8 batches (B, C, H, W) of `dataset`; Lightning asks for new training batches each epoch."""

    def __init__(self, dataset: Dataset, config: Config) -> None:
        super().__init__()
        self.dataset = dataset
        self.config = config
        self.pixels = dataset.pack.pixels

    def setup(self, stage: str) -> None:
        """Take the images to the device that trains, if it has room."""
        self.pixels = resident(self.dataset.pack.pixels, self.device, self.config.data.gpu_share)

    @property
    def device(self) -> torch.device:
        """The device that this process trains on."""
        return self.trainer.strategy.root_device

    def train_dataloader(self) -> TrainBatches | CopiedAhead:
        """The batches of the current epoch, of this process."""
        batches = TrainBatches(
            self.pixels,
            self.dataset.train,
            self.config.data.batch_size,
            seed=self.config.seed,
            epoch=self.trainer.current_epoch,
            horizontal_flip=self.config.data.horizontal_flip,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        return self.ahead(batches)

    def val_dataloader(self) -> EvalBatches | CopiedAhead:
        """This process's share of the validation images."""
        batches = EvalBatches(
            self.pixels,
            self.dataset.val,
            self.config.data.batch_size,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        return self.ahead(batches)

    def ahead(self, batches: TrainBatches | EvalBatches) -> TrainBatches | EvalBatches | CopiedAhead:
        """`batches`, copied ahead where the images are not on the GPU that trains."""
        far = self.device.type == "cuda" and self.pixels.device.type == "cpu"
        return CopiedAhead(batches, self.device) if far else batches
