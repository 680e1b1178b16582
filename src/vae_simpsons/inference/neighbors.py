"""The nearest training images of samples or of a user's pictures, in pixels and in features, and whether it copies."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.order import spread
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation import features
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.memorisation import memorisation, nearest, nearest_numbers, ratios
from vae_simpsons.progress import Progress

VALIDATION = 1000  # images at most, spread over the validation set, that the figure is compared with
PIXELS, FEATURES = "pixels", "features"
Space = Callable[[Tensor, str], Tensor]  # uint8 images (n, C, H, W) and what they are, in words -> points (n, D)


class Found(NamedTuple):
    """The nearest training images of q queries in one space."""

    space: str
    paths: list[list[str]]  # (q, k) of them, nearest first
    images: Tensor  # uint8 (q, k, C, H, W)
    ratio: Tensor  # (q,) distance to the nearest over that to the second nearest of another group
    figures: tuple[Figure, ...] = ()  # memorisation ratio and memorised share; none where `lacking` says why
    lacking: str | None = None


def feature_spaces(progress: Progress) -> tuple[dict[str, Space], str | None]:
    """Returns the spaces that distances are taken in, by name, and why one is missing where it is."""
    found: dict[str, Space] = {PIXELS: lambda images, _: images.flatten(1)}
    try:
        network = features.load_network()
    except VAEError as e:
        return found, f"no neighbours in features: {str(e).removeprefix('evaluate: ')}"

    def in_features(images: Tensor, what: str) -> Tensor:
        return features.features(network, images, progress(f"features of {what}", len(images)))

    return {**found, FEATURES: in_features}, None


def find_neighbors(queries: Tensor, dataset: Dataset, count: int, name: str, space: Space, progress: Progress) -> Found:
    """Returns the `count` nearest training images of each query, mirrored or not, and the memorisation figures.

    Args:
        queries: uint8 (q, C, H, W).
        dataset: of the run: what trained and what validated.
        name: of the space.

    Raises:
        VAEError: all training images are near-duplicates.
    """
    pixels, train = dataset.pack.pixels, torch.from_numpy(dataset.train)
    groups = torch.tensor(dataset.pack.index.groups)[train]
    training = space(pixels[train], "training images")
    points, mirrored = space(queries, "queries"), space(queries.flip(-1), "mirrored queries")
    numbers = train[nearest_numbers(points, mirrored, training, min(count, len(train)))]
    ratio = ratios(nearest(points, mirrored, training, groups, progress("comparing", len(points))))
    paths = [[dataset.pack.index.paths[number] for number in row] for row in numbers.tolist()]
    found = Found(name, paths, pixels[numbers], ratio)
    validation = pixels[torch.from_numpy(dataset.val[spread(len(dataset.val), VALIDATION)])]
    points, mirrored = space(validation, "validation images"), space(validation.flip(-1), "mirrored validation images")
    show = progress("comparing validation images", len(points))
    try:
        figures = memorisation(ratio, ratios(nearest(points, mirrored, training, groups, show)))
    except VAEError as e:  # too few validation images: which figure, and how many it needs
        return found._replace(lacking=str(e))
    return found._replace(figures=figures)


def neighbor_rows(queries: Tensor, found: list[Found]) -> tuple[Tensor, list[str]]:
    """Returns a grid of uint8 images: a row a query and space, the query and then its neighbours; and labels of rows.

    The images are (rows * (1 + k), C, H, W).
    """
    rows, labels = [], []
    for i, query in enumerate(queries):
        for result in found:
            rows += [query[None], result.images[i]]
            labels.append(f"{result.space}\nratio {result.ratio[i]:.2f}")
    return torch.cat(rows), labels
