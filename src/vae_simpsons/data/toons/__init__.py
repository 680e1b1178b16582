"""Toons, the data set that this program draws: cartoon portraits, each from a few known factors."""

from vae_simpsons.data.toons.drawing import draw_toon
from vae_simpsons.data.toons.factors import Toon, make_toon
from vae_simpsons.data.toons.files import cached_toons, write_toons

__all__ = ["Toon", "cached_toons", "draw_toon", "make_toon", "write_toons"]
