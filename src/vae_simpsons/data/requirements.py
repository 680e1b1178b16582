"""What training requires of a folder of images; `vae data check` reports the same."""

from vae_simpsons.data.index import Index
from vae_simpsons.data.split import Split
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Data

MAX_UNREADABLE = 0.1  # share of unreadable images above which a folder is not a data set


def check_readable(index: Index) -> None:
    """Refuses a folder of which more than a tenth is unreadable.

    Raises:
        VAEError: naming the first unreadable image.
    """
    count = len(index.paths) + len(index.unreadable)
    if len(index.unreadable) > MAX_UNREADABLE * count:
        path, reason = index.unreadable[0]
        raise VAEError(
            f"data.path: {len(index.unreadable)} of {count} images are unreadable, the first {path!r} ({reason}). "
            f"Up to {MAX_UNREADABLE:.0%} are skipped. 'vae data check' lists them: fix or remove them."
        )


def check_count(split: Split, data: Data, processes: int) -> None:
    """Refuses too few images: each process needs a training batch and a validation image.

    Raises:
        VAEError: with what would be accepted.
    """
    train, val = len(split.train), len(split.val)
    if train < data.batch_size * processes:
        each = f" in each of {processes} processes" if processes > 1 else ""
        raise VAEError(
            f"data.batch_size: {data.batch_size}{each} is more than the {train} training images "
            f"({train + val} found, train_fraction {data.train_fraction:g}). "
            f"Give more images or --data.batch_size {max(2, train // processes)}."
        )
    if val < processes:
        raise VAEError(
            f"trainer.devices: {processes} processes, but {val} images to validate. "
            "Give more images, a smaller data.train_fraction, or fewer devices."
        )
