from importlib import metadata

import numpy as np
import pytest
import torch

from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.index import Facts, Index
from vae_simpsons.data.pack import Pack
from vae_simpsons.data.split import Split
from vae_simpsons.evaluation import memorisation
from vae_simpsons.inference import neighbors
from vae_simpsons.inference.neighbors import FEATURES, PIXELS, feature_spaces, find_neighbors
from vae_simpsons.progress import no_progress


def dataset_of(pixels: torch.Tensor, train: int, tmp_path) -> Dataset:
    """The first `train` images train, the others validate; each is a scene of its own."""
    count = len(pixels)
    index = Index([f"{i}.png" for i in range(count)], [Facts("", 8, 8, "PNG", "RGB")] * count, list(range(count)))
    return Dataset(tmp_path, Pack(tmp_path, pixels, index), Split(np.arange(train), np.arange(train, count)))


def random_pixels(count: int, size: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("rows", [2, 512])
def test_the_nearest_are_those_of_a_plain_search(monkeypatch, rows):
    monkeypatch.setattr(memorisation, "QUERIES", rows)
    points, mirrored, training = (torch.randn(n, 5) for n in (3, 3, 30))
    distances = torch.minimum(torch.cdist(points, training), torch.cdist(mirrored, training))
    assert torch.equal(memorisation.nearest_numbers(points, mirrored, training, 6), distances.argsort(1)[:, :6])


def test_a_copy_and_a_mirrored_copy_are_found_and_told_from_new_images(tmp_path):
    pixels = random_pixels(60)
    dataset = dataset_of(pixels, 30, tmp_path)
    queries = torch.stack([pixels[7], pixels[9].flip(-1), pixels[45]])
    found = find_neighbors(queries, dataset, 5, PIXELS, feature_spaces(no_progress)[0][PIXELS], no_progress)
    assert [row[0] for row in found.paths[:2]] == ["7.png", "9.png"] and found.images.shape == (3, 5, 3, 8, 8)
    assert torch.equal(found.images[1, 0], pixels[9])
    assert found.ratio[:2].tolist() == [0, 0] and found.ratio[2] > 0.8
    ratio, share = found.figures
    assert (ratio.count, share.value) == (3, pytest.approx(2 / 3)) and ratio.reference > 0.8


def test_too_few_validation_images_say_which_figure_and_how_many(tmp_path):
    dataset = dataset_of(random_pixels(35), 30, tmp_path)
    found = find_neighbors(random_pixels(1), dataset, 99, PIXELS, lambda images, _: images.flatten(1), no_progress)
    assert found.figures == () and found.lacking.startswith("memorisation ratio: 5 validation images are too few")
    assert len(found.paths[0]) == 30, "there are no more training images"


def test_features_need_their_package_and_say_how_to_install_it(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("vae_simpsons.evaluation.features.metadata.files", absent)
    spaces, lacking = feature_spaces(no_progress)
    assert list(spaces) == [PIXELS] and 'pip install "vae-simpsons[evaluate]"' in lacking


def test_a_copy_is_nearest_in_features_too(tmp_path):
    pixels = random_pixels(12, size=32)
    spaces, lacking = feature_spaces(no_progress)
    assert lacking is None
    dataset = dataset_of(pixels, 10, tmp_path)
    found = find_neighbors(pixels[3:5].flip(-1), dataset, 2, FEATURES, spaces[FEATURES], no_progress)
    assert [row[0] for row in found.paths] == ["3.png", "4.png"] and (found.ratio < 1e-3).all()
    images, labels = neighbors.neighbor_rows(pixels[3:5], [found, found])
    assert images.shape == (2 * 2 * 3, 3, 32, 32) and labels == ["features\nratio 0.00"] * 4
    assert torch.equal(images[6], pixels[4]) and torch.equal(images[7], pixels[4])
