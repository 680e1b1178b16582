"""The report: one file that loads nothing, says everything, and trusts nobody's names."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from vae_simpsons.evaluation import page
from vae_simpsons.evaluation.charts import Line, bar_chart, line_chart, number, ticks
from vae_simpsons.evaluation.curves import curve_charts, grouped
from vae_simpsons.evaluation.disentanglement import Information
from vae_simpsons.evaluation.embed import data_uri, draw_grid
from vae_simpsons.evaluation.figures import Figure
from vae_simpsons.evaluation.report import write_report
from vae_simpsons.evaluation.result import Evaluation, LatentMap, Neighbours, Reconstructions, Traversal

EVIL = "<script>alert(1)</script>\"'&\u202e\n"
SECTIONS = ["curves", "figures", "reconstructions", "samples", "neighbours", "traversal", "latents", "run"]
VOID = {"meta", "img", "input", "circle", "line", "polyline"}


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random uint8 pictures, which compress badly."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def evaluation(size: int = 16, channels: int = 3, many: int = 40, name: str = "toons") -> Evaluation:
    """An evaluation with every part."""
    part = Reconstructions(drawn(8, channels, size, size), drawn(8, channels, size, size, seed=1), torch.rand(8))
    rows = [{"epoch": str(e), "step": str(e), "train/mse": str(1 / e), "val/mse": "2"} for e in (1, 2, 3)]
    points = torch.from_numpy(np.random.default_rng(2).normal(size=(many, 2)))
    return Evaluation(
        run={
            "name": name,
            "settings": {"model.latent_dim": 4, "data.path": name},
            "epochs": 3,
            "versions": {"a": name},
        },
        groups={"reconstruction": [Figure(name, 0.05543, 0.0012, 10, name, 0.3, name)]},
        missing=[name],
        sentences=[name, "Samples are blurred."],
        curves=rows,
        reconstructions={"best": part, "median": part, "worst": part},
        samples=drawn(64, channels, size, size),
        neighbours=Neighbours(drawn(8, channels, size, size), drawn(8, 3, channels, size, size), torch.rand(8, 3)),
        traversal=Traversal([3, 1], [2.0, 1.0], [-3.0, 0.0, 3.0], drawn(2, 3, channels, size, size)),
        latent_map=LatentMap(points, (0.5, 0.25), drawn(many, channels, 8, 8), torch.arange(many) % 2, [name, "b"]),
        kl_per_dimension=[0.5, 1.0, 0.0, 2.0],
        factors=Information([name, "never"], np.array([[1.0, 0.1, 0, 0], [0, 0, 0, 0]]), np.array([2.0, 0.0])),
    )


def written(found: Evaluation, path) -> str:
    write_report(found, path)
    return path.read_text(encoding="utf-8")


class Checker(HTMLParser):
    """Finds what is loaded, and whether every element that opens also closes."""

    def __init__(self) -> None:
        super().__init__()
        self.loads, self.open, self.ids, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.loads += [v for k, v in attrs if k in ("src", "href", "data", "action", "poster") and v]
        self.ids += [values["id"]] if "id" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert all(loaded.startswith(("data:image/webp;base64,", "#")) for loaded in checker.loads)
    assert not re.search(
        r"(?:https?:)?//[a-z]|@import|url\((?!data:)", re.sub(r"base64,[\w+/=]+|^ *// .*$", "", text, flags=re.M)
    )
    assert len(set(checker.ids)) == len(checker.ids)
    assert all(values.get("alt") for tag, values in checker.tags if tag == "img")
    assert all(v.get("aria-label") or v.get("aria-hidden") for tag, v in checker.tags if tag == "svg")
    return checker


def test_the_page_has_every_part_and_loads_nothing(tmp_path):
    text = written(evaluation(), tmp_path / "report.html")
    checker = checked(text)
    assert checker.ids == SECTIONS
    assert text.startswith("<!doctype html>") and "default-src 'none'" in text
    assert "0.0554 ± 0.0012" in text and "A VAE with 4 latent dimensions, trained on toons for 3 epochs." in text
    assert "Not measured." not in text and "None:" not in text
    for said in (
        "best",
        "median",
        "worst",
        "nearest",
        "dim 3",
        "2.00 nats",
        "−3",
        "50% and 25%",
        "half of them in the first 1",
    ):
        assert said in text, said
    assert [tag for tag, _ in checker.tags].count("h1") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    torch.manual_seed(0)
    first = evaluation()
    assert written(first, tmp_path / "a.html") == written(first, tmp_path / "b.html")


@pytest.mark.parametrize("size", [64, 256])
def test_the_page_stays_below_five_megabytes(tmp_path, size):
    """Noise, which nothing compresses, with as many pictures as there ever are."""
    found = replace(evaluation(size, many=1000))
    big = Reconstructions(drawn(16, 3, size, size), drawn(16, 3, size, size), torch.rand(16))
    found = replace(
        found,
        reconstructions={"best": big, "median": big, "worst": big},
        neighbours=Neighbours(drawn(64, 3, size, size), drawn(64, 3, 3, size, size), torch.rand(64, 3)),
        traversal=Traversal(list(range(10)), [1.0] * 10, [float(i) for i in range(11)], drawn(10, 11, 3, size, size)),
        latent_map=replace(found.latent_map, thumbnails=drawn(1000, 3, 32, 32)),
    )
    write_report(found, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 5_000_000


def test_names_of_strangers_are_text_and_nothing_else(tmp_path):
    text = written(evaluation(name=EVIL), tmp_path / "report.html")
    checker = checked(text)
    assert "<script>alert" not in text and "\u202e" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert [tag for tag, _ in checker.tags].count("script") == 1
    assert not any(key.startswith("on") for _, values in checker.tags for key in values)


def test_an_autoencoder_says_what_it_has_not(tmp_path):
    found = evaluation()
    settings = {"model.variational": False, "model.latent_dim": 4}
    nothing = {"samples": None, "neighbours": None, "traversal": None, "kl_per_dimension": [], "factors": None}
    text = written(replace(found, run=found.run | {"settings": settings}, **nothing), tmp_path / "report.html")
    assert checked(text).ids == SECTIONS
    assert text.count("None: an autoencoder has no prior to draw from.") == 2 and "A plain autoencoder" in text


def test_an_evaluation_of_nothing_is_a_page_too(tmp_path):
    text = written(Evaluation({}, {}), tmp_path / "report.html")
    assert checked(text).ids == SECTIONS
    assert "there is no metrics.csv" in text and "A model, evaluated" in text


def test_images_without_labels_and_of_one_colour(tmp_path):
    found = evaluation(channels=1)
    alone = replace(found.latent_map, labels=torch.zeros(40, dtype=torch.int64), class_names=[""])
    text = written(replace(found, latent_map=alone), tmp_path / "report.html")
    checked(text)
    assert 'class="key"' not in text


def test_many_classes_share_the_last_colour(tmp_path):
    found = evaluation()
    labels = torch.arange(40) % 12
    many = replace(found.latent_map, labels=labels, class_names=[f"c{i}" for i in range(12)])
    text = written(replace(found, latent_map=many), tmp_path / "report.html")
    assert "4 more" in text and text.count('class="dot f8"') == 12  # c8 to c11, three each


def test_a_map_of_one_image(tmp_path):
    found = evaluation(many=1)
    checked(written(found, tmp_path / "report.html"))


def test_curves_that_are_no_numbers_are_left_out():
    rows = [{"epoch": "1", "val/mse": "nan", "val/kl": "3", "odd": "x"}, {"epoch": "2", "val/mse": "", "val/kl": "inf"}]
    assert curve_charts(rows).count("<svg") == 1


def test_train_and_validation_of_a_figure_are_in_one_chart():
    columns = [
        "epoch",
        "step",
        "train/mse",
        "train/kl",
        "val/mse",
        "val/kl",
        "sigma/residual",
        "sigma/implied",
        "train/lr",
        "time_s",
    ]
    assert grouped(columns) == {
        "mse": ["train/mse", "val/mse"],
        "kl": ["train/kl", "val/kl"],
        "sigma": ["sigma/residual", "sigma/implied"],
        "lr": ["train/lr"],
    }


@pytest.mark.parametrize("ys", [[1.0], [2.0, 2.0], [0.0, 0.0], [-3.0, 5.0], [1e-9, 1e9], [1e30, 1.1e30]])
def test_any_numbers_make_a_chart(ys):
    chart = line_chart("c", [Line("val", list(enumerate(ys, 1)), 0)])
    assert chart.startswith("<svg") and "nan" not in chart and f"from {number(ys[0])} to {number(ys[-1])}" in chart


def test_bars_of_nothing_are_flat():
    assert "nan" not in bar_chart("b", [0.0, 0.0], ["a", "b"], "nats")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-14_900, -14_100), (0.0021, 0.0049), (63, 64)])
def test_ticks_are_round_and_inside(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 6 and all(low <= tick <= high for tick in found)
    assert all(len(f"{tick:.6g}".replace("-", "").replace(".", "").strip("0")) <= 3 for tick in found)


def test_a_picture_keeps_to_its_budget_and_small_ones_lose_nothing():
    grid = draw_grid(drawn(64, 3, 64, 64), 8)
    assert grid.size == (8 * 66 - 2, 8 * 66 - 2)
    assert len(data_uri(grid, budget=20_000)) < 27_000
    flat = draw_grid(torch.full((4, 1, 8, 8), 7, dtype=torch.uint8), 2)
    assert flat.getpixel((0, 0)) == (7, 7, 7, 255) and flat.getpixel((8, 0))[3] == 0, "gaps are transparent"


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    target.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError):
        page.write_page(target, "t", "", [])
    assert target.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
