"""A figure's mean, its error and its refusal; what every module of figures promises."""

import ast
import importlib
import math
from pathlib import Path

import pytest
import torch

import vae_simpsons.evaluation
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.blocks import BLOCK, in_blocks, noise_source
from vae_simpsons.evaluation.figures import (
    Figure,
    jackknife_error,
    mean_figure,
    require,
    standard_error,
    value_and_error,
)

FILES = sorted(Path(vae_simpsons.evaluation.__file__).parent.rglob("*.py"))
ALLOWED = {"errors", "images", "objective", "progress", "evaluation"}
PURE = {  # the figures themselves: functions of tensors, which know nothing of runs and their images
    "blocks", "classifier", "dci", "disentanglement", "distances", "features", "figures", "likelihood", "memorisation",
    "pixels", "plan", "posterior", "result", "sums",
}  # fmt: skip


def test_the_mean_has_the_error_of_a_mean():
    values = torch.tensor([1.0, 2.0, 3.0, 6.0])
    figure = mean_figure("mse", values, "what it is", reference=2.0, reference_is="mean image")
    assert figure == Figure("mse", 3.0, pytest.approx((14 / 3) ** 0.5 / 2), 4, "what it is", 2.0, "mean image")
    assert standard_error(values[:1]) is None


def test_images_without_a_value_are_not_counted():
    figure = mean_figure("slope", torch.tensor([1.0, torch.nan, 3.0]), "")
    assert (figure.value, figure.count) == (2.0, 2)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left_out = (values.sum() - values) / 49
    assert jackknife_error(left_out) == pytest.approx(standard_error(values))


def test_too_few_are_refused_with_the_figure_and_the_number_needed():
    require("SSIM", 11, 11)
    with pytest.raises(
        VAEError, match="^SSIM: 3 images are too few; it needs 11. Give more images, or leave SSIM out.$"
    ):
        require("SSIM", 3, 11)


def test_blocks_are_always_full_and_nothing_of_the_filling_comes_back():
    seen = []

    def double(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((len(a), len(b)))
        return 2 * a, b

    done = []
    x = torch.arange(BLOCK + 3.0)
    doubled, same = in_blocks(double, x, x, on_progress=done.append)
    assert torch.equal(doubled, 2 * x) and torch.equal(same, x)
    assert seen == [(BLOCK, BLOCK)] * 2 and done == [BLOCK, BLOCK + 3]


def test_a_blocks_noise_depends_on_its_seed_and_number_alone():
    def draw(seed: int, block: int) -> torch.Tensor:
        return torch.randn(1000, generator=noise_source(seed, block))

    assert torch.equal(draw(0, 3), draw(0, 3))
    for other in (draw(0, 4), draw(1, 3), draw(3, 0)):
        assert abs(torch.corrcoef(torch.stack([draw(0, 3), other]))[0, 1]) < 0.15


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_evaluation_needs_no_test_library_and_its_figures_no_data(path):
    assert len(path.read_text().splitlines()) < 250
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            root, *rest = module.split(".")
            assert root not in {"lightning", "pytorch_lightning", "sklearn", "scipy", "prdc", "torchvision", "timm"}
            if path.parent.name == "evaluation" and path.stem in PURE and root == "vae_simpsons":
                assert not rest or rest[0] in ALLOWED, module


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_definition_is_one_line(path):
    parts = path.relative_to(Path(vae_simpsons.__file__).parent).with_suffix("").parts
    module = importlib.import_module(".".join(["vae_simpsons", *parts]).removesuffix(".__init__"))
    for definition in getattr(module, "DEFINITIONS", {}).values():
        assert 20 < len(definition) < 120 and "\n" not in definition


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.05541, 0.0012, "0.0554 ± 0.0012"),
        (-8898.1, 22.0, "-8,898 ± 22"),
        (-8898.1, 220.0, "-8,898 ± 220"),
        (64, None, "64"),
        (0.5, 0.0, "0.5"),
        (18.2, None, "18.2"),
        (4.605, 2e-9, "4.605"),
        (4.605, 2e-8, "4.605 ± 2.0e-08"),
        (math.nan, 0.1, "not a number"),
    ],
)
def test_a_value_has_the_digits_that_its_error_leaves(value, error, text):
    assert value_and_error(Figure("", value, error, 1, "")) == text
