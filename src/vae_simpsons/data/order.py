"""Random orders that are the same on every machine and with every version of numpy; numbers evenly spread."""

import numpy as np


def permutation(count: int, *seeds: int) -> np.ndarray:
    """Returns the numbers 0 to count - 1 in an order that `seeds` decide, (count,).

    A bit generator's stream never changes, what `Generator.permutation` makes of it may (NEP 19).
    """
    return np.argsort(random_bits(count, *seeds), kind="stable")


def spread(count: int, most: int) -> np.ndarray:
    """Returns at most `most` of the numbers below `count`, evenly spread, ascending."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def random_bits(count: int, *seeds: int) -> np.ndarray:
    """Returns `count` numbers of 64 random bits that `seeds` decide, uint64 (count,)."""
    return np.random.PCG64(list(seeds)).random_raw(count)
