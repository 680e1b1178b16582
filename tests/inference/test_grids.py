import numpy as np
import pytest
import torch
from PIL import Image

from vae_simpsons.images import make_grid
from vae_simpsons.inference.grids import Grid, draw_grid, from_pil, to_pil


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_and_tensors_are_the_same_pixels(channels):
    pixels = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8)
    picture = to_pil(pixels)
    assert picture.mode == {1: "L", 3: "RGB"}[channels] and picture.size == (7, 5)
    assert torch.equal(from_pil(picture), pixels)


def test_a_grid_is_a_list_that_shows_itself():
    grid = Grid([Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")], columns=2)
    assert isinstance(grid, list) and len(grid) == 3
    assert grid.picture().size == (2 + 2 * 10, 2 + 2 * 10)
    assert grid._repr_png_().startswith(b"\x89PNG") and Grid([])._repr_png_() is None


def test_labels_stand_beside_what_they_name_and_leave_the_pictures_alone():
    pixels = torch.full((6, 3, 40, 40), 128, dtype=torch.uint8)
    plain = make_grid(pixels, 3)
    labelled = draw_grid(pixels, 3, ["dim 12\n1.50 nats", ""], ["-3", "0", "3"])
    top, left = labelled.shape[1] - plain.shape[1], labelled.shape[2] - plain.shape[2]
    assert top > 0 and left > 0 and torch.equal(labelled[:, top:, left:], plain)
    ink = (labelled[0] < 100).numpy()
    rows, columns = np.nonzero(ink[top:, :left])
    assert rows.min() >= 2 and rows.max() < 42, "the first row's label is beside the first row"
    for column in range(3):
        start = left + 2 + 42 * column
        assert ink[:top, start : start + 40].any()


def test_small_pictures_are_enlarged_by_a_whole_factor_for_their_labels():
    pixels = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    labelled = draw_grid(pixels, 2, ["dim 1\n1.00 nats", "dim 2\n0.50 nats"])
    assert labelled.shape[1] == 2 + 2 * 34
    assert labelled[0, 2 + 34 : -2, -34:-2].eq(3).all()
