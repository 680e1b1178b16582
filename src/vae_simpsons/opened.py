"""An opened model: its network and settings, what it knows of its run, and where its pictures are."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch

from vae_simpsons.checkpoint import Checkpoint, read_checkpoint
from vae_simpsons.data.dataset import Dataset, source_of
from vae_simpsons.data.pictures import Pictures, open_pictures, pictures_of
from vae_simpsons.devices import pick_device
from vae_simpsons.inference import rundata
from vae_simpsons.loading import load_network
from vae_simpsons.memory import keep_freed_buffers
from vae_simpsons.models.cpu import use_fast_convolutions
from vae_simpsons.objective import Objective
from vae_simpsons.paths import expand_home
from vae_simpsons.progress import Progress, format_epochs, no_progress


class OpenModel:
    """A model that was loaded from a checkpoint.

    Attributes:
        network: the autoencoder, a torch module in eval mode, for whatever these methods do not offer.
        settings: every setting of its run.
        epochs: how many epochs it was trained for.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.checkpoint = checkpoint
        self.settings = checkpoint.settings
        self.epochs = checkpoint.epochs
        self.network = load_network(checkpoint).to(device)
        if device.type == "cpu":
            use_fast_convolutions(self.network)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.network.image_shape))
        prior, trained = self.settings.prior.kind, format_epochs(self.epochs)
        return f"{type(self).__name__}({str(self.checkpoint.path)!r}, images {shape}, prior {prior}, after {trained})"

    @property
    def sigma(self) -> float:
        """The noise of a pixel, in [-1, 1], that the model was trained with, or that its last validation left."""
        assumed = Objective(self.settings.objective, math.prod(self.network.image_shape)).assumed_sigma()
        return self.network.learned_sigma or assumed or self.checkpoint.figures.get("sigma/residual", 1.0)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Self:
        """Returns the model in a last.ckpt, a best.ckpt or an export's folder, on auto, cpu, cuda or mps.

        Raises:
            VAEError: no such file, not a checkpoint, a damaged one; no such device.
        """
        keep_freed_buffers()
        return cls(read_checkpoint(Path(expand_home("path", path))), pick_device(device))

    from_pretrained = load  # as other libraries call it

    @property
    def class_names(self) -> list[str]:
        """The classes that can be drawn by name; none of a model whose prior was told none (prior.labels)."""
        return list(self.checkpoint.class_names) if self.network.prior.class_count else []

    def open_pictures(
        self, name: str, paths: Sequence[str | Path], cache_dir: str | None = None, progress: Progress = no_progress
    ) -> Pictures:
        """Returns pictures of files, folders and archives, prepared as in training and read when they are needed.

        Args:
            name: what the user calls `paths`, for errors.

        Raises:
            VAEError: no such file or folder, no image in it.
        """
        return open_pictures(name, paths, rundata.moved_data(self.settings, None, cache_dir), progress)

    def open_dataset(
        self, source: str | Path | None = None, cache_dir: str | None = None, progress: Progress = no_progress
    ) -> Dataset:
        """Returns the images of the run and which of them trained, by the list that is kept beside the checkpoint.

        Args:
            source: where they are now; None: where the run found them.

        Raises:
            VAEError: they are not there; an export, which does not say where they are, without `source`.
        """
        return rundata.open_dataset(self.checkpoint, source, cache_dir, progress)

    def pictures_to_measure(self, source: str | Path | None, cache_dir: str | None, progress: Progress) -> Pictures:
        """Returns the pictures at `source`, called `measured_on`, or the validation images of the run."""
        if source is not None:
            data = rundata.moved_data(self.settings, source, cache_dir)
            return open_pictures("measured_on", [source_of(data, progress)], data, progress)
        dataset = self.open_dataset(None, cache_dir, progress)
        return pictures_of(dataset.pack, dataset.val)
