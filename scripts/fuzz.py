"""What damaged and hostile files do to the commands: python scripts/fuzz.py

Configs, checkpoints, exported models and images are mutated and given to the real commands. Each must end in success,
or in one line that says what is wrong; a traceback, a hang, a second line, code that ran or memory that ran out is a
failure. hypothesis draws the mutations; the same seed draws the same ones.
"""

import argparse
import contextlib
import faulthandler
import hashlib
import importlib.metadata
import io
import json
import os
import pickle
import pickletools
import platform
import resource
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from vae_simpsons import checkpoint
from vae_simpsons.cli import main as vae
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.settings import keys
from vae_simpsons.training.resumable import check_resumable

ROOT = Path(__file__).parent.parent
LIMIT_S = 20  # for one case; most take some milliseconds
HEADROOM = 4 * 2**30  # bytes of memory that a case may map beyond what the program has mapped before
CANARY = "code_was_run"  # the file that hostile code would write
NASTY_NUMBERS = (0, 1, -1, 127, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64, 10**30)
NASTY_VALUES = (*NASTY_NUMBERS, 0.5, 1e308, float("inf"), float("nan"), True, None, "", "x", "\0", "\ud800", [], {}, ())
NASTY_YAML = (
    *("3e-4", "1e400", ".inf", ".nan", "-0", "0x" + "f" * 50, "1" * 5000, "1:1:1:1", "2001-01-01", "2001-99-99"),
    *("null", "~", "true", "''", '"\\0"', '"\\ud800"', '"\\e[2J"', "!!binary aGk=", "!!set {a}", "&a [*a]", "*b", "<<"),
    *(
        "[" * 300,
        "{" * 300,
        "[1, [2, [3]]]",
        "[32, 64]",
        "[65536, 65536]",
        "[" + "1, " * 3000 + "]",
        "? [a]\n: b",
        "|\n x",
    ),
    *("'&a [1,1,1,1,1,1,1,1,1]'", "'" + "[" * 2000 + "'", "{a: b}", "- a", "\t", "x" * 70_000, "!!float x", "!!int ''"),
    *(f"!!python/object/apply:os.system ['touch {CANARY}']", f"!!python/object/new:os.system ['touch {CANARY}']"),
    *("!!python/name:os.system", "!!python/module:os", "!!python/tuple [1]", "!!str 3", "!custom x", "4096", "1000000"),
)
HOSTILE = {  # name -> arguments
    "os system": (f"touch {CANARY}",),
    "posix system": (f"touch {CANARY}",),
    "builtins exec": (f"open('{CANARY}', 'w')",),
    "builtins eval": (f"open('{CANARY}', 'w')",),
    "subprocess getoutput": (f"touch {CANARY}",),
    "builtins bytearray": (10**12,),
    "torch FloatTensor": (10**11,),
    "torch.Tensor": (10**11,),
    "torch._utils _rebuild_tensor_v2": (None, 0, (10**11,), (1,), False, None),
    "collections Counter": ("x" * 1000,),
    "torch.storage _load_from_bytes": (b"x",),
}


class Hang(BaseException):
    """A case took longer than LIMIT_S."""


@dataclass
class Table:
    """What became of the cases of one kind."""

    accepted: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    @property
    def cases(self) -> int:
        """How many there were."""
        return self.accepted + self.refused + len(self.failures)


def observe(command: Callable[[], int], table: Table, kept: Callable[[], Path]) -> None:
    """Run `command` as the shell would, and note what became of it.

    Args:
        command: returns the exit status.
        kept: keeps the input of a failure, and says where.
    """
    began = time.monotonic()
    status, raised, out, err = heard(command)
    took = time.monotonic() - began
    table.slowest_s = max(table.slowest_s, took)
    lines = err.splitlines()
    unread = [line for line in out.splitlines() if "unreadable" in line]
    said = lines[0] if lines else unread[0] if unread else ""
    if raised:
        failure = raised
    elif os.path.exists(CANARY):
        os.remove(CANARY)
        failure = "code was run"
    elif any(word in said.lower() for word in ("the memory", "allocate", "memoryerror")):
        failure = f"memory ran out: {said}"
    elif status == 0 and not lines:
        table.accepted += 1
        return
    elif (status in (1, 2) and len(lines) == 1 and said.startswith("vae: ")) or (status == 1 and not lines and unread):
        table.refused += 1
        table.reasons[said] += 1
        return
    else:
        failure = f"status {status}, {len(lines)} lines: {err[:300]!r}"
    table.failures.append(f"{failure} [{kept()}]")


def heard(command: Callable[[], int]) -> tuple[int | None, str, str, str]:
    """The status of `command`, what it raised, and what it wrote to the two streams, from C too."""
    status, raised = None, ""
    sys.stdout.flush(), sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        faulthandler.dump_traceback_later(4 * LIMIT_S, exit=True, file=saved[1])  # C that never looks at signals
        try:
            status = command()
        except BaseException as e:  # all of them are failures
            raised = one_line(f"{type(e).__name__}: {e}")[:300]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
            sys.stdout.flush(), sys.stderr.flush()
            for fd in (1, 2):
                os.dup2(saved[fd - 1], fd), os.close(saved[fd - 1])
        out.seek(0), err.seek(0)
        return status, raised, out.read().decode("utf-8", "replace"), err.read().decode("utf-8", "replace")


def resume(path: Path) -> int:
    """What `vae train --resume` reads before it trains, with main's answer to what is wrong."""
    try:
        check_resumable(checkpoint.read(path, "--resume"))
    except VAEError as e:
        print(f"vae: {one_line(e)}", file=sys.stderr)
        return 1
    return 0


def bytes_edited(draw: Random, content: bytes) -> bytes:
    """`content` with bits flipped, numbers overwritten, parts cut, repeated or moved."""
    edited = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at, length = draw.randint(0, max(0, len(edited) - 1)), draw.choice((1, 2, 4, 8, 64, 1000))
        part = edited[at : at + length]
        match draw.randint(0, 6):
            case 0 if edited:
                edited[at] ^= 1 << draw.randint(0, 7)
            case 1:
                edited[at : at + length] = bytes(draw.choice((0, 0xFF, 0x7F, 0x80)) for _ in part)
            case 2:
                del edited[at:]
            case 3:
                del edited[at : at + length]
            case 4:
                edited[at:at] = part * draw.choice((1, 2, 50))
            case 5:
                edited[at:at] = edited[draw.randint(0, len(edited)) :][:length]
            case 6:
                number = draw.choice(NASTY_NUMBERS) % 2**32
                edited[at : at + 4] = struct.pack(draw.choice(("<I", ">I")), number)
    return bytes(edited)


def config_text(draw: Random) -> str:
    """YAML: a shipped config with some of its text changed, or settings with odd values."""
    if draw.random() < 0.4:
        text = draw.choice(sorted((ROOT / "configs").glob("*.yaml"))).read_text()
        return bytes_edited(draw, text.encode()).decode("utf-8", "replace")
    lines = []
    for _ in range(draw.randint(1, 4)):
        key = draw.choice([*keys(), *keys(), "data", "model", "x", "data.x", "<<", "1", "seed.seed"])
        value = draw.choice(NASTY_YAML)
        section, _, name = key.rpartition(".")
        lines.append(f"{section}: {{{name}: {value}}}" if section and draw.random() < 0.7 else f"{key}: {value}")
    return "\n".join(lines)


def repacked(records: dict[str, bytes], draw: Random | None = None) -> bytes:
    """A zip of `records` with right CRCs; `draw` may pack them, repeat one, or add one."""
    file = io.BytesIO()
    packed = zipfile.ZIP_DEFLATED if draw and draw.random() < 0.3 else zipfile.ZIP_STORED
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w", packed) as target:
        for name, content in records.items():
            target.writestr(name, content)
        if draw and draw.random() < 0.3:
            target.writestr(draw.choice(sorted(records)), b"x" * 100)
        if draw and draw.random() < 0.3:
            target.writestr("archive/data/bomb", bytes(10**7), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def hostile_pickle(draw: Random) -> bytes:
    """A pickle that calls something when it is carried out."""
    name = draw.choice(sorted(HOSTILE))
    module, _, function = name.replace("torch.Tensor", "torch Tensor").partition(" ")
    arguments = pickle.dumps(HOSTILE[name], protocol=draw.choice((0, 1, 2)))
    return b"c%s\n%s\n" % (module.encode(), function.encode()) + arguments.removeprefix(b"\x80\x02")[:-1] + b"R."


def pickle_edited(draw: Random, content: bytes) -> bytes:
    """The pickle `content` with instructions left out, repeated, changed or put in."""
    starts = [at for _, _, at in pickletools.genops(content)] + [len(content)]
    parts = [content[a:b] for a, b in zip(starts, starts[1:], strict=False)]
    for _ in range(draw.randint(1, 3)):
        at = draw.randint(0, len(parts) - 1)
        number = struct.pack("<i", draw.choice((0, 1, -1, 2**20, 2**31 - 1)))
        put_in = [
            b"J" + number,
            b"r" + number,
            b"j" + number,
            b"(",
            b"t",
            b"}",
            b"]",
            b")",
            b"R",
            b"Q",
            b"a",
            b"s",
            b"N",
        ]
        put_in += [b"X\4\0\0\0abcd", b"\x8a\x09" + b"\xff" * 8 + b"\x7f", b"b", b"\x81", b"2", b"0", b"\x85" * 2000]
        put_in += [hostile_pickle(draw)[:-1], b"\x85" + b"2\x86" * 40, b"q\1h\1\x86" * 40, b"]q\1h\1a", b"(l" * 5000]
        match draw.randint(0, 3):
            case 0:
                del parts[at]
            case 1:
                parts.insert(at, draw.choice(parts))
            case 2:
                parts[at] = draw.choice(put_in)
            case 3:
                parts.insert(at, draw.choice(put_in))
        if not parts:
            break
    return b"".join(parts)


def payload_edited(draw: Random, content: bytes) -> bytes:
    """The checkpoint `content` with another value, or none, somewhere in what it holds."""
    payload = torch.load(io.BytesIO(content), weights_only=True)
    holder: Any = payload
    key: Any = draw.choice(sorted(payload))
    while isinstance(holder[key], (dict, list)) and holder[key] and draw.random() < 0.9:
        holder = holder[key]
        key = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    match draw.randint(0, 4):
        case 0:
            del holder[key]
        case 1:
            odd = [torch.zeros(1, dtype=torch.int8), torch.zeros(1).expand(10**12), torch.zeros(2, 3)]
            holder[key] = draw.choice(odd)
        case 2:
            payload["config"] = config_text(draw)
        case _:
            holder[key] = draw.choice(NASTY_VALUES)
    file = io.BytesIO()
    torch.save(payload, file)
    return file.getvalue()


def hostile_file(draw: Random) -> bytes:
    """What runs code, or takes memory, where it is unpickled."""
    evil = hostile_pickle(draw)
    match draw.randint(0, 4):
        case 0:
            return evil
        case 1:
            magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # of torch's format before 1.6
            return magic + pickle.dumps(1001, protocol=2) + pickle.dumps({}, protocol=2) + evil
        case 2:
            return repacked({"archive/data.pkl": b"\x80\x02" + evil, "archive/version": b"3\n"})
        case 3:
            return repacked(
                {"x/data.pkl": b"\x80\x02}" + evil[:-1] + b"s.", "x/constants.pkl": evil, "x/version": b"3\n"}
            )
        case _:
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w") as target:
                for name in ("pickle", "storages", "tensors"):
                    entry = tarfile.TarInfo(name)
                    entry.size = len(evil)
                    target.addfile(entry, io.BytesIO(evil))
            return file.getvalue()


def checkpoint_bytes(draw: Random, good: bytes) -> bytes:
    """A checkpoint, mutated; or something that is none."""
    with zipfile.ZipFile(io.BytesIO(good)) as source:
        records = {name: source.read(name) for name in source.namelist()}
    description = next(name for name in records if name.endswith("data.pkl"))
    match draw.randint(0, 9):
        case 0 | 1:
            return bytes_edited(draw, good)
        case 2 | 3:
            name = draw.choice(sorted(records))
            return repacked(records | {name: bytes_edited(draw, records[name])})
        case 4 | 5:
            return repacked(records | {description: pickle_edited(draw, records[description])})
        case 6 | 7:
            return payload_edited(draw, good)
        case 8:
            return hostile_file(draw)
        case _:
            other = repacked({n: draw.choice((c, c, c, b"")) for n, c in records.items()}, draw)
            return draw.choice((other, other + good, good + other, other[: len(other) // 2]))


def write_export(draw: Random, good: Path, folder: Path) -> None:
    """The export in `good`, mutated, in `folder`; half of the time with the right sum for the wrong weights."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    written = (good / "config.json").read_bytes()
    weights = (good / "model.safetensors").read_bytes()
    if draw.random() < 0.6:
        start = draw.choice((0, len(weights) // 2))
        weights = weights[:start] + bytes_edited(draw, weights[start:])
    else:
        written = bytes_edited(draw, written)
    with contextlib.suppress(ValueError, AttributeError):
        tree = json.loads(written)
        if draw.random() < 0.5:
            tree["weights_sha256"] = hashlib.sha256(weights).hexdigest()
        if draw.random() < 0.3:
            section = draw.choice([s for s in tree["config"] if isinstance(tree["config"][s], dict)])
            tree["config"][section][draw.choice(sorted(tree["config"][section]))] = draw.choice(NASTY_VALUES)
        written = json.dumps(tree).encode("utf-8", "surrogatepass")
    (folder / "config.json").write_bytes(written)
    (folder / "model.safetensors").write_bytes(weights)


def images() -> dict[str, bytes]:
    """A small image of each kind that is read, by name."""
    down, across = np.mgrid[0:40, 0:48]
    colour = Image.fromarray(np.stack([5 * down, 5 * across, 2 * (down + across)], axis=2).astype(np.uint8))
    pixels = {mode: colour.convert(mode) for mode in ("RGB", "L", "P", "RGBA", "CMYK", "1", "F")}
    pixels["I"] = Image.fromarray(np.asarray(pixels["L"]).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        *(("JPEG", mode, {}) for mode in ("RGB", "L", "CMYK")),
        *(("JPEG", "RGB", options) for options in ({"progressive": True}, {"exif": exif}, {"restart_marker_rows": 1})),
        *(("PNG", mode, {}) for mode in ("RGB", "L", "P", "RGBA", "1", "I")),
        *(("WEBP", "RGBA", {"lossless": lossless}) for lossless in (True, False)),
        ("WEBP", "RGB", {"save_all": True, "append_images": [pixels["L"].convert("RGB")]}),
        *(("BMP", mode, {}) for mode in ("RGB", "L", "P", "1")),
        *(("GIF", "P", options) for options in ({}, {"save_all": True, "append_images": [pixels["L"]]})),
        *(("TIFF", mode, {}) for mode in ("RGB", "L", "P", "RGBA", "CMYK", "1", "I", "F")),
        *(("TIFF", "RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
    ]
    drawn = {}
    for kind, mode, options in kinds:
        file = io.BytesIO()
        pixels[mode].save(file, kind, **options)
        drawn[f"{len(drawn):02d}-{kind}-{mode}"] = file.getvalue()
    run_length = struct.pack("<IHHIIiiHHIIiiII", 1200, 0, 0, 1078, 40, 48, 40, 1, 8, 1, 0, 0, 0, 256, 0)
    return drawn | {"BMP-RLE": b"BM" + run_length + bytes(range(256)) * 4 + b"\x30\x07\0\0" * 40 + b"\0\1"}


def image_bytes(draw: Random, kinds: dict[str, bytes]) -> bytes:
    """An image, mutated, more often where it says how large it is; of a PNG the sums may be right."""
    name = draw.choice(sorted(kinds))
    content = kinds[name]
    start, end = draw.choice((0, 8, 8, 12)), draw.choice((32, 200, len(content)))
    edited = content[:start] + bytes_edited(draw, content[start:end]) + content[end:]
    if "TIFF" in name and draw.random() < 0.5:  # its directory stands at the end
        edited = content[:-300] + bytes_edited(draw, content[-300:])
    return with_sums(edited) if "PNG" in name and draw.random() < 0.8 else edited


def with_sums(png: bytes) -> bytes:
    """`png` with the right CRC after each chunk."""
    at, parts = 8, [png[:8]]
    while at + 12 <= len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        body = png[at + 4 : at + 8 + length]
        parts.append(png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts)


def trained(folder: Path) -> Path:
    """A run of one epoch in `folder`, of a network of a thousand weights."""
    flags = ["--data.image_size=16", "--data.toons=16", "--data.batch_size=4", "--model.widths=[4, 4]"]
    flags += ["--model.latent_dim=2", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", f"--out={folder}"]
    status, raised, _, err = heard(lambda: vae(["train", *flags, f"--data.cache_dir={folder.parent / 'cache'}"]))
    assert status == 0, raised or err
    return folder / "last.ckpt"


def drawn_cases(count: int, number: int, case: Callable[[Random], None]) -> None:
    """Call `case` `count` times with what hypothesis draws from the seed `number`."""
    quiet = settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(quiet(given(st.randoms(use_true_random=False))(case)))()


def fuzz(counts: dict[str, int], number: int, kept: Path) -> dict[str, Table]:
    """What became of `counts` cases of each kind, run in the current folder.

    Args:
        kept: the folder for the inputs of failures.
    """
    tables = {kind: Table() for kind in counts}
    good = trained(Path("run").absolute())
    content, kinds = good.read_bytes(), images()
    assert heard(lambda: vae(["export", "--ckpt", str(good), "--out", "export"]))[0] == 0

    def keep(path: Path) -> Path:
        kept.mkdir(parents=True, exist_ok=True)
        target = kept / f"{sum(len(t.failures) for t in tables.values())}-{path.name}"
        return Path((shutil.copytree if path.is_dir() else shutil.copy)(path, target))

    def a_config(draw: Random) -> None:
        path = Path("fuzz.yaml")
        path.write_text(config_text(draw), encoding="utf-8", errors="surrogatepass")
        observe(lambda: vae(["train", "--config", str(path), "--print_config"]), tables["configs"], lambda: keep(path))

    def a_checkpoint(draw: Random) -> None:
        path = Path("fuzz.ckpt")
        path.write_bytes(checkpoint_bytes(draw, content))
        read_by = draw.choice((lambda: resume(path), lambda: sample(path)))
        observe(read_by, tables["checkpoints"], lambda: keep(path))

    def an_export(draw: Random) -> None:
        path = Path("fuzz_export")
        write_export(draw, Path("export"), path)
        observe(lambda: sample(path), tables["exports"], lambda: keep(path))

    def an_image(draw: Random) -> None:
        path = Path("fuzz_images", "a.png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image_bytes(draw, kinds))
        observe(lambda: vae(["data", "check", "fuzz_images"]), tables["images"], lambda: keep(path))

    def sample(path: Path) -> int:
        return vae(["sample", "--ckpt", str(path), "-n", "2", "--out", "fuzz.png"])

    signal.signal(signal.SIGALRM, _hang)
    cases = {"configs": a_config, "checkpoints": a_checkpoint, "exports": an_export, "images": an_image}
    with memory_bounded():
        for kind, count in counts.items():
            while tables[kind].cases < count:
                drawn_cases(count - tables[kind].cases, number + tables[kind].cases, cases[kind])
    return tables


def _hang(*_: Any) -> None:
    raise Hang(f"longer than {LIMIT_S} s")


@contextlib.contextmanager
def memory_bounded():
    """The system refuses memory beyond HEADROOM meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + HEADROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def main() -> int:
    """Fuzz and print; 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--configs", type=int, default=5000, metavar="N")
    parser.add_argument("--checkpoints", type=int, default=2000, metavar="N")
    parser.add_argument("--exports", type=int, default=500, metavar="N")
    parser.add_argument("--images", type=int, default=2000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", default="fuzz_failures", metavar="DIR", help="where the inputs of failures are kept")
    parser.add_argument("--reasons", type=int, default=0, metavar="N", help="print the N commonest lines of each kind")
    options = vars(parser.parse_args())
    kept, number, reasons = Path(options.pop("kept")).absolute(), options.pop("seed"), options.pop("reasons")
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        tables = fuzz(options, number, kept)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "pillow", "hypothesis"))
    print(f"seed {number}; Python {platform.python_version()}, {versions}\n")
    print(f"{'':12}{'cases':>8}{'accepted':>10}{'refused':>9}{'failures':>10}{'slowest':>10}")
    for kind, t in tables.items():
        print(f"{kind:12}{t.cases:>8,}{t.accepted:>10,}{t.refused:>9,}{len(t.failures):>10}{t.slowest_s:>8.1f} s")
        for said, count in t.reasons.most_common(reasons):
            print(f"    {count:>5} {said[:200]}")
    print(f"\nlargest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    failures = [failure for table in tables.values() for failure in table.failures]
    print("\n".join(failures[:50]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
