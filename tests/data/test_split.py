from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_simpsons.data.index import Facts, Index
from vae_simpsons.data.split import draw_split, read_manifest, write_manifest
from vae_simpsons.errors import VAEError
from vae_simpsons.settings import Data


def index_of(classes, groups=None, hashes=None) -> Index:
    """An index of images in these classes, near-duplicate groups, and with these contents."""
    count = len(classes)
    paths = [f"{name}/{i:05d}.png" if name else f"{i:05d}.png" for i, name in enumerate(classes)]
    facts = [Facts(str(h), 64, 64, "PNG", "RGB") for h in (hashes or range(count))]
    return Index(paths, facts, list(groups or range(count)))


def sides(index, seed=1, **data) -> tuple[list[int], list[int]]:
    found = draw_split(index, Data(**data), seed)
    return found.train.tolist(), found.val.tolist()


def test_sorted_takes_the_first_three_quarters():
    train, val = sides(index_of([""] * 18_992), split="sorted")
    assert train == list(range(14_244)) and val == list(range(14_244, 18_992))


def test_shuffled_is_disjoint_complete_seeded_and_shuffled():
    index = index_of([""] * 100)
    train, val = sides(index, split="shuffled")
    assert sorted([*train, *val]) == list(range(100)) and len(train) == 75 and train == sorted(train)
    assert sides(index, split="shuffled") == (train, val) != sides(index, seed=2, split="shuffled")
    assert max(train) > 75


def test_grouped_is_the_default_and_drops_copies_but_the_first():
    index = index_of([""] * 8, groups=[0, 1, 0, 3, 4, 5, 6, 7], hashes="abacdefg")
    train, val = sides(index)
    assert sorted([*train, *val]) == [0, 1, 3, 4, 5, 6, 7]


images = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 60)), min_size=30, max_size=200)


def grouped_index(drawn) -> Index:
    """Classes, groups named by their first image, and contents; images with the same bytes are in one group."""
    first: dict[object, int] = {}
    groups, hashes = [], []
    for i, (_, group, content) in enumerate(drawn):
        hashes.append(f"{group}-{content % 3}" if content < 20 else f"{i}")
        groups.append(first.setdefault(group, i))
    return index_of([c for c, _, _ in drawn], groups, hashes)


@settings(max_examples=200, deadline=None)
@given(images, st.floats(0.2, 0.9), st.integers(0, 2**32 - 1))
def test_no_group_is_on_both_sides_and_no_copy_on_any(drawn, fraction, seed):
    index = grouped_index(drawn)
    try:
        train, val = sides(index, seed, train_fraction=fraction)
    except VAEError:
        return  # a few groups only, all on one side
    assert not set(train) & set(val)
    assert not {index.groups[i] for i in train} & {index.groups[i] for i in val}
    used = sorted([*train, *val])
    assert len({index.facts[i].sha256 for i in used}) == len(used) == len({f.sha256 for f in index.facts})
    assert (train, val) == sides(index, seed, train_fraction=fraction)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("aaabbc"), min_size=40, max_size=400), st.floats(0.3, 0.9), st.data())
def test_each_class_keeps_its_share_to_within_a_group(classes, fraction, data):
    """With groups of at most five, every class's share of training is off by at most five images, and the total too."""
    groups, last = [], 0
    for i, size in enumerate(data.draw(st.lists(st.integers(1, 5), min_size=len(classes), max_size=len(classes)))):
        if i and (classes[i] != classes[last] or i - last >= size):
            last = i
        groups.append(last if i else 0)
    index = index_of(classes, groups)
    train, _ = sides(index, train_fraction=fraction)
    total, trained = Counter(classes), Counter(classes[i] for i in train)
    assert abs(len(train) - fraction * len(classes)) <= 5
    for name, count in total.items():
        assert abs(trained[name] - fraction * count) <= 5


def test_tiny_classes_do_not_add_up_to_a_wrong_total():
    index = index_of([f"class {i // 2}" for i in range(1000)])
    train, val = sides(index)
    assert len(train) == 750 and len(val) == 250


def test_groups_are_shared_out_and_not_all_on_the_larger_side():
    index = index_of([""] * 1000, groups=[i // 5 * 5 if i < 500 else i for i in range(1000)])
    train, val = sides(index)
    assert 20 <= sum(i < 500 for i in val) / 5 <= 30


@pytest.mark.parametrize("rule", ["sorted", "shuffled", "grouped"])
@pytest.mark.parametrize(("count", "fraction", "side"), [(4, 1.0, "validation"), (3, 0.1, "training")])
def test_an_empty_side_is_refused(count, fraction, side, rule):
    with pytest.raises(VAEError, match=f"data.train_fraction: .* of {count} images .*leaves none for {side}"):
        sides(index_of([""] * count), split=rule, train_fraction=fraction)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (
            index_of([""] * 120, groups=[0] * 120),
            "split: grouped .* all 120 images are near-dup.* --data.split shuffled",
        ),
        (index_of([""] * 3, groups=[0] * 3, hashes="aba"), "all 2 images are near-duplicates"),
        (index_of([""] * 2, groups=[0] * 2, hashes="aa"), "data.path: 2 images, all the same byte for byte, and one"),
        (index_of([""]), "data.path: one image, and one cannot both train and validate. Give more images."),
    ],
)
def test_what_cannot_be_split_by_groups_says_why(index, said):
    with pytest.raises(VAEError, match=said):
        sides(index)
    if len(index.paths) > 3:
        assert len(sides(index, split="shuffled")[1]) == 30


def test_a_manifest_reads_back(tmp_path):
    index = index_of(["a", "b,\n", "\udcff", "é", "", "", "", ""], hashes="aabcdefg", groups=[0, 0, 2, 3, 4, 5, 6, 7])
    index.paths[4] = 'line\nbreak,"quoted".png'
    found = draw_split(index, Data(), 1)
    write_manifest(tmp_path / "split.csv", index, found)
    again = read_manifest(tmp_path / "split.csv", index)
    assert np.array_equal(again.train, found.train) and np.array_equal(again.val, found.val)
    assert (tmp_path / "split.csv").read_bytes().startswith(b"path,class,side")
    assert b"duplicate" in (tmp_path / "split.csv").read_bytes()


def test_a_manifest_holds_when_images_come_and_is_refused_when_they_go(tmp_path):
    before = index_of([""] * 8)
    found = draw_split(before, Data(), 1)
    write_manifest(tmp_path / "split.csv", before, found)
    more = Index(["00000-new.png", *before.paths], [before.facts[0], *before.facts], [0, *before.groups])
    assert np.array_equal(read_manifest(tmp_path / "split.csv", more).train, found.train + 1)
    fewer = Index(before.paths[1:], before.facts[1:], before.groups[1:])
    with pytest.raises(VAEError, match=r"data.path: 1 of the 8 images of .*split.csv are gone, the first '00000.png'"):
        read_manifest(tmp_path / "split.csv", fewer)


@pytest.mark.parametrize("text", ["", "a,b,c\n1,2,3\n", "path,class,side\nx\n", None])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "split.csv").write_text(text)
    with pytest.raises(VAEError, match="manifest: .*split.csv.* Put it back."):
        read_manifest(tmp_path / "split.csv", index_of(["a"]))
