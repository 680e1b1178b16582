"""What torch.load is given, and what it never sees."""

import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from vae_simpsons.torchfile import Refusal, check_pickle, looked_at


def records(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(path: Path, content: dict[str, bytes], how=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as opened:
        for name, part in content.items():
            opened.writestr(name, part)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(Refusal) as caught:
        looked_at(path)
    return str(caught.value)


@pytest.fixture
def good(tmp_path) -> Path:
    payload = {"a": torch.arange(6.0).view(2, 3), "b": [torch.zeros(3, dtype=torch.int64), torch.tensor(True)]}
    payload |= {"c": {"d": (1, 2.5, None, False, "x", 2**40)}, 3: torch.ones(2, dtype=torch.bfloat16), "e": []}
    torch.save(payload, tmp_path / "good.pt")
    return tmp_path / "good.pt"


def test_what_torch_wrote_comes_through_as_it_was(good):
    before, after = torch.load(good, weights_only=True), torch.load(looked_at(good), weights_only=True)
    assert str(before) == str(after) and before["a"].equal(after["a"]) and after[3].dtype == torch.bfloat16


def test_only_the_records_that_were_looked_at_come_through(good):
    content = records(good) | {"good/constants.pkl": b"x", "good/.data/more": b"x", "elsewhere/a.py": b"x"}
    with zipfile.ZipFile(looked_at(packed(good, content))) as opened:
        names = set(opened.namelist())
    kept = ("data.pkl", "version", "byteorder", *(f"data/{i}" for i in range(4)))
    assert names == {f"archive/{name}" for name in kept}


def test_bombs_are_refused_before_they_are_unpacked(good, tmp_path):
    content = records(good)
    assert "as a bomb does" in refusal(packed(tmp_path / "a.pt", content, zipfile.ZIP_DEFLATED))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "b.pt", "w") as opened:
        for name, part in [*content.items(), ("good/data/0", content["good/data/0"])]:
            opened.writestr(name, part)
    assert "as a bomb does" in refusal(tmp_path / "b.pt")
    raw = bytearray(good.read_bytes())
    for at in (raw.rindex(b"PK\1\2") + 20, raw.rindex(b"PK\1\2") + 24):  # the last entry's sizes in the directory
        raw[at : at + 4] = struct.pack("<I", 2**31)
    (tmp_path / "c.pt").write_bytes(raw)
    assert "as a bomb does" in refusal(tmp_path / "c.pt")
    huge = content | {"good/data.pkl": content["good/data.pkl"] + bytes(2**18)}
    assert "describes its content in" in refusal(packed(tmp_path / "d.pt", huge))


def test_each_flipped_bit_of_a_record_is_noticed(good, tmp_path):
    raw = good.read_bytes()
    with zipfile.ZipFile(good) as opened:
        starts = {e.filename: raw.index(opened.read(e), e.header_offset + 30) for e in opened.infolist() if e.file_size}
    for name in ("good/data.pkl", "good/data/0", "good/data/3", "good/version"):
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[starts[name]] ^= 1 << bit
            (tmp_path / "flipped.pt").write_bytes(flipped)
            assert "its bytes are not those that were written" in refusal(tmp_path / "flipped.pt")


def test_a_tensor_longer_than_its_record_is_refused(good, tmp_path):
    content = records(good)
    short = content | {"good/data/0": content["good/data/0"][:-4]}
    assert "a tensor is not as long as its record" in refusal(packed(tmp_path / "a.pt", short))


PAIRS = b")q\0" + b"h\0\x86q\0" * 40  # a pair of one pair, twice, of one pair, twice ...: hashed in 2^40 steps

HOSTILE = {
    "a call": (b"cos\nsystem\n(U\1xtR.", "carries code or foreign objects (os.system)"),
    "a name with a newline's worth of junk": (b"c" + b"x" * 500 + b"\ny\n.", "(xxx"),
    "a bytearray of any length": (b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.", "(builtins.bytearray)"),
    "a tensor of any length": (b"ctorch\nFloatTensor\n(J\xff\xff\xff\x7ftR.", "(torch.FloatTensor)"),
    "an attribute": (b"ccollections\nOrderedDict\n)R}X\5\0\0\0itemsK\1sb.", "gives attributes to what none of ours do"),
    "an object": (b"ccollections\nOrderedDict\n)\x81.", "carries what none of ours do (NEWOBJ"),
    "a dictionary of a tensor's rows": (
        b"ccollections\nOrderedDict\nK\1\x85R.",
        "carries a call that none of ours make",
    ),
    "a tensor of no storage": (b"ctorch._utils\n_rebuild_tensor_v2\n(K\1K\0))\x89}tR.", "carries a call"),
    "a key that takes for ever to hash": (b"}" + PAIRS + b"Ns.", "has keys that are no text"),
    "a place in memory that is far away": (b"]r\xff\xff\xff\x7f", "its description breaks off"),
    "nothing to take": (b"R.", "its description breaks off"),
    "no end": (b"}" * 100, "its description breaks off"),
    "no pickle": (b"\xff\xfe", "its description breaks off"),
    "protocol 4": (pickle.dumps({"a": 1}, protocol=4), "carries what none of ours do (FRAME"),
}


@pytest.mark.parametrize(("instructions", "said"), HOSTILE.values(), ids=HOSTILE)
def test_instructions_that_none_of_ours_have(instructions, said):
    with pytest.raises(Refusal, match=said.replace("(", r"\(").replace(")", r"\)")):
        check_pickle(instructions, {})


def test_what_is_odd_but_harmless_is_read():
    for instructions in (b"]q\0h\0a.", PAIRS + b".", b"}K\1Ns.", b"\x80\2N.rest"):
        check_pickle(instructions, {})
