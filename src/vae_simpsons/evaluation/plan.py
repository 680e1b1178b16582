"""How many images each figure is made of, how long that takes, and one progress bar over all of it.

The counts of the defaults keep an evaluation of 64x64 images under three minutes on two cores, those of --quick under
30 seconds. Every figure says its own N.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vae_simpsons.progress import Progress

SAMPLES, QUICK_SAMPLES = 5000, 500  # images on each side of a figure, at most, unless the user says
FLOW_SAMPLES, QUICK_FLOW_SAMPLES = 1000, 200  # drawn by a flow, which takes a hundred times as long
SET_BYTES = 2**30  # of the pixels of one set of images in memory
SEARCHED = 20_000  # training images, at most, that a copy is looked for among
VALUES = 3 * 64 * 64  # of the images that the costs below were measured on
# CPU milliseconds an image, one core, 64x64 RGB, the network of configs/toons.yaml.
ENCODE, DECODE, PIXEL_FIGURES, SHARPNESS = 0.25, 0.8, 3.5, 0.6
LIKELIHOODS, WEIGHTED, FEATURE = 3.6, 0.8, 6.0
FLOW = 90.0  # of configs/toons.yaml
SEARCH = 0.0006  # for each training image
DISTANCES, FRECHET, FACTORS, CLASSIFIER = 2_500, 6_000, 2_000, 26_000  # in all


@dataclass(frozen=True)
class Plan:
    """How many images each figure is made of."""

    images: int  # of the evaluated split
    samples: int  # drawn from the prior; 0 for an autoencoder
    training: int  # whose features are compared with
    held_out: int  # validation images, the floor of what is compared with training images
    fitted: int  # training images that the pixel noise is fitted to
    weighted: int  # images of the importance-weighted bound
    weights: int  # K of it
    queries: int  # samples and validation images whose nearest training image is looked for
    searched: int  # training images that it is looked for among
    factors: int  # images with known factors
    classifier: bool  # whether it is trained

    @property
    def features(self) -> int:
        """How many images the network of the features looks at: held-out ones and reconstructions are two sets."""
        drawn = self.samples + 2 * self.queries if self.samples else 0
        return self.training + self.held_out + self.images + drawn


def make_plan(
    split: int,
    train: int,
    val: int,
    samples: int,
    quick: bool,
    values: int,
    variational: bool,
    drawn: int | None = None,
) -> Plan:
    """Returns how many images each figure is made of.

    Args:
        split: images of the evaluated split; `train` and `val`: of either side.
        samples: the most on each side of a figure.
        values: C * H * W of an image.
        drawn: the most that are drawn from the prior; None: `samples`.
    """
    most = max(1, min(samples, SET_BYTES // values))
    queries = min(200 if quick else 512, most)
    return Plan(
        images=min(split, most),
        samples=min(most, drawn or most) if variational else 0,
        training=min(train, most),
        held_out=min(val, most),
        fitted=min(train, 256 if quick else 1024, most),
        weighted=min(split, 64 if quick else 256, most),
        weights=10 if quick else 50,
        queries=queries,
        searched=min(train, SEARCHED, max(1, SET_BYTES // values)),
        factors=min(train + val, most),
        classifier=not quick,
    )


def expected_seconds(
    plan: Plan, values: int, variational: bool, features: bool, labels: bool, factors: bool, flow: bool = False
) -> dict[str, float]:
    """Returns the seconds of each part of an evaluation, in their order, on one core; only their ratios matter."""
    size, p = values / VALUES, plan
    parts = {
        "encode": p.images * ENCODE * size,
        "reconstruct": p.images * (DECODE + PIXEL_FIGURES + 2 * SHARPNESS) * size,
        "fit": p.fitted * (ENCODE + DECODE) * size * variational,
        "bounds": p.images * (DECODE + LIKELIHOODS) * size * variational,
        "iwae": 2 * p.weighted * p.weights * WEIGHTED * size * variational,
        "draw": p.samples * (DECODE + SHARPNESS + FLOW * flow) * size,
        "features": p.features * FEATURE * features,
        "distances": (DISTANCES + FRECHET * (p.training > 2500)) * features,
        "search": 2 * p.queries * p.searched * SEARCH * size * variational,
        "labels": CLASSIFIER * (labels and plan.classifier) * size,
        "factors": (p.factors * ENCODE * size + FACTORS) * factors,
    }
    return {name: milliseconds / 1000 for name, milliseconds in parts.items()}


class Bar:
    """One progress bar over all parts, in expected seconds."""

    def __init__(self, progress: Progress, seconds: Mapping[str, float]) -> None:
        self._seconds = seconds
        self._total = max(1, round(sum(seconds.values())))
        self._show = progress("evaluating", self._total)

    def part(self, name: str, count: int) -> Callable[[int], None]:
        """Returns a function that is called with how many of `count` the part `name` has done."""
        names = list(self._seconds)
        before = sum(self._seconds[n] for n in names[: names.index(name)])

        def show(done: int) -> None:
            reached = before + self._seconds[name] * done / max(1, count)
            self._show(min(int(reached), self._total - 1))  # only `finish` closes the bar

        return show

    def finish(self) -> None:
        """Fills the bar and closes it."""
        self._show(self._total)
