import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from vae_simpsons.data import similar
from vae_simpsons.data.similar import Fingerprints, close_pairs, compute_fingerprints, group_near_duplicates
from vae_simpsons.data.toons import draw_toon, make_toon


def pixels_of(*pictures: Image.Image) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(p.convert("RGB"))).permute(2, 0, 1) for p in pictures])


def grouped(*pictures) -> list[int]:
    return group_near_duplicates(compute_fingerprints(pixels_of(*pictures))).tolist()


def saved_again(picture, tmp_path, quality):
    picture.save(tmp_path / "a.jpg", quality=quality)
    return Image.open(tmp_path / "a.jpg").convert("RGB")


@pytest.mark.parametrize("size", [16, 48, 64, 128])
def test_copies_saved_anew_are_found_and_others_are_not(tmp_path, size):
    one, other = draw_toon(make_toon(0, 3), size), draw_toon(make_toon(0, 14), size)
    brighter = ImageEnhance.Brightness(one).enhance(1.05)
    shifted = Image.fromarray(np.roll(np.array(one), 1, axis=1))
    found = grouped(one, other, saved_again(one, tmp_path, 60), brighter, shifted if size > 16 else one)
    assert found == [0, 1, 0, 0, 0]


def test_the_same_shapes_in_other_colours_are_others():
    one = draw_toon(make_toon(0, 3), 64)
    red, green, blue = one.split()
    assert grouped(one, Image.merge("RGB", (blue, red, green)), one) == [0, 1, 0]


def test_plain_pictures_are_told_apart_by_their_colour():
    assert grouped(*(Image.new("RGB", (32, 32), c) for c in ("white", "black", "white", "red"))) == [0, 1, 0, 3]


def test_grey_images_too():
    x = pixels_of(draw_toon(make_toon(0, 3), 64), draw_toon(make_toon(0, 14), 64))[:, :1]
    assert group_near_duplicates(compute_fingerprints(torch.cat([x, x]))).tolist() == [0, 1, 0, 1]


def test_a_chain_is_one_group_and_its_first_image_names_it():
    bits = np.array([0, 2**10 - 1, 2**20 - 1, 2**63], dtype=np.uint64)  # 10 bits from each to the next
    bits[3] = np.uint64(0xFFFF_FFFF_0000_0000)
    assert group_near_duplicates(Fingerprints(bits[[2, 0, 1, 3]], np.zeros((4, 3), np.uint8))).tolist() == [0, 0, 0, 3]


def all_pairs(prints: Fingerprints) -> list[int]:
    """The groups, by comparing every pair."""
    bits, thumbs = prints
    near = np.bitwise_count(bits[:, None] ^ bits[None]) <= 14
    near &= np.sqrt(((thumbs[:, None].astype(float) - thumbs[None]) ** 2).mean(2)) <= 24
    labels = np.arange(len(bits))
    for _ in labels:
        labels = np.where(near, labels[None], len(bits)).min(1)
    return labels.tolist()


def clustered(centres: int, count: int, colours: int, seed: int = 0) -> Fingerprints:
    """Hashes within 8 bits of so many centres, a tenth of them all the same, with colours from 0 up to `colours`."""
    rng = np.random.default_rng(seed)
    noise = np.bitwise_or.reduce([np.uint64(1) << rng.integers(0, 64, count, dtype=np.uint64) for _ in range(8)])
    bits = rng.integers(0, 2**63, centres, dtype=np.uint64)[rng.integers(0, centres, count)] ^ noise
    bits[rng.random(count) < 0.1] = 0
    return Fingerprints(bits, rng.integers(0, colours, (count, 12)).astype(np.uint8))


@pytest.mark.parametrize("tile", [(128, 1024), (7, 50)])
@pytest.mark.parametrize(("centres", "colours"), [(40, 30), (3, 75), (400, 2), (400, 40)])
def test_it_is_what_comparing_every_pair_gives(monkeypatch, centres, colours, tile):
    for name, value in zip(("ROWS", "COLUMNS", "BLOCK"), (*tile, 100), strict=True):
        monkeypatch.setattr(similar, name, value)
    prints = clustered(centres, 400, colours)
    assert group_near_duplicates(prints).tolist() == all_pairs(prints)


@pytest.mark.parametrize("columns", [1024, 13])
def test_every_close_pair_is_found_once_however_its_bits_are_spread(monkeypatch, columns):
    monkeypatch.setattr(similar, "COLUMNS", columns)
    monkeypatch.setattr(similar, "ROWS", 10)
    rng = np.random.default_rng(0)
    flips = [sum(1 << int(i) for i in rng.choice(64, n, replace=False)) for n in (1, 13, 14, 14, 14, 15, 16) * 9]
    uneven = [0xF000_F000_F000_C000, 0xF000_F000_F000_E000, 0xF000_F000_E000_E000, 0x3FFF, 0x7FFF]  # 14, 15, 14, 14, 15
    bits = np.unique(np.array([0, *flips, *uneven], dtype=np.uint64))
    found = np.concatenate(list(close_pairs(bits, lambda share: None)), axis=1)
    wanted = np.argwhere(np.triu(np.bitwise_count(bits[:, None] ^ bits[None]) <= 14, 1)).tolist()
    assert sorted(map(sorted, found.T.tolist())) == wanted


def test_thousands_that_are_all_alike_do_not_take_the_memory():
    count = 6000
    seen = []
    same = Fingerprints(np.zeros(count, np.uint64), np.zeros((count, 192), np.uint8))
    assert not group_near_duplicates(same, seen.append).any() and seen[-1] == count
