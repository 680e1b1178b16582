import numpy as np
import pytest
from PIL import Image

from vae_simpsons.errors import VAEError
from vae_simpsons.files import check_target
from vae_simpsons.inference.grids import FORMATS, FRAME_MS, write_animation


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "sub/A.GIF"])
def test_each_picture_is_a_frame_and_they_repeat(tmp_path, name):
    pictures = [Image.new("RGB", (32, 32), (20 * i, 255 - 20 * i, 100)) for i in range(12)]
    write_animation("--out", tmp_path / name, pictures)
    with Image.open(tmp_path / name) as moving:
        assert (moving.n_frames, moving.size, moving.info["loop"]) == (12, (32, 32), 0)
        for i in (0, 5, 11):
            moving.seek(i)
            assert np.abs(np.asarray(moving.convert("RGB"))[16, 16] - np.array([20 * i, 255 - 20 * i, 100])).max() < 12
            assert moving.info["duration"] == FRAME_MS or name.endswith("webp")


def test_targets(tmp_path):
    (tmp_path / "folder.gif").mkdir()
    (tmp_path / "letter.webp").write_text("Dear Marge")
    for name, said in (("folder.gif", "is a folder"), ("letter.webp", "is no WEBP"), ("a.mp4", "does not end in")):
        with pytest.raises(VAEError, match=f"^--out: .*{said}"):
            check_target("--out", tmp_path / name, *FORMATS)
    with pytest.raises(VAEError, match="^--out: cannot write"):
        write_animation("--out", tmp_path / "letter.webp" / "a.gif", [Image.new("RGB", (8, 8))])
