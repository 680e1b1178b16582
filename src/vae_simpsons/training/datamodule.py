"""The DataModule: a Dataset's batches, as each process of Lightning's asks for them."""

import pytorch_lightning as pl

from vae_simpsons.config import Config
from vae_simpsons.data.batches import EvalBatches, TrainBatches
from vae_simpsons.data.dataset import Dataset


class ImagesDataModule(pl.LightningDataModule):
    """Serves uint8 batches (B, C, H, W) of `dataset`; Lightning asks for new training batches each epoch."""

    def __init__(self, dataset: Dataset, config: Config) -> None:
        super().__init__()
        self.dataset = dataset
        self.config = config

    def train_dataloader(self) -> TrainBatches:
        """The batches of the current epoch, of this process."""
        return TrainBatches(
            self.dataset.pixels.data,
            self.dataset.train,
            self.config.data.batch_size,
            seed=self.config.seed,
            epoch=self.trainer.current_epoch,
            horizontal_flip=self.config.data.horizontal_flip,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )

    def val_dataloader(self) -> EvalBatches:
        """This process's share of the validation images."""
        return EvalBatches(
            self.dataset.pixels.data,
            self.dataset.val,
            self.config.data.batch_size,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
