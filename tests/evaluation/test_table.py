"""An evaluation as text and as JSON, and how many images each figure takes."""

import json
import math

import numpy as np
import pytest

from vae_simpsons.data.index import Index
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.disentanglement import Information
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.groups.factors import read_factors
from vae_simpsons.evaluation.groups.labels import usable_classes
from vae_simpsons.evaluation.groups.subject import choose
from vae_simpsons.evaluation.output import to_json
from vae_simpsons.evaluation.plan import SET_BYTES, VALUES, Bar, expected_seconds, make_plan
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.evaluation.table import format_table

FIGURES = [
    Figure("mse", 0.05541, 0.0012, 410, "what it is", 0.2, "mean image", "val"),
    Figure("PSNR", math.inf, math.nan, 1, "what it is", math.nan, "mean image", "val"),
    Figure("MIG", math.nan, None, 1, "what it is"),
]


def an_evaluation() -> Evaluation:
    matrix = Information(["hair"], np.array([[0.1, np.nan]]), np.array([1.5]))
    run = {"seed": 0, "quick": False, "settings": {"model.widths": (8, 16)}}
    return Evaluation(run, {"reconstruction": FIGURES}, ["FD: too few."], ["It is blurred."], factors=matrix)


def test_json_is_strict():
    text = json.dumps(to_json(an_evaluation()), allow_nan=False)
    assert "NaN" not in text and "Infinity" not in text
    tree = json.loads(text)
    assert tree["groups"]["reconstruction"][1]["value"] is None and tree["run"]["settings"]["model.widths"] == [8, 16]
    assert tree["missing"] == ["FD: too few."] and tree["factors"]["names"] == ["hair"]


def test_the_table_has_everything_that_a_reviewer_asks():
    lines = format_table(an_evaluation()).splitlines()
    assert lines[:3] == [
        "reconstruction",
        "  mse                                     0.0554 ± 0.0012       N 410 val                  mean image 0.2",
        "      what it is",
    ]
    assert "  - FD: too few." in lines and "  - It is blurred." in lines


def test_no_figure_takes_more_images_than_there_are_or_than_asked_for():
    plan = make_plan(410, 3686, 410, 5000, False, VALUES, True)
    assert (plan.images, plan.samples, plan.training, plan.held_out, plan.searched) == (410, 5000, 3686, 410, 3686)
    few = make_plan(410, 3686, 410, 100, True, VALUES, True)
    assert max(few.images, few.samples, few.training, few.held_out, few.queries, few.factors) == 100
    assert make_plan(410, 3686, 410, 5000, False, VALUES, False).samples == 0
    large = make_plan(10**6, 10**6, 10**6, 10**6, False, 3 * 1024 * 1024, True)
    assert large.samples * 3 * 1024 * 1024 <= SET_BYTES >= large.searched * 3 * 1024 * 1024


def test_a_toons_run_is_planned_below_three_minutes_of_two_cores_and_a_quick_one_below_half_a_minute():
    for quick, samples, limit in ((False, 5000, 180), (True, 500, 30)):
        plan = make_plan(410, 3686, 410, samples, quick, VALUES, True)
        assert sum(expected_seconds(plan, VALUES, True, True, True, True).values()) < limit


def test_parts_of_the_bar_begin_where_the_one_before_ends():
    shown = []
    bar = Bar(lambda title, total: shown.append((title, total)) or shown.append, {"a": 10.0, "b": 30.0})
    bar.part("b", 3)(1)
    bar.part("b", 3)(3)
    bar.finish()
    assert shown == [("evaluating", 40), 20, 39, 40]


def test_a_seed_chooses_images_and_all_are_taken_where_there_are_no_more():
    few = np.arange(10, 20)
    assert (choose(few, 10, 0) == few).all() and (choose(few, 50, 0) == few).all()
    some = choose(few, 4, 0)
    assert len(some) == 4 and (np.sort(some) == some).all() and set(some) <= set(few)
    assert any((choose(few, 4, seed) != some).any() for seed in range(1, 5))


def test_factors_are_typed_by_what_is_in_their_column(tmp_path):
    (tmp_path / "factors.csv").write_text("file,skin,width,teeth,count\nb.png,sky,0.5,True,2\na.png,mint,0.0,False,3\n")
    found = read_factors(tmp_path, Index(paths=["a.png", "b.png"]))
    assert {name: column.dtype.kind for name, column in found.items()} == {
        "skin": "U", "width": "f", "teeth": "U", "count": "i",
    }  # fmt: skip
    assert found["skin"].tolist() == ["mint", "sky"] and found["width"].tolist() == [0.0, 0.5]
    assert read_factors(tmp_path, Index(paths=["a.png", "c.png"])) == {}  # not of all images
    assert read_factors(tmp_path / "nowhere", Index(paths=["a.png"])) == {}
    (tmp_path / "factors.csv").write_text("file,skin\n")
    assert read_factors(tmp_path, Index(paths=["a.png"])) == {}


def test_only_classes_with_enough_images_are_classified():
    train, val = np.repeat([0, 1, 2, 3], [30, 20, 19, 40]), np.array([0, 1, 2])
    assert usable_classes(train, val).tolist() == [0, 1]
    with pytest.raises(VAEError, match="label accuracy: 1 of 4 classes have 20 training images and one to test on"):
        usable_classes(train, np.array([0, 2]))
