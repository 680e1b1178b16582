"""Archives from strangers: nothing outside of the folder, no links, no bombs, and only images."""

import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vae_simpsons.data import archive as unpacking
from vae_simpsons.data import members as reading
from vae_simpsons.data.archive import target_of, unpack
from vae_simpsons.data.folder import find_files
from vae_simpsons.data.formats import SIGNATURES
from vae_simpsons.data.members import is_archive
from vae_simpsons.errors import VAEError
from vae_simpsons.progress import no_progress


def image(level=0, image_format="PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8), level).save(stream, image_format)
    return stream.getvalue()


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


def tar_of(path: Path, members: dict[str, bytes], mode="w") -> Path:
    with tarfile.open(path, mode) as opened:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    return path


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


MAKERS = {
    "zip": lambda path, members: zip_of(path, members),
    "tar": lambda path, members: tar_of(path, members),
    "tar.gz": lambda path, members: tar_of(path, members, "w:gz"),
    "tar.xz": lambda path, members: tar_of(path, members, "w:xz"),
}
every_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@every_kind
def test_images_come_out_and_nothing_else(tmp_path, make):
    members = {"a.png": image(1), "b/c.JPG": image(2, "JPEG"), "notes.txt": b"hi", "b/fake.jpg": b"no image at all"}
    members |= {"__MACOSX/._a.png": image(3), "weights.h5": b"\x89HDF", "wrong.png": image(4, "GIF")}
    found = unpack(make(tmp_path / "archive", members), tmp_path / "out", no_progress)
    assert files(tmp_path / "out") == ["a.png", "b/c.JPG", "wrong.png"]
    assert (tmp_path / "out" / "a.png").read_bytes() == members["a.png"]
    assert len(found.names) == 3 and found.others == {".txt": 1, ".h5": 1, "hidden files": 1}
    assert found.images == tmp_path / "out" and found.test is None
    assert [u.path for u in found.index(found.images).unreadable] == ["b/fake.jpg"]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_every_kind_of_image_is_told_by_its_first_bytes(image_format):
    assert SIGNATURES.match(image(9, image_format))


def test_the_kaggle_archive_comes_out_once_and_clean(tmp_path):
    homer, bart, test = image(1), image(2), image(3)
    members = {
        "annotation.txt": b"x",
        "characters_illustration.png": image(9),
        "kaggle_simpson_testset/kaggle_simpson_testset/homer_0.jpg": test,
        "kaggle_simpson_testset/kaggle_simpson_testset/._homer_0.jpg": test,
        "simpsons_dataset/homer/pic_0.jpg": homer,
        "simpsons_dataset/bart/pic_0.jpg": bart,
        "simpsons_dataset/simpsons_dataset/homer/pic_0.jpg": homer,
        "simpsons_dataset/simpsons_dataset/bart/pic_0.jpg": bart,
        "weights.best.hdf5": b"\x89HDF",
    }
    found = unpack(zip_of(tmp_path / "archive.zip", members), tmp_path / "out", no_progress)
    assert files(found.images) == ["bart/pic_0.jpg", "homer/pic_0.jpg"]
    assert files(found.test) == ["homer_0.jpg"]
    assert found.others["copies of a name"] == 2


NASTY = [
    "/etc/evil.png",
    "../evil.png",
    "a/../../evil.png",
    "..\\evil.png",
    "C:\\evil.png",
    "c:evil.png",
    "\\\\s\\e.png",
]


@pytest.mark.parametrize("name", NASTY)
@every_kind
def test_names_that_lead_outside_are_not_followed(tmp_path, make, name):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    out = tmp_path / "deep" / "er" / "out"
    found = unpack(make(tmp_path / "archive", {name: image(), "good.png": image()}), out, no_progress)
    assert files(tmp_path) == ["archive", "deep/er/out/good.png"] and found.others == {"names that lead outside": 1}


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "", "a", "/", "\\", "C:", "simpsons_dataset", "\0", "~", "x.png"])))
def test_no_name_whatever_leads_outside(parts):
    for name in ("/".join(parts), "\\".join(parts), "".join(parts)):
        target = target_of(name)
        if target is not None:
            assert not target.is_absolute() and ".." not in target.parts and target.parts
            assert os.path.normpath(os.path.join("/out", target)).startswith("/out/")


def test_links_and_devices_are_not_made(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            opened.addfile(entry)
        entry = tarfile.TarInfo("good.png")
        entry.size = len(image())
        opened.addfile(entry, io.BytesIO(image()))
    found = unpack(tmp_path / "a.tar", tmp_path / "out", no_progress)
    assert files(tmp_path / "out") == ["good.png"] and found.others == {"links or devices": 3}
    link = zipfile.ZipInfo("link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as opened:
        opened.writestr(link, "/etc/passwd")
        opened.writestr("good.png", image())
    assert unpack(tmp_path / "a.zip", tmp_path / "out2", no_progress).others == {"links or devices": 1}
    assert not any(p.is_symlink() for p in tmp_path.rglob("*"))


def test_a_link_cannot_be_made_and_then_written_through(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        link = tarfile.TarInfo("sub")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        opened.addfile(link)
        entry = tarfile.TarInfo("sub/good.png")
        entry.size = len(image())
        opened.addfile(entry, io.BytesIO(image()))
    unpack(tmp_path / "a.tar", tmp_path / "out", no_progress)
    assert files(tmp_path) == ["a.tar", "out/sub/good.png"]


def bomb_zip(path, name):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(name, image() + bytes(2**24))
    return path


def test_bombs_are_refused_and_leave_the_memory_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**20)
    with pytest.raises(VAEError, match="^archive: .* more than 200 times its size, as a bomb does"):
        unpack(bomb_zip(tmp_path / "a.zip", "a.png"), tmp_path / "zip", no_progress)
    for name in ("a.png", "a.txt"):  # what is passed over in a tar is unpacked all the same
        tar_of(tmp_path / "a.tgz", {name: image() + bytes(2**24), "b.png": image()}, "w:gz")
        with pytest.raises(VAEError, match="as a bomb does"):
            unpack(tmp_path / "a.tgz", tmp_path / name, no_progress)
    monkeypatch.setattr(unpacking, "MAX_IMAGE_BYTES", 2**20)
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**26)
    zip_of(tmp_path / "b.zip", {"a.png": image() + os.urandom(2**21), "b.png": image()})
    found = unpack(tmp_path / "b.zip", tmp_path / "large", no_progress)
    assert files(tmp_path / "large") == ["b.png"] and list(found.damaged.values()) == ["larger than 1.05 MB"]


def test_a_size_that_an_archive_claims_is_not_believed(tmp_path):
    """A zip whose directory says 100 bytes of an entry that unpacks to 16 MB."""
    path = bomb_zip(tmp_path / "a.zip", "a.png")
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\1\2") + 24
    raw[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(raw)
    try:
        unpack(path, tmp_path / "out", no_progress)
    except VAEError:
        pass
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*.png")) <= 100 or not files(tmp_path / "out")


def test_a_name_that_takes_the_memory_is_refused(tmp_path):
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 2**40
    with gzip.open(tmp_path / "a.tgz", "wb") as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT) + bytes(2**16))
    with pytest.raises(VAEError):
        is_archive(tmp_path / "a.tgz") and unpack(tmp_path / "a.tgz", tmp_path / "out", no_progress)


def test_more_entries_than_anybody_has_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_MEMBERS", 3)
    path = zip_of(tmp_path / "a.zip", {f"{i}.png": image() for i in range(4)})
    with pytest.raises(VAEError, match="^archive: .* more than 3 entries"):
        unpack(path, tmp_path / "out", no_progress)


def test_damaged_encrypted_and_empty_archives(tmp_path):
    good = zip_of(tmp_path / "good.zip", {"a.png": image(1), "b.png": image(2)})
    raw = bytearray(good.read_bytes())
    raw[raw.index(image(1)) + 20] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(raw)
    found = unpack(tmp_path / "bad.zip", tmp_path / "bad", no_progress)
    assert files(tmp_path / "bad") == ["b.png"]
    assert found.index(found.images).unreadable == [("a.png", "damaged in the archive")]
    raw = bytearray(good.read_bytes())
    for at in (raw.index(b"PK\3\4") + 6, raw.index(b"PK\1\2") + 8):
        raw[at] |= 1  # says that it is encrypted
    (tmp_path / "secret.zip").write_bytes(raw)
    assert set(unpack(tmp_path / "secret.zip", tmp_path / "secret", no_progress).damaged.values()) == {"encrypted"}
    with pytest.raises(VAEError, match=r"^archive: no images in .*empty.zip \(it is empty\)"):
        unpack(zip_of(tmp_path / "empty.zip", {}), tmp_path / "empty", no_progress)
    tar = tar_of(tmp_path / "cut.tgz", {f"{i}.png": image(i) + os.urandom(5000) for i in range(9)}, "w:gz")
    os.truncate(tar, tar.stat().st_size // 2)
    with pytest.raises(VAEError, match="^archive: .* ends too early: it is cut short"):
        unpack(tar, tmp_path / "cut", no_progress)


def with_entries(raw: bytes, local: int, central: int, value: int) -> bytes:
    """A zip with `value` at these places of each entry's header and of its line in the directory."""
    changed = bytearray(raw)
    for signature, at in ((b"PK\3\4", local), (b"PK\1\2", central)):
        start = -1
        while (start := changed.find(signature, start + 1)) >= 0:
            changed[start + at : start + at + 2] = struct.pack("<H", value)
    return bytes(changed)


def tar_bytes(tmp_path, compress=bytes) -> bytes:
    return compress(tar_of(tmp_path / "good.tar", {f"{i}.png": os.urandom(3000) for i in range(9)}).read_bytes())


def zip_bytes(tmp_path) -> bytes:
    return zip_of(tmp_path / "good.zip", {f"{i}.png": image(i) for i in range(9)}).read_bytes()


ENTRY = 512 + 3072  # bytes of an entry of tar_bytes
WHOLE = {
    "a zip without its end": (lambda t: zip_bytes(t)[:-40], "starts like a zip and ends too early"),
    "encrypted": (
        lambda t: with_entries(zip_bytes(t), 6, 8, 1),
        r"no images in .* \(9 encrypted\)\. Unpack it yourself",
    ),
    "deflate64": (
        lambda t: with_entries(zip_bytes(t), 8, 10, 9),
        r"9 packed with a method that is not supported\)\. Unp",
    ),
    "a zip in a zip": (lambda t: zip_of(t / "o.zip", {"in.zip": zip_bytes(t)}).read_bytes(), "1 archives inside it"),
    "a tar cut between entries": (lambda t: tar_bytes(t)[: 4 * ENTRY], "ends too early: it is cut short"),
    "a tar cut in a header": (lambda t: tar_bytes(t)[: 4 * ENTRY + 100], "ends too early: it is cut short"),
    "a tar cut in an entry": (lambda t: tar_bytes(t)[: 4 * ENTRY + 900], "ends too early: it is cut short"),
    "a header that is damaged": (lambda t: tar_bytes(t).replace(b"5.png", b"6.png"), "is damaged: an entry without"),
    "a gzip that is cut": (lambda t: tar_bytes(t, gzip.compress)[:-4], "ends too early: it is cut short"),
    "a gzip of other bytes": (lambda t: tar_bytes(t, gzip.compress)[:-8] + bytes(8), "is damaged: CRC check failed"),
    "an xz that is cut": (lambda t: tar_bytes(t, lzma.compress)[:-500], "ends too early: it is cut short"),
    "no tar in a gzip": (lambda _: gzip.compress(b"hello"), "is packed with gzip, and not a tar, or cut short"),
    "rar": (lambda _: b"Rar!\x1a\7\1\0" + bytes(99), "is a RAR archive, and no zip or tar. Unpack it yourself"),
    "7z": (lambda _: b"7z\xbc\xaf\x27\x1c" + bytes(99), "is a 7z archive"),
}


@pytest.mark.parametrize(("make", "said"), WHOLE.values(), ids=WHOLE)
def test_an_archive_that_cannot_be_read_is_called_what_it_is(tmp_path, make, said):
    (tmp_path / "a").write_bytes(make(tmp_path))
    with pytest.raises(VAEError, match=f"^archive: .*{said}") as error:
        is_archive(tmp_path / "a") and unpack(tmp_path / "a", tmp_path / "out", no_progress)
    assert "damaged" in said or "damaged" not in str(error.value)


def test_a_zip_of_64_bits(tmp_path):
    """As of more than 65,535 entries or 4 GB."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made, made.open("a.png", "w", force_zip64=True) as member:
        member.write(image())
    unpack(tmp_path / "a.zip", tmp_path / "out", no_progress)
    assert (tmp_path / "out" / "a.png").read_bytes() == image()


def test_hard_links_of_a_tar_are_the_images_that_they_mean(tmp_path):
    links = {"b.png": "a.png", "c.png": "/etc/passwd", "d.png": "later.png", "e.png": "../a.png", "f.png": "bad.png"}
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        for name, content in (("a.png", image(7)), ("bad.png", b"no image"), *((name, None) for name in links)):
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.linkname = tarfile.LNKTYPE, links[name]
            entry.size = len(content or b"")
            opened.addfile(entry, io.BytesIO(content or b""))
    found = unpack(tmp_path / "a.tar", tmp_path / "out", no_progress)
    assert files(tmp_path / "out") == ["a.png", "b.png"] and found.others == {"links or devices": 3}
    assert (tmp_path / "out" / "b.png").read_bytes() == image(7) and (tmp_path / "out" / "b.png").stat().st_nlink == 1
    assert [unreadable.path for unreadable in found.index(found.images).unreadable] == ["bad.png", "f.png"]


@every_kind
def test_an_archive_has_the_images_of_the_folder_that_it_is_unpacked_to(tmp_path, make):
    members = {
        "a.png": image(1),
        ".git/b.png": image(2),
        "c/.d/e.png": image(3),
        "c/._f.png": b"x",
        "c/g.PNG": image(4),
    }
    found = unpack(make(tmp_path / "archive", members), tmp_path / "out", no_progress)
    assert files(tmp_path / "out") == [file.path for file in find_files(tmp_path / "out")] == ["a.png", "c/g.PNG"]
    assert found.others == {"hidden files": 3}


def test_a_damaged_image_that_is_in_the_archive_twice_is_not_missed(tmp_path):
    members = {"simpsons_dataset/b/1.png": image(1), "simpsons_dataset/simpsons_dataset/b/1.png": image(1)}
    raw = bytearray(zip_of(tmp_path / "a.zip", members).read_bytes())
    raw[raw.index(image(1)) + 20] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(raw)
    found = unpack(tmp_path / "a.zip", tmp_path / "out", no_progress)
    assert files(found.images) == ["b/1.png"] and not found.damaged


@every_kind
def test_names_that_clash_or_that_the_system_refuses_are_passed_over(tmp_path, make):
    members = {"a.png": image(1), "a.png/b.png": image(2), f"{'n' * 300}.png": image(3), "c.png": image(4)}
    found = unpack(make(tmp_path / "archive", members), tmp_path / "out", no_progress)
    assert files(tmp_path / "out") == ["a.png", "c.png"]
    assert list(found.damaged.values()) == 2 * ["a name that the system refuses"]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x1f\x8b rubbish"])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(VAEError, match="^archive: .* is a file, and no zip or tar"):
        is_archive(tmp_path / "a.zip")
    assert not is_archive(tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_archive_never_ends_in_anything_but_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    kind = data.draw(st.sampled_from(sorted(MAKERS)))
    path = MAKERS[kind](folder / "archive", {"a.png": image(1), "simpsons_dataset/b/c.jpg": image(2, "JPEG")})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
    try:
        if is_archive(path):
            unpack(path, folder / "out", no_progress)
    except VAEError as e:
        assert "\n" not in str(e)
    assert {p.relative_to(folder).parts[0] for p in folder.rglob("*")} <= {"archive", "out"}
