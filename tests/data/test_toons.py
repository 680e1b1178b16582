import csv
import errno
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from PIL import Image

from vae_simpsons.data.toons import Toon, cached_toons, draw_toon, factors, hair, make_toon, write_toons
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import no_progress

STYLES = {
    "skin": factors.SKINS,
    "hair": factors.HAIRSTYLES,
    "hair_colour": factors.HAIR_COLOURS,
    "iris": factors.IRISES,
    "nose": factors.NOSES,
    "glasses": factors.GLASSES,
    "beard": factors.BEARDS,
    "collar": factors.COLLARS,
    "clothes": factors.CLOTHES,
    "background": factors.BACKGROUNDS,
    "backdrop": factors.BACKDROPS,
}


def pixels(drawn: Toon, size: int = 64) -> np.ndarray:
    return np.asarray(draw_toon(drawn, size)).astype(int)


def test_a_seed_and_a_number_decide_the_toon_and_its_pixels():
    assert make_toon(1, 5) == make_toon(1, 5) != make_toon(1, 6)
    assert make_toon(2, 5) != make_toon(1, 5)
    assert np.array_equal(pixels(make_toon(1, 5)), pixels(make_toon(1, 5)))


@pytest.mark.parametrize("size", [16, 32, 64, 128, 200])
def test_any_size_is_rgb_and_shows_the_same_face(size):
    picture = draw_toon(make_toon(0, 3), size)
    assert picture.mode == "RGB" and picture.size == (size, size)
    coarse = [p.resize((16, 16), Image.Resampling.BOX) for p in (picture, draw_toon(make_toon(0, 3), 256))]
    assert abs(np.asarray(coarse[0]).astype(int) - np.asarray(coarse[1])).mean() < 12


def test_edges_are_antialiased():
    """A white disc's edge is neither white nor the backdrop's colour; the middle of either is plain."""
    bare = replace(make_toon(0, 0), background="dusk", backdrop="disc", hair="bald")
    row = pixels(bare)[4]
    inside, outside = row[32], row[0]
    steps = [tuple(p) for p in row if tuple(p) not in (tuple(inside), tuple(outside))]
    assert tuple(outside) == factors.BACKGROUNDS["dusk"] and len(set(steps)) >= 2


def test_every_hairstyle_is_drawn():
    assert tuple(hair.HAIR) == factors.HAIRSTYLES


def test_all_styles_occur_and_none_crowds_out_the_others():
    drawn = [make_toon(0, i) for i in range(600)]
    for name, styles in STYLES.items():
        counts = [sum(getattr(t, name) == style for t in drawn) for style in styles]
        assert min(counts) >= 15, name


@pytest.mark.parametrize("factor", [f.name for f in fields(Toon)])
def test_every_factor_changes_the_picture(factor):
    base = replace(make_toon(0, 1), hair="crop", glasses="none", beard="none", mouth_open=0.8, teeth=True)
    value = getattr(base, factor)
    if factor in STYLES:
        others = [style for style in STYLES[factor] if style != value]
    elif isinstance(value, bool):
        others = [not value]
    else:
        drawn = [getattr(make_toon(0, i), factor) for i in range(60)]
        others = [max(drawn, key=lambda other: abs(other - value))]
    for other in others:
        assert not np.array_equal(pixels(base), pixels(replace(base, **{factor: other}))), other


@pytest.mark.parametrize("hair", factors.HAIRSTYLES)
def test_nothing_of_the_head_is_cut_off(hair):
    for index in range(30):
        drawn = replace(make_toon(1, index), hair=hair, backdrop="plain")
        picture = pixels(drawn)
        border = np.concatenate([picture[0], picture[:54, 0], picture[:54, -1]])
        assert (border == factors.BACKGROUNDS[drawn.background]).mean() > 0.99, index


def test_any_beard_leaves_the_mouth_to_be_seen():
    for beard in factors.BEARDS:
        for skin in factors.SKINS:
            face = replace(make_toon(0, 1), skin=skin, beard=beard, mouth_curve=0.0, mouth_open=1.0, teeth=True,
                           tilt=0.0, shift_x=0.0, shift_y=0.0)  # fmt: skip
            assert pixels(face)[45:52, 28:36].sum(2).max() > 700, "white teeth"


def test_a_mean_picture_is_a_face_and_pictures_differ_from_it():
    drawn = np.stack([pixels(make_toon(0, i), 32) for i in range(200)])
    assert drawn.mean(0).std() > 15
    assert drawn.std(0).mean() > 40


def test_eyes_and_mouth_stand_out_at_64_pixels():
    """White of the eyes, dark pupils and dark of an open mouth, for every skin."""
    for skin in factors.SKINS:
        face = replace(make_toon(0, 1), skin=skin, hair="bald", glasses="none", beard="none", nose="button",
                       eye_size=0.08, eye_gap=0.05, lid=0.0, gaze_x=0.0, gaze_y=0.0, mouth_open=1.0, teeth=False,
                       mouth_curve=0.5, tilt=0.0, shift_x=0.0, shift_y=0.0)  # fmt: skip
        picture = pixels(face).sum(2)
        pupils = picture[33, [25, 38]]
        eyes, mouth, forehead = picture[29:38, 19:45], picture[45:54, 26:38], picture[18:22, 28:36].mean()
        assert eyes.max() > 700 and pupils.max() < 250
        assert mouth.min() < forehead - 80


def test_write_makes_the_files_and_the_table_of_their_factors(tmp_path):
    seen = []
    write_toons(tmp_path / "set", 12, seed=3, size=32, show=seen.append)
    drawn = [make_toon(3, i) for i in range(12)]
    paths = [f"{toon.hair}/toon_{i:05d}.png" for i, toon in enumerate(drawn)]
    found = {p.relative_to(tmp_path / "set").as_posix() for p in (tmp_path / "set").rglob("*.*")}
    assert found == {"factors.csv", *paths}
    assert seen == list(range(1, 13))
    with open(tmp_path / "set" / "factors.csv", newline="") as file:
        rows = list(csv.DictReader(file))
        assert [row["file"] for row in rows] == paths, "in the order of their numbers"
        for i, row in enumerate(rows):
            assert row == {"file": paths[i]} | {k: str(v) for k, v in asdict(drawn[i]).items()}
            assert np.array_equal(np.asarray(Image.open(tmp_path / "set" / row["file"])), pixels(drawn[i], 32))


def keep(count, seed, size, folder):
    return cached_toons(count, seed, size, folder, no_progress)


def test_they_are_drawn_once_and_kept(tmp_path):
    first = keep(5, 0, 32, tmp_path / "cache")
    before = {p: p.stat().st_mtime_ns for p in first.rglob("*.*")}
    assert keep(5, 0, 32, tmp_path / "cache") == first
    assert {p: p.stat().st_mtime_ns for p in first.rglob("*.*")} == before and len(before) == 6
    others = {keep(*key, tmp_path / "cache") for key in ((6, 0, 32), (5, 1, 32), (5, 0, 16))}
    assert len(others | {first}) == 4


def test_a_cache_that_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    cache = tmp_path / "file" / "cache"
    with pytest.raises(VAEError) as caught:
        keep(5, 0, 32, cache)
    said = str(caught.value)
    assert said.startswith(f"data.cache_dir: cannot write {cache}: ") and "\n" not in said
    assert said.endswith(" with --data.cache_dir DIR.")


def test_a_disk_that_is_full_is_said_in_one_line(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(VAEError, match=r"data.cache_dir: cannot write .*: No space left on device. Give"):
        keep(5, 0, 32, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["locks"]
