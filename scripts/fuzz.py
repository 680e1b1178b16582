"""Gives damaged and hostile files to the commands: python scripts/fuzz.py [--checkpoints N ...] [--seed N]

Configs, checkpoints, exported models and images are mutated. Each case must end in success, or in one line that says
what is wrong; a traceback, a hang, a second line, code that ran or memory that ran out is a failure. The seed, the kind
and the number of a case decide its file.
"""

import argparse
import faulthandler
import io
import json
import os
import pickle
import platform
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from vae_simpsons.checkpoint import (
    DIGEST,
    KEY,
    MODEL_FILE,
    Position,
    digest,
    read_checkpoint,
    write_checkpoint,
)
from vae_simpsons.cli import main as vae
from vae_simpsons.errors import one_line
from vae_simpsons.settings import keys

ROOT = Path(__file__).parent.parent
CASES = {"configs": 5000, "checkpoints": 2000, "exports": 500, "images": 2000}
LIMIT_S = 20  # for one case; most take milliseconds
EXTRA_MEMORY = 4 * 2**30  # bytes that a case may map beyond what the program has mapped before
CANARY = "code_was_run"  # the file that hostile code would create
NUMBERS = (0, 1, -1, 2, 3, 127, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64, 10**30)
VALUES = (*NUMBERS, 0.5, 1e308, float("inf"), float("nan"), True, None, "", "x", "\0", "\n", "\ud800", [], {}, [[]])
YAML = (
    r"3e-4 | 1e400 | .inf | .nan | -0 | 1:1:1:1 | 2001-01-01 | 2001-99-99 | null | ~ | true | '' | 4096 | 1000000 | "
    r'"\0" | "\ud800" | "\e[2J" | !!binary aGk= | !!set {a} | !!float x | !!str 3 | !custom x | &a [*a] | *b | << | '
    "[1, [2, [3]]] | [32, 64] | [65536, 65536] | - a | ? [a]\n: b | {a: b} | !!int '' | !!python/tuple [1] | "
    f"!!python/name:os.system | !!python/object/apply:os.system ['touch {CANARY}']"
).split(" | ")
YAML += ["[" * 300, "{" * 300, "1" * 5000, "0x" + "f" * 50, "x" * 70_000, "[" + "1, " * 3000 + "]", "\t", "|\n x"]
TYPES = (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool, torch.float8_e4m3fn)


class Hang(BaseException):
    """A case took longer than LIMIT_S."""


def edit_bytes(draw: Random, content: bytes) -> bytes:
    """Returns `content` with bits flipped, numbers overwritten, parts cut, repeated or moved."""
    edited = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at, length = draw.randint(0, max(0, len(edited) - 1)), draw.choice((1, 2, 4, 8, 64, 1000))
        part, elsewhere = edited[at : at + length], edited[draw.randint(0, len(edited)) :][:length]
        flipped = bytes(byte ^ 1 << draw.randint(0, 7) for byte in part[:1])
        constant = bytes(draw.choice((0, 0xFF, 0x7F, 0x80)) for _ in part)
        number = struct.pack(draw.choice(("<I", ">I")), draw.choice(NUMBERS) % 2**32)
        changes = [(1, flipped), (length, constant), (len(edited), b""), (length, b""), (4, number)]
        replaced, by = draw.choice([*changes, (0, part * draw.choice((1, 2, 50))), (0, elsewhere)])
        edited[at : at + replaced] = by
    return bytes(edited)


def edit_tree(draw: Random, tree: Any) -> None:
    """Changes, removes or renames something in a tree of dicts and lists, in place."""
    while tree:
        key = draw.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        if not isinstance(tree[key], (dict, list)) or not tree[key] or draw.random() < 0.1:
            break
        tree = tree[key]
    else:
        return
    change = draw.random()
    if change < 0.15:
        del tree[key]
    elif change < 0.3 and isinstance(tree, dict):
        tree[draw.choice((f"{key}x", "", "\n", "\ud800"))] = tree.pop(key)
    else:
        tree[key] = draw.choice(VALUES)


def config_bytes(draw: Random) -> bytes:
    """Returns YAML: a shipped config with some of its text changed, or settings with odd values."""
    if draw.random() < 0.4:
        return edit_bytes(draw, draw.choice(sorted((ROOT / "configs").glob("*.yaml"))).read_bytes())
    text = ""
    for _ in range(draw.randint(1, 4)):
        section, _, name = draw.choice([*keys(), *keys(), "data", "model", "x", "data.x", "<<", "1"]).rpartition(".")
        value = draw.choice(YAML)
        text += f"{section}: {{{name}: {value}}}\n" if section else f"{name}: {value}\n"
    return text.encode("utf-8", "surrogatepass")


def checkpoint_bytes(draw: Random, good: bytes) -> bytes:
    """Returns the checkpoint `good`, mutated, or another file in its place."""
    other_file = lambda draw, good: draw.choice(other_files())  # noqa: E731
    return draw.choice([*2 * [edit_bytes], *3 * [edit_header], *5 * [edit_content], other_file])(draw, good)


def edit_header(draw: Random, good: bytes) -> bytes:
    """Returns a safetensors file whose header, or the length that it gives for it, is wrong."""
    end = 8 + int.from_bytes(good[:8], "little")
    header, data = good[8:end], good[end:]
    tree = json.loads(header)
    for _ in range(draw.randint(1, 3)):
        edit_tree(draw, tree)
    header = draw.choice((edit_bytes(draw, header), json.dumps(tree).encode()))
    length = draw.choice((len(header), len(header), len(header), draw.choice(NUMBERS) % 2**64))
    return length.to_bytes(8, "little") + header + draw.choice((data, data, data[:-1], data + b"\0"))


def edit_content(draw: Random, good: bytes) -> bytes:
    """Returns a valid safetensors file with another description, position or tensors; most have the right digest."""
    header = json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])
    described, tensors = json.loads(header["__metadata__"][KEY]), safetensors.torch.load(good)
    old_digest = described.pop(DIGEST)
    for _ in range(draw.randint(1, 2)):
        match draw.randint(0, 3):
            case 0:
                edit_tree(draw, described)
            case 1:
                edit_tree(draw, described.get("settings"))
            case 2 if isinstance(position := described.get("position"), dict) and position:
                position[draw.choice(list(position))] = draw.choice((*range(8), *VALUES))
            case _:
                edit_tensors(draw, tensors)
    described[DIGEST] = digest(described, tensors) if draw.random() < 0.85 else old_digest
    return safetensors.torch.save(tensors, {KEY: json.dumps(described)})


def edit_tensors(draw: Random, tensors: dict[str, torch.Tensor]) -> None:
    """Removes or renames a tensor, or changes its type, shape or numbers."""
    name = draw.choice(sorted(tensors))
    tensor = tensors.pop(name)
    number = draw.choice((float("nan"), float("inf"), 1e30, 0.0, -1.0))
    changed = [tensor[None], tensor.flatten()[:-1], torch.zeros(0), torch.zeros(1000, 1000), *map(tensor.to, TYPES)]
    changed += 10 * [torch.full_like(tensor.double(), number).to(tensor.dtype)]
    match draw.randint(0, 3):
        case 0:
            tensors[draw.choice((f"{name}x", name.partition(".")[2], "\n", "x" * 300, f"optimizer.{name}"))] = tensor
        case 1 | 2:
            tensors[name] = draw.choice(changed).contiguous()


def other_files() -> list[bytes]:
    """Returns files of other kinds, some of which run code where they are unpickled."""
    evil = f"cos\nsystem\n(S'touch {CANARY}'\ntR.".encode()
    zipped = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, zipped)
    foreign = safetensors.torch.save({"weight": torch.zeros(2)}, {"format": "pt"})
    deep = b'{"__metadata__": ' + b"[" * 100_000
    nested = len(deep).to_bytes(8, "little") + deep
    texts = [b"", b"{", b"\0" * 100, b"seed: 1\n", (2**63).to_bytes(8, "little") + b"{}"]
    return [*texts, evil, b"\x80\x02" + evil, pickle.dumps(2**100), zipped.getvalue(), foreign, nested]


def make_images() -> dict[str, bytes]:
    """Returns a small image of each kind that is read, by name."""
    down, across = np.mgrid[0:40, 0:48]
    colour = Image.fromarray(np.stack([5 * down, 5 * across, 2 * (down + across)], axis=2).astype(np.uint8))
    pixels = {mode: colour.convert(mode) for mode in ("RGB", "L", "P", "RGBA", "CMYK", "1", "F")}
    pixels["I"] = Image.fromarray(np.asarray(pixels["L"]).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    animated = {"save_all": True, "append_images": [pixels["L"].convert("RGB")]}
    modes = {"JPEG": "RGB L CMYK", "PNG": "RGB L P RGBA 1 I", "BMP": "RGB L P 1", "GIF": "P", "WEBP": "RGB RGBA"}
    modes["TIFF"] = "RGB L P RGBA CMYK 1 I F"
    jpeg = ({"progressive": True}, {"exif": exif}, {"restart_marker_rows": 1})
    tiff = [{"compression": name} for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")]
    more = {"JPEG": jpeg, "TIFF": tiff, "WEBP": ({"lossless": True}, animated), "GIF": (animated,)}
    kinds: list[tuple[str, str, dict]] = [(kind, mode, {}) for kind, names in modes.items() for mode in names.split()]
    kinds += [(kind, "RGB", options) for kind, choices in more.items() for options in choices]
    images = {}
    for kind, mode, options in kinds:
        file = io.BytesIO()
        pixels[mode].save(file, kind, **options)
        images[f"{len(images):02d}-{kind}-{mode}"] = file.getvalue()
    run_length = struct.pack("<IHHIIiiHHIIiiII", 1200, 0, 0, 1078, 40, 48, 40, 1, 8, 1, 0, 0, 0, 256, 0)
    return images | {"BMP-RLE": b"BM" + run_length + bytes(range(256)) * 4 + b"\x30\x07\0\0" * 40 + b"\0\1"}


def image_bytes(draw: Random, images: dict[str, bytes]) -> bytes:
    """Returns a mutated image, more often changed where its size is; PNGs often with checksums that fit."""
    name = draw.choice(sorted(images))
    content = images[name]
    start, end = draw.choice((0, 8, 8, 12)), draw.choice((32, 200, len(content)))
    edited = content[:start] + edit_bytes(draw, content[start:end]) + content[end:]
    if "TIFF" in name and draw.random() < 0.5:  # its directory is at the end
        edited = content[:-300] + edit_bytes(draw, content[-300:])
    return with_checksums(edited) if "PNG" in name and draw.random() < 0.8 else edited


def with_checksums(png: bytes) -> bytes:
    """Returns `png` with the right CRC after each chunk."""
    at, parts = 8, [png[:8]]
    while at + 12 <= len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        body = png[at + 4 : at + 8 + length]
        parts.append(png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts)


def call(command: Callable[[], int]) -> tuple[int | None, str, str, str]:
    """Returns the status of `command`, what it raised, and what it wrote to both streams, from C too."""
    status, raised, saved = None, "", (os.dup(1), os.dup(2))
    with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile("w+", errors="replace") as err:
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        signal.alarm(LIMIT_S)
        faulthandler.dump_traceback_later(4 * LIMIT_S, exit=True, file=saved[1])  # C code that never checks signals
        try:
            status = command()
        except BaseException as e:  # all of them are failures
            raised = one_line(f"{type(e).__name__}: {e}")[:300]
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
            sys.stdout.flush(), sys.stderr.flush()
            for fd, original in enumerate(saved, start=1):
                os.dup2(original, fd), os.close(original)
        out.seek(0), err.seek(0)
        return status, raised, out.read(), err.read()


def judge(status: int | None, raised: str, out: str, err: str) -> str:
    """Returns "accepted", "refused", or what is wrong with how a command ended."""
    lines = err.splitlines()
    if raised:
        return raised
    if os.path.exists(CANARY):
        os.remove(CANARY)
        return "code ran"
    if any(word in (err + out).lower() for word in ("the memory", "allocate", "memoryerror")):
        return f"memory ran out: {err + out}"
    if status == 0 and not lines:
        return "accepted"
    no_image = status == 1 and not lines and "unreadable" in out  # what `vae data check` reports
    if no_image or (status in (1, 2) and len(lines) == 1 and err.startswith("vae: ")):
        return "refused"
    return f"status {status}, {len(lines)} lines: {err[:300]!r}"


def train_runs() -> None:
    """Trains a network of a thousand weights for an epoch in run/, with its cache in cache/, and exports it.

    In flow/ is another, with averaged weights and a flow on its latents, whose only epoch is still to come.
    """
    flags = ["--data.image_size=16", "--data.toons=16", "--data.batch_size=4", "--model.widths=[4, 4]"]
    flags += ["--model.latent_dim=2", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.cache_dir=cache"]
    flow = ["--prior.kind=flow", "--prior.epochs=1", "--prior.width=8", "--prior.depth=1", "--optimizer.ema=0.9"]
    runs = ["train", *flags, "--out=run"], ["train", *flags, *flow, "--prior.batch_size=4", "--out=flow"]
    for command in (*runs, ["export", "--ckpt", "run/last.ckpt", "--out", "export"]):
        status, raised, _, err = call(partial(vae, command))
        assert status == 0, raised or err
    finished = read_checkpoint(Path("flow/last.ckpt"))
    write_checkpoint(replace(finished, position=Position("prior", epochs=0, steps=0)))


def open_model(draw: Random, path: Path) -> int:
    """Gives a checkpoint to one of the commands that read one; settings that may change are those of the good run."""
    for folder in ("output", "resumed"):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree("run", "resumed")
    shutil.copy(path, "resumed/last.ckpt")
    fixed = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true"}
    fixed |= {"engine": "eager", "max_epochs": draw.choice((1, 2))}  # of run/ one is done; flow/ keeps its one
    flags = [f"--trainer.{key}={value}" for key, value in fixed.items()]
    pictures = str(next(Path("cache").glob("toons-*")))
    model = str(path.parent if path.name == MODEL_FILE else path)
    train = ["train", "--resume=resumed", "--data.path=toons", "--data.cache_dir=cache", *flags]
    sample = ["sample", f"--ckpt={model}", "-n2", "--out=output/samples.png"]
    encode = ["encode", pictures, f"--ckpt={model}", "--data.cache_dir=cache", "--out=output"]
    return vae(draw.choice([train, train, sample, encode, ["export", f"--ckpt={model}", "--out=output"]]))


def fuzz(counts: dict[str, int], seed: int, kept: Path) -> int:
    """Runs `counts` cases of each kind in the current folder, prints the outcomes and returns how many failed.

    Args:
        kept: the folder for the files that failed.
    """
    train_runs()
    goods = [Path(run, "last.ckpt").read_bytes() for run in ("run", "flow")]
    exported, images = Path("export", MODEL_FILE).read_bytes(), make_images()
    kinds = {  # file, what draws its bytes, what reads it
        "configs": ("a.yaml", config_bytes, lambda _, path: vae(["train", "--config", str(path), "--print_config"])),
        "checkpoints": ("a.ckpt", lambda draw: checkpoint_bytes(draw, draw.choice(goods)), open_model),
        "exports": (MODEL_FILE, lambda draw: checkpoint_bytes(draw, exported), open_model),
        "images": ("a.png", lambda draw: image_bytes(draw, images), lambda _, path: vae(["data", "check", "images"])),
    }
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + EXTRA_MEMORY, resource.RLIM_INFINITY))
    print(f"{'':12}{'cases':>8}{'accepted':>10}{'refused':>9}{'failures':>10}{'slowest':>10}")
    failures = [run_cases(kind, counts[kind], seed, kept, *kinds[kind]) for kind in kinds]
    return sum(failures)


def run_cases(kind: str, count: int, seed: int, kept: Path, name: str, draw_bytes: Callable, command: Callable) -> int:
    """Runs the cases of one kind, prints a row of the table, and returns how many failed."""
    path = Path(kind, name)
    path.parent.mkdir()
    outcomes, slowest_s = Counter(), 0.0
    for number in range(count):
        draw = Random(f"{seed} {kind} {number}")
        path.write_bytes(draw_bytes(draw))
        began = time.monotonic()
        outcome = judge(*call(partial(command, draw, path)))
        slowest_s = max(slowest_s, time.monotonic() - began)
        outcomes[outcome] += 1
        if outcome not in ("accepted", "refused"):
            kept.mkdir(parents=True, exist_ok=True)
            print(f"{outcome} [{shutil.copy(path, kept / f'{kind}-{number}{path.suffix}')}]", flush=True)
    accepted, refused = outcomes["accepted"], outcomes["refused"]
    failed = count - accepted - refused
    print(f"{kind:12}{count:>8,}{accepted:>10,}{refused:>9,}{failed:>10}{slowest_s:>8.1f} s", flush=True)
    return failed


def raise_hang(*_: Any) -> None:
    """Ends a case that takes too long."""
    raise Hang(f"longer than {LIMIT_S} s")


def main() -> int:
    """Runs the cases and prints a table; returns 1 if any failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for kind, count in CASES.items():
        parser.add_argument(f"--{kind}", type=int, default=count, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", default="fuzz_failures", metavar="DIR", help="folder for the files that failed")
    options = parser.parse_args()
    counts, kept = {kind: getattr(options, kind) for kind in CASES}, Path(options.kept).absolute()
    signal.signal(signal.SIGALRM, raise_hang)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "safetensors", "pillow"))
    print(f"seed {options.seed}; Python {platform.python_version()}, {versions}\n")
    with tempfile.TemporaryDirectory() as place, chdir(place):
        failed = fuzz(counts, options.seed, kept)
    print(f"\nlargest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
