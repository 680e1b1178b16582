import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from vae_simpsons.data.folder import File, find_files
from vae_simpsons.data.formats import HAS_HEIC
from vae_simpsons.data.index import Index
from vae_simpsons.errors import VAEError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def names(folder):
    return [file.path for file in find_files(folder)]


def test_images_are_found_at_any_depth_in_any_case_and_sorted(tmp_path):
    for name in (
        "b/z.JPG",
        "a.png",
        "b/c/y.webp",
        "B.gif",
        "d.TIFF",
        "e.Bmp",
        "notes.txt",
        ".hidden.png",
        ".git/x.png",
    ):
        touch(tmp_path / name)
    assert names(tmp_path) == ["B.gif", "a.png", "b/c/y.webp", "b/z.JPG", "d.TIFF", "e.Bmp"]


def test_what_a_file_is_known_by(tmp_path):
    path = touch(tmp_path / "a.png")
    os.utime(path, ns=(1, 12345))
    assert find_files(tmp_path) == [File("a.png", 1, 12345)]
    assert Index(["a.png", "homer/a.png", "season 1/homer/a.png"]).classes == ["", "homer", "season 1/homer"]


def test_linked_folders_are_entered_once_and_loops_end(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    touch(elsewhere / "b.png")
    touch(folder / "a.png")
    for name, target in (("loop", folder), ("linked", elsewhere), ("again", elsewhere), ("up", tmp_path)):
        os.symlink(target, folder / name)
    assert len(names(folder)) == 2


@pytest.mark.parametrize("name", ["line\nbreak.png", "ホーマー.png", "a b.png", "-n.png", "quote'\".png"])
def test_names_in_any_script(tmp_path, name):
    touch(tmp_path / name)
    assert names(tmp_path) == [name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_no_unicode(tmp_path):
    touch(tmp_path / os.fsdecode(b"\xff\xfe.png"))
    (name,) = names(tmp_path)
    assert os.fsencode(name) == b"\xff\xfe.png"


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_what_cannot_be_looked_at_is_listed_so_that_it_is_named_later(tmp_path):
    touch(tmp_path / "a.png")
    os.symlink("circle.png", tmp_path / "circle.png")
    os.symlink("gone.png", tmp_path / "dangling.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert [(f.path, f.size) for f in find_files(tmp_path)] == [
        ("a.png", 1),
        ("circle.png", -1),
        ("dangling.png", -1),
        ("pipe.png", -1),
    ]


def test_a_folder_that_may_not_be_listed_is_named(tmp_path, monkeypatch):
    touch(tmp_path / "a.png")
    touch(tmp_path / "closed" / "b.png")
    scandir = os.scandir

    def closed(path):  # root, who runs the tests on CI, may list everything
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert find_files(tmp_path)[1] == File("closed", -1, 0)


def test_what_is_no_folder_of_images_is_refused_with_what_was_looked_for(tmp_path):
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    with pytest.raises(VAEError, match=r"data.path: no such folder: .*nowhere. Give a folder"):
        find_files(tmp_path / "nowhere")
    with pytest.raises(VAEError, match=r"data.path: no images under .*empty \(2 folders searched for \.jpg"):
        find_files(tmp_path / "empty")
    Image.new("L", (4, 4)).save(tmp_path / "a.png")


@pytest.mark.skipif(HAS_HEIC, reason="pillow-heif is installed, so .heic counts")
def test_files_of_other_endings_are_counted(tmp_path):
    for i, name in enumerate(("a.JFIF", "b.jpe", "c.avif", "d.heic", "e.HEIC", "f", "g.txt", ".DS_Store", ".x/h.heic")):
        touch(tmp_path / "sub" / str(i % 2) / name if i else tmp_path / name)
    others = Counter()
    assert [Path(file.path).name for file in find_files(tmp_path, others)] == ["a.JFIF", "c.avif", "b.jpe"]
    assert others == {".heic": 2, "without an ending": 1, ".txt": 1}
    index = Index(others=others)
    assert index.ignored() == (
        "4 other files: .heic 2, .txt 1, 1 without an ending (pip install pillow-heif reads .heic)"
    )
    assert Index().ignored() is None


PLUGIN = """
from PIL import Image
from PIL.PpmImagePlugin import PpmImageFile
def register_heif_opener():  # of another format, which is not read otherwise
    Image.register_open("HEIF", PpmImageFile, lambda start: start.startswith(b"P6"))
"""


def test_heic_is_read_where_its_plugin_is_installed(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pillow_heif.py").write_text(PLUGIN)
    touch(tmp_path / "pics" / "a.heic").write_bytes(b"P6\n1 1\n255\n\1\2\3")
    script = (
        "import sys; from pathlib import Path; from vae_simpsons.data.decode import *\n"
        "from vae_simpsons.data.folder import find_files\n"
        "pics = Path(sys.argv[1])\n"
        "print(decode_block(pics, find_files(pics), Data(image_size=1)).pixels.flatten().tolist())"
    )
    paths = os.pathsep.join([str(tmp_path / "site"), *sys.path])
    command = [sys.executable, "-c", script, str(tmp_path / "pics")]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert run.stdout.strip() == "[1, 2, 3]", run.stderr
