"""A trained model, from Python: `from vae_simpsons import VAE`."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from vae_simpsons.checkpoint import Checkpoint, load_network, read_checkpoint
from vae_simpsons.configfile import from_flat
from vae_simpsons.data.dataset import source_of
from vae_simpsons.data.index import Index
from vae_simpsons.data.pack import open_pack
from vae_simpsons.devices import pick_device
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.curves import read_curves
from vae_simpsons.evaluation.evaluate import describe_run, evaluate, images_of_run
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.evaluation.runs import CURVES, SPLIT
from vae_simpsons.export import export_model
from vae_simpsons.inference import encode, latents, sample
from vae_simpsons.inference.blocks import device_of
from vae_simpsons.memory import keep_freed_buffers
from vae_simpsons.models.cpu import use_fast_convolutions
from vae_simpsons.progress import Progress, no_progress
from vae_simpsons.settings import Settings, to_flat


class VAE:
    """A trained model: the one way to open a checkpoint, for Python and for the command line.

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

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "VAE":
        """Returns the model in the checkpoint at `path`, or in the folder of an export, on `device`.

        Args:
            path: last.ckpt or best.ckpt of a run, or a folder that `vae export` wrote.
            device: auto, cpu, cuda or mps.

        Raises:
            VAEError: no such file, not a checkpoint, a damaged one; no such device.
        """
        keep_freed_buffers()
        return cls(read_checkpoint(Path(path)), pick_device(device))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Returns `n` images drawn from the prior, (n, C, H, W) on the CPU, in [-1, 1]; a seed decides each of them.

        Raises:
            VAEError: an autoencoder, which has no prior; n below 1.
        """
        return torch.cat(list(self.sample_blocks(n, seed)))

    def sample_blocks(self, n: int, seed: int = 0) -> Iterator[Tensor]:
        """Returns the same images block by block, so that any number of them takes little memory."""
        if n < 1:
            raise VAEError(f"n: {n} is not accepted. Give a whole number >= 1.")
        return sample.sample(self.network, n, seed)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns mu and log_var, (B, *latent) on the CPU, of x (B, C, H, W) in [-1, 1]; log_var may be None."""
        return latents.encode(self.network, x)

    def decode(self, z: Tensor) -> Tensor:
        """Returns the images (B, C, H, W) on the CPU, in [-1, 1], of z (B, *latent)."""
        return latents.decode(self.network, z)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Returns x (B, C, H, W), in [-1, 1], through the model: the mean image of the posterior's mean, on the CPU."""
        return latents.reconstruct(self.network, x)

    def encode_folder(
        self,
        folder: Path,
        source: str | Path | None = None,
        cache_dir: str | None = None,
        progress: Progress = no_progress,
    ) -> tuple[list[Path], Index]:
        """Encodes pictures, prepared as in training, into files in `folder`; returns their paths and the images' index.

        Args:
            folder: an empty one; gets mu.npy, log_var.npy and images.csv.
            source: a folder of pictures or an archive of one; None: the pictures of the run.
            cache_dir: where packed images are kept; None: where the run kept them.

        Raises:
            VAEError: no pictures there.
            OSError: `folder` cannot be written.
        """
        data = self._with_data(source, cache_dir).data
        pack = open_pack(source_of(data, progress), data, progress)
        return encode.encode_pack(self.network, pack, folder, progress), pack.index

    def evaluate(
        self,
        source: str | Path | None = None,
        split: str = "val",
        samples: int | None = None,
        seed: int = 0,
        quick: bool = False,
        cache_dir: str | None = None,
        progress: Progress = no_progress,
    ) -> Evaluation:
        """Returns every figure that the images allow, and what they mean; a seed decides them.

        Args:
            source: a folder of pictures or an archive of one, prepared as in training; None: the pictures of the run.
            split: val or train: the images whose reconstructions, likelihoods and latents are measured.
            samples: images that are drawn, and the most on each side of a figure; None: 5,000, or 500 with `quick`.
            quick: fewer images for each figure, in half a minute.
            cache_dir: where packed images are kept; None: where the run kept them.

        Raises:
            VAEError: no pictures there; an export, which does not say where its pictures are, without `source`.
        """
        if source is None and self.checkpoint.position is None:
            raise VAEError("source: an exported model does not name its images. Give the folder that they are in.")
        for name, number, low in (("samples", samples, 1), ("seed", seed, 0)):
            if number is not None and number < low:
                raise VAEError(f"{name}: {number} is not accepted. Give a whole number >= {low}.")
        folder = self.checkpoint.path.parent
        settings = self._with_data(source, cache_dir)
        dataset, split_from = images_of_run(settings, folder / SPLIT, progress)
        about = describe_run(self.checkpoint.path, self.epochs) | {
            "device": str(device_of(self.network)),
            "data": str(dataset.source),
            "split_from": split_from,
        }
        return evaluate(
            self.network, settings, dataset, progress, split=split, most=samples, seed=seed, quick=quick,
            about=about, curves=read_curves(folder / CURVES),
        )  # fmt: skip

    def _with_data(self, source: str | Path | None, cache_dir: str | None) -> Settings:
        """Returns the run's settings with other pictures or another cache, where given."""
        changes = {"data.path": source, "data.cache_dir": cache_dir}
        given = {key: str(value) for key, value in changes.items() if value is not None}
        return from_flat(to_flat(self.settings) | given)

    def export(self, folder: Path, name: str | None = None) -> list[Path]:
        """Writes the weights and a model card into the empty `folder`; returns the files' paths.

        Args:
            name: of the model, for its card; None: the folder's name.

        Raises:
            OSError: it cannot be written.
        """
        return export_model(self.checkpoint, self.network.latent_shape, folder, name or folder.name)
