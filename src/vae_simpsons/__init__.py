"""Train a variational autoencoder on a folder of images.

from vae_simpsons import VAE
VAE.load("last.ckpt").sample(64)      # (64, C, H, W), in [-1, 1]
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from vae_simpsons.errors import VAEError

if TYPE_CHECKING:
    from vae_simpsons.api import VAE

try:
    __version__ = version("vae-simpsons")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["VAE", "VAEError", "__version__"]


def __getattr__(name: str) -> Any:
    """Imports `VAE` on first use, so that `vae --help` does not wait for torch."""
    if name == "VAE":
        from vae_simpsons.api import VAE

        return VAE
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
