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
from vae_simpsons.export import export_model
from vae_simpsons.inference import encode, latents, sample
from vae_simpsons.memory import keep_freed_buffers
from vae_simpsons.models.cpu import use_fast_convolutions
from vae_simpsons.progress import Progress, no_progress
from vae_simpsons.settings import to_flat


class VAE:
    """A trained model: the one way to open a checkpoint, for Python and for the command line."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.checkpoint = checkpoint
        self.settings = checkpoint.settings
        self.epochs = checkpoint.epochs  # that it was trained for
        self.network = load_network(checkpoint).to(device)  # in eval mode, for whatever these methods do not offer
        if device.type == "cpu":
            use_fast_convolutions(self.network)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "VAE":
        """Returns the model in a last.ckpt, a best.ckpt or an export's folder, on auto, cpu, cuda or mps.

        Raises:
            VAEError: no such file, not a checkpoint, a damaged one; no such device.
        """
        keep_freed_buffers()
        return cls(read_checkpoint(Path(path)), pick_device(device))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Returns `n` images drawn from the prior, (n, C, H, W) on the CPU, in [-1, 1]; a seed decides each of them."""
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
        """Writes mu.npy, log_var.npy and images.csv into the empty `folder`; returns their paths and the images' index.

        The pictures are those of `source`, a folder or an archive, or else the run's, prepared as in training. Packed
        images are kept in `cache_dir`, or else where the run kept them.
        """
        changes = {"data.path": source, "data.cache_dir": cache_dir}
        given = {key: str(value) for key, value in changes.items() if value is not None}
        data = from_flat(to_flat(self.settings) | given).data
        pack = open_pack(source_of(data, progress), data, progress)
        return encode.encode_pack(self.network, pack, folder, progress), pack.index

    def export(self, folder: Path, name: str | None = None) -> list[Path]:
        """Writes the weights and a model card into the empty `folder`; returns the files' paths."""
        return export_model(self.checkpoint, self.network.latent_shape, folder, name or folder.name)
