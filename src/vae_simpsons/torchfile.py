"""A file that torch.save wrote, looked at before torch.load reads it.

`weights_only=True` runs no code, and promises nothing else: of what it does build, a bytearray may be as long as a few
digits say, a dictionary's key may be a tuple that takes a year to hash, and a flipped bit passes unseen. Here a file is
read as bytes alone. It is a zip of stored records: data.pkl, a pickle that says what the payload is, and data/0, data/1
..., the bytes of its tensors. Each record is held against its CRC, and of the pickle, which is a list of instructions,
each instruction is looked at and none is followed.

Source: Serialization semantics, in PyTorch's notes; Python's pickletools, for the instructions.
"""

import io
import pickletools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_PICKLE = 2**18  # bytes of data.pkl; the largest network that the settings allow takes 60,000
RECORDS = re.compile(r"data\.pkl|version|byteorder|data/\d{1,6}")  # that torch.load needs; it is given no others
ITEM_BYTES = {
    **dict.fromkeys(("torch DoubleStorage", "torch LongStorage"), 8),
    **dict.fromkeys(("torch FloatStorage", "torch IntStorage"), 4),
    **dict.fromkeys(("torch HalfStorage", "torch BFloat16Storage", "torch ShortStorage"), 2),
    **dict.fromkeys(("torch ByteStorage", "torch CharStorage", "torch BoolStorage"), 1),
}
TENSOR, ORDERED = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"
CONSTANTS = ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "NONE", "NEWTRUE", "NEWFALSE")
LOOKS_LIKE = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"RIFF": "a WebP image, or a sound",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file, as Keras writes them",
    b"\x93NUMPY": "a NumPy array",
    b"\x80": "a bare pickle, which could run code, or a file of torch before 1.6",
    b"\0\0\0\0": "a file that begins with zeros, as a broken download does",
}


class Refusal(Exception):
    """Why a file is not read: what follows its name in a sentence, and the sentence after."""


@dataclass(frozen=True)
class Named:
    """What a pickle asks for by name, 'module name'."""

    name: str


BUILT, STORAGE = object(), object()  # what stands for a list or a tensor, and for the bytes of one


def looked_at(path: Path) -> io.BytesIO:
    """The file at `path` for torch.load, written anew of the records that were looked at.

    Anew, because two readers of one zip can be made to find two different files in it.

    Raises:
        Refusal: no file of torch's, a damaged one, one that carries code, or whose parts are not what they say.
        OSError: it cannot be read.
    """
    anew = io.BytesIO()
    with open(path, "rb") as file:
        start = file.read(512)
        if not start.startswith(b"PK\3\4"):
            raise Refusal(f"is no checkpoint but {kind_of(start)}. Give the last.ckpt or best.ckpt of a run.")
        try:
            with zipfile.ZipFile(file) as source, zipfile.ZipFile(anew, "w") as target:
                entries = records_of(source, path.stat().st_size)
                check_pickle(read_pickle(source, entries), {name: e.file_size for name, e in entries.items()})
                for name, entry in entries.items():
                    target.writestr(f"archive/{name}", source.read(entry))
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as e:
            raise Refusal(f"is damaged: {said_of(e)}. Copy it again, or use another checkpoint of the run.") from None
    anew.seek(0)
    return anew


def records_of(source: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries of `source` that torch.load needs, by name without the folder that they are in.

    Args:
        size: of the file, bytes.

    Raises:
        Refusal: an archive of something else; entries that are packed, twice there, or larger than the file.
    """
    entries = source.infolist()
    named = {entry.filename.partition("/")[2]: entry for entry in entries}
    if "data.pkl" not in named:
        raise Refusal("is a zip archive, and no checkpoint. Give the last.ckpt or best.ckpt of a run.")
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not stored or len(named) < len(entries) or sum(entry.file_size for entry in entries) > size:
        raise Refusal(
            "unpacks to more than it holds, as a bomb does: torch packs nothing, and no record twice. "
            "Get a checkpoint that this project wrote."
        )
    return {name: entry for name, entry in named.items() if RECORDS.fullmatch(name)}


def read_pickle(source: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> bytes:
    """The record data.pkl.

    Raises:
        Refusal: it is larger than any of ours.
    """
    size = entries["data.pkl"].file_size
    if size > MAX_PICKLE:
        raise Refusal(
            f"describes its content in {size:,} bytes, and ours take at most {MAX_PICKLE:,}. "
            "Get a checkpoint that this project wrote."
        )
    return source.read(entries["data.pkl"])


def check_pickle(pickle: bytes, sizes: Mapping[str, int]) -> None:
    """Refuse a pickle that would build more than dicts, lists, tuples, text, numbers, and tensors of the records.

    Args:
        sizes: bytes of each record.

    Raises:
        Refusal: naming what it asks for; or the pickle is damaged.
    """
    try:
        _follow(pickle, sizes)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Refusal("is damaged: its description breaks off. Use another checkpoint of the run.") from None


def _follow(pickle: bytes, sizes: Mapping[str, int]) -> None:
    """Go through the instructions as an unpickler would; of what it would build, only the keys of dicts are kept."""
    stack: list[Any] = []
    marked: list[list[Any]] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        nonlocal stack
        items, stack = stack, marked.pop()
        return items

    for instruction, value, _ in pickletools.genops(pickle):
        match instruction.name:
            case "PROTO":
                pass
            case "STOP":
                return
            case "MARK":
                marked.append(stack)
                stack = []
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append(BUILT)
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                items = tuple(since_mark())
                stack.append(items)
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPEND":
                stack.pop()
            case "APPENDS":
                since_mark()
            case "SETITEM":
                _, key = stack.pop(), stack.pop()
                _add_keys(stack[-1], [key])
            case "SETITEMS":
                items = since_mark()
                _add_keys(stack[-1], items[::2])
            case "BUILD":
                _check_attributes(stack.pop(), stack[-1])
            case "GLOBAL":
                stack.append(_allowed(value))
            case "BINPERSID":
                stack.append(_storage(stack.pop(), sizes))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_called(stack.pop(), arguments))
            case name if name in CONSTANTS:
                stack.append(value)
            case name:
                raise Refusal(f"carries what none of ours do ({name} in its description); nothing in it was run.")


def _allowed(name: str) -> Named:
    if name not in (*ITEM_BYTES, TENSOR, ORDERED):
        raise Refusal(
            f"carries code or foreign objects ({name.replace(' ', '.')[:80]}) and is refused; nothing in it was run. "
            "Get a checkpoint that this project wrote."
        )
    return Named(name)


def _add_keys(target: dict[Any, None], keys: list[Any]) -> None:
    """Refuse keys that are neither text nor whole numbers: a tuple of tuples can take for ever to hash."""
    if not all(type(key) in (str, int) for key in keys):
        raise Refusal("has keys that are no text, as none of ours do. Get a checkpoint that this project wrote.")
    target.update(dict.fromkeys(keys))


def _check_attributes(given: Any, target: Any) -> None:
    """Refuse attributes but for _metadata, which torch gives every state_dict: one called `items` would hide those."""
    if not (isinstance(target, dict) and isinstance(given, dict) and set(given) == {"_metadata"}):
        raise Refusal("gives attributes to what none of ours do, and is refused; nothing in it was run.")


def _storage(asked: Any, sizes: Mapping[str, int]) -> object:
    """STORAGE, where the record that is asked for has as many bytes as its numbers need."""
    match asked:
        case ("storage", Named(kind), str(key), str(), int(count)) if sizes[f"data/{key}"] == count * ITEM_BYTES[kind]:
            return STORAGE
    raise Refusal("is damaged: a tensor is not as long as its record. Use another checkpoint of the run.")


def _called(function: Any, arguments: Any) -> object:
    """What comes of a call that torch.save writes: an empty dictionary, or a tensor, for which BUILT stands."""
    match function, arguments:
        case Named(name), () if name == ORDERED:
            return {}
        case Named(name), (found, int(), tuple(size), tuple(stride), _, hooks) if name == TENSOR:
            if found is STORAGE and hooks == {} and all(type(n) is int for n in size + stride):
                return BUILT
    raise Refusal("carries a call that none of ours make, and is refused; nothing in it was run.")


def said_of(error: Exception) -> str:
    """What is wrong with a zip, in words that help."""
    said = str(error)
    if isinstance(error, EOFError) or "not a zip file" in said:
        return "it is cut short, or its end is damaged"
    if "CRC" in said:
        return f"its bytes are not those that were written ({said.replace('file ', '')})"
    return "its directory leads outside of it" if isinstance(error, OSError) else said[:120] or type(error).__name__


def kind_of(start: bytes) -> str:
    """What a file that begins with `start` is, in words."""
    if not start:
        return "an empty file"
    if start[8:9] == b"{":
        return "safetensors, which stand in a folder with their config.json"
    if start[257:262] == b"ustar":
        return "a tar archive"
    unknown = "text" if start.isascii() and b"\0" not in start else "a file of an unknown kind"
    return next((kind for signature, kind in LOOKS_LIKE.items() if start.startswith(signature)), unknown)
