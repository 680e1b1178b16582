"""The door from Python: `from vae_simpsons import VAE`."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from vae_simpsons import checkpoint, encoding, exported, sampling
from vae_simpsons.configfile import from_flat
from vae_simpsons.data.dataset import source_of
from vae_simpsons.data.index import Index
from vae_simpsons.data.pack import open_pack
from vae_simpsons.errors import VAEError
from vae_simpsons.models import ConvVAE
from vae_simpsons.progress import Progress, silent
from vae_simpsons.settings import Settings, to_flat


class VAE:
    """A trained model: the network in eval mode, and the config that it was trained with.

    Attributes:
        network: the ConvVAE itself, a torch module, for whatever these methods do not offer.
        config: every setting of its run.
    """

    def __init__(self, network: ConvVAE, config: Settings) -> None:
        self.network = network.eval()
        self.config = self.settings = config
        self.checkpoint: checkpoint.Checkpoint | None = None

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "VAE":
        """The model in the checkpoint at `path`, on `device` (auto, cpu, cuda, mps).

        Raises:
            VAEError: no such file, no checkpoint, a damaged one, one that carries code; no such device.
        """
        found = checkpoint.read(Path(path), setting="path")
        network = checkpoint.network_of(found).to(sampling.pick_device(device))
        model = cls(network, found.config)
        model.checkpoint = found
        return model

    @property
    def epochs(self) -> int:
        """How many epochs had been trained."""
        return self.checkpoint.epochs

    def sample_blocks(self, n: int, seed: int = 0) -> Iterator[Tensor]:
        """`n` images drawn from the prior, in blocks."""
        return sampling.sample(self.network, n, seed)

    def encode_folder(
        self, folder: Path, source: str | None = None, cache_dir: str | None = None, progress: Progress = silent
    ) -> tuple[list[Path], Index]:
        """Encodes the images of `source` into the empty `folder`."""
        given = {"data.path": source, "data.cache_dir": cache_dir}
        given = {key: value for key, value in given.items() if value is not None}
        data = from_flat(to_flat(self.settings) | given).data
        pack = open_pack(source_of(data, progress), data, progress)
        return encoding.write(self.network, pack, folder, progress), pack.index

    def export(self, folder: Path) -> None:
        """Writes the weights and settings into the empty `folder`."""
        exported.write(checkpoint.to_export(self.checkpoint), folder)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """`n` images drawn from the prior, (n, C, H, W) on the CPU, in [-1, 1]; the same seed gives the same ones.

        Raises:
            VAEError: an autoencoder, which has no prior; n below 1.
        """
        if n < 1:
            raise VAEError(f"n: {n} is not accepted. Give a whole number >= 1.")
        return torch.cat(list(sampling.sample(self.network, n, seed)))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """mu and log_var, (B, latent_dim) on the CPU, of x (B, C, H, W) in [-1, 1]; an autoencoder has no log_var."""
        return sampling.encode_images(self.network, x)

    def decode(self, z: Tensor) -> Tensor:
        """The images (B, C, H, W) on the CPU, in [-1, 1], of z (B, latent_dim)."""
        return sampling.decode_latents(self.network, z)

    def reconstruct(self, x: Tensor) -> Tensor:
        """x (B, C, H, W), in [-1, 1], through the model: the decoder's mean of the posterior's mean, on the CPU."""
        return sampling.reconstruct(self.network, x)
