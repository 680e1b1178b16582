import csv
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from PIL import Image

from vae_simpsons.data import toons
from vae_simpsons.data.toons import Toon, cached, draw, toon, write
from vae_simpsons.errors import VAEError

STYLES = {
    "skin": toons.SKINS,
    "hair": toons.HAIR,
    "hair_colour": toons.HAIR_COLOURS,
    "iris": toons.IRISES,
    "nose": toons.NOSES,
    "glasses": toons.GLASSES,
    "beard": toons.BEARDS,
    "collar": toons.COLLARS,
    "clothes": toons.CLOTHES,
    "background": toons.BACKGROUNDS,
    "backdrop": toons.BACKDROPS,
}


def pixels(drawn: Toon, size: int = 64) -> np.ndarray:
    return np.asarray(draw(drawn, size)).astype(int)


def test_a_seed_and_a_number_decide_the_toon_and_its_pixels():
    assert toon(1, 5) == toon(1, 5) != toon(1, 6)
    assert toon(2, 5) != toon(1, 5)
    assert np.array_equal(pixels(toon(1, 5)), pixels(toon(1, 5)))


@pytest.mark.parametrize("size", [16, 32, 64, 128, 200])
def test_any_size_is_rgb_and_shows_the_same_face(size):
    picture = draw(toon(0, 3), size)
    assert picture.mode == "RGB" and picture.size == (size, size)
    coarse = [p.resize((16, 16), Image.Resampling.BOX) for p in (picture, draw(toon(0, 3), 256))]
    assert abs(np.asarray(coarse[0]).astype(int) - np.asarray(coarse[1])).mean() < 12


def test_edges_are_antialiased():
    flat = replace(toon(0, 0), background="sand", backdrop="disc")
    assert len(np.unique(pixels(flat).reshape(-1, 3), axis=0)) > 200


def test_all_styles_occur_and_none_crowds_out_the_others():
    drawn = [toon(0, i) for i in range(600)]
    for name, styles in STYLES.items():
        counts = [sum(getattr(t, name) == style for t in drawn) for style in styles]
        assert min(counts) >= 15, name


@pytest.mark.parametrize("factor", [f.name for f in fields(Toon)])
def test_every_factor_changes_the_picture(factor):
    base = replace(toon(0, 1), hair="crop", glasses="none", beard="none", mouth_open=0.8, teeth=True)
    value = getattr(base, factor)
    if factor in STYLES:
        others = [style for style in STYLES[factor] if style != value]
    elif isinstance(value, bool):
        others = [not value]
    else:
        drawn = [getattr(toon(0, i), factor) for i in range(60)]
        others = [max(drawn, key=lambda other: abs(other - value))]
    for other in others:
        assert not np.array_equal(pixels(base), pixels(replace(base, **{factor: other}))), other


def test_eyes_and_mouth_stand_out_at_64_pixels():
    """White of the eye and dark of an open mouth against the skin beside them, for every skin."""
    for skin in toons.SKINS:
        face = replace(toon(0, 1), skin=skin, hair="bald", glasses="none", beard="none", nose="button", eye_size=0.08,
                       eye_spacing=0.12, gaze_x=0.0, gaze_y=0.0, mouth_open=1.0, teeth=False, mouth_curve=0.5,
                       tilt=0.0, shift_x=0.0, shift_y=0.0)  # fmt: skip
        picture = pixels(face).sum(2)
        eyes, mouth, forehead = picture[27:36, 19:45], picture[44:54, 26:38], picture[20:23, 28:36].mean()
        assert eyes.max() > 700 and eyes.min() < 200
        assert mouth.min() < min(200, forehead - 80)


def test_write_makes_the_files_and_the_table_of_their_factors(tmp_path):
    seen = []
    write(tmp_path / "set", 12, seed=3, size=32, on_progress=seen.append)
    names = sorted(p.name for p in (tmp_path / "set").iterdir())
    assert names == ["factors.csv", *(f"toon_{i:05d}.png" for i in range(12))]
    assert seen == list(range(1, 13))
    with open(tmp_path / "set" / "factors.csv", newline="") as file:
        for i, row in enumerate(csv.DictReader(file)):
            assert row == {"file": f"toon_{i:05d}.png"} | {k: str(v) for k, v in asdict(toon(3, i)).items()}
            assert np.array_equal(np.asarray(Image.open(tmp_path / "set" / row["file"])), pixels(toon(3, i), 32))


def test_they_are_drawn_once_and_kept(tmp_path):
    first = cached(5, 0, 32, tmp_path / "cache")
    before = {p: p.stat().st_mtime_ns for p in first.iterdir()}
    assert cached(5, 0, 32, tmp_path / "cache") == first
    assert {p: p.stat().st_mtime_ns for p in first.iterdir()} == before and len(before) == 6
    others = {cached(*key, tmp_path / "cache") for key in ((6, 0, 32), (5, 1, 32), (5, 0, 16))}
    assert len(others | {first}) == 4


def test_a_killed_drawing_leaves_no_trap(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(toons, "_move", killed)
    with pytest.raises(KeyboardInterrupt):
        cached(5, 0, 32, tmp_path)
    monkeypatch.undo()
    half = tmp_path / ".toons-half"
    (half / "set").mkdir(parents=True)
    (half / "set" / "toon_00000.png").write_bytes(b"half")
    os.utime(half, (time.time() - 2 * toons.STALE_S,) * 2)
    assert len(list(cached(5, 0, 32, tmp_path).iterdir())) == 6
    assert not half.exists(), "what was abandoned long ago is swept away"


def test_two_at_once_both_succeed(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: cached(20, 0, 32, tmp_path), range(4)))
    (folder,) = folders
    assert len(list(folder.iterdir())) == 21
    assert list(tmp_path.iterdir()) == [folder]


def test_a_cache_that_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(VAEError, match=r"data.cache_dir: cannot write .*file/cache: .*--data.cache_dir DIR"):
        cached(5, 0, 32, tmp_path / "file" / "cache")
