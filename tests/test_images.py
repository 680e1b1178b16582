import numpy as np
import pytest
import torch
from PIL import Image

from vae_simpsons import images
from vae_simpsons.errors import VAEError


def coloured(count: int, size: int = 4, channels: int = 3) -> torch.Tensor:
    """Images (count, channels, size, size), each of one grey level: its number."""
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, channels, size, size).contiguous()


def test_every_pixel_value_survives_the_way_there_and_back():
    pixels = torch.arange(256, dtype=torch.uint8)
    x = images.normalise(pixels)
    assert (x.min(), x.max()) == (-1, 1)
    assert torch.equal(images.denormalise(x), pixels)


def test_out_of_range_is_clamped_not_wrapped():
    assert images.denormalise(torch.tensor([-1.02, 1.02])).tolist() == [0, 255]


def test_normalise_leaves_the_pixels_alone():
    pixels = torch.full((2,), 7, dtype=torch.uint8)
    images.normalise(pixels)
    assert pixels.tolist() == [7, 7]


@pytest.mark.parametrize(("count", "nrow", "blocks"), [(5, 2, [5]), (5, 2, [1, 3, 1]), (3, 8, [3]), (4, 2, [2, 2])])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_each_image_in_its_place_however_they_arrive(tmp_path, count, nrow, blocks, channels):
    pixels = coloured(count, channels=channels)
    images.write_grid("--out", tmp_path / "g.png", pixels.split(blocks), count, nrow)
    read = np.asarray(Image.open(tmp_path / "g.png").convert("L")).astype(int)
    columns, rows = min(nrow, count), -(-count // nrow)
    assert read.shape == (2 + 6 * rows, 2 + 6 * columns)
    for i in range(columns * rows):
        top, left = 2 + 6 * (i // columns), 2 + 6 * (i % columns)
        inside = read[top : top + 4, left : left + 4]
        assert (inside == (i if i < count else 255)).all()
    assert (read[:2] == 255).all() and (read[:, :2] == 255).all() and (read[-2:] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_make_grid_and_write_grid_draw_the_same(tmp_path, channels):
    pixels = torch.randint(0, 256, (7, channels, 5, 5), dtype=torch.uint8)
    assert images.make_grid(pixels, 3).shape == (channels, 23, 23)
    images.write_grid("--out", tmp_path / "a.png", [pixels], 7, 3)
    images.write_png(tmp_path / "b.png", images.make_grid(pixels, 3))
    assert (tmp_path / "a.png").read_bytes() != b""
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(tmp_path / "b.png")))


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_that_differ_by_anything_from_their_neighbours_are_kept(tmp_path, channels):
    pixels = torch.randint(0, 256, (channels, 40, 30), dtype=torch.uint8)
    images.write_png(tmp_path / "noise.png", pixels)
    read = np.asarray(Image.open(tmp_path / "noise.png")).reshape(40, 30, channels)
    assert np.array_equal(read, pixels.permute(1, 2, 0))


def test_originals_stand_above_their_reconstructions():
    top, bottom = coloured(3), coloured(3) + 100
    picture = images.interleave_rows(top, bottom, nrow=2)
    assert [int(i[0, 0, 0]) for i in picture] == [0, 1, 100, 101, 2, 255, 102, 255]


def test_write_each_names_the_files(tmp_path):
    images.write_each("--out-dir", tmp_path / "d", coloured(5).split([2, 3]), (f"s_{i:03d}.png" for i in range(5)))
    assert [p.name for p in sorted((tmp_path / "d").iterdir())] == [f"s_{i:03d}.png" for i in range(5)]
    assert np.asarray(Image.open(tmp_path / "d" / "s_004.png"))[0, 0].tolist() == [4, 4, 4]


def test_a_failure_half_way_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "g.png"
    images.write_grid("--out", path, [coloured(2)], 2, 2)
    before = path.read_bytes()

    def breaks():
        yield coloured(2)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        images.write_grid("--out", path, breaks(), 4, 2)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_paths_that_no_picture_should_go_to_are_refused(tmp_path):
    def refused(path, said):
        with pytest.raises(VAEError, match=said):
            images.write_grid("--out", path, [coloured(1)], 1, 1)

    (tmp_path / "letter.png").write_text("Dear Marge")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "a.jpg", "does not end in .png")
    refused(tmp_path / "folder.png", "is a folder")
    refused(tmp_path / "letter.png", "no PNG; it is not overwritten")
    refused(tmp_path / "letter.png" / "a.png", "--out: cannot write")
    assert (tmp_path / "letter.png").read_text() == "Dear Marge"
