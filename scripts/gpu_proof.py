"""The proof on a GPU, in one command: python scripts/gpu_proof.py --data DIR_OR_ZIP --out DIR [--minutes 8]

Machine, the tests that need CUDA, step times, the published run, the configs that name a budget, pictures: each part in
a process of its own and within its share of the time. OUT/proof.json is written after each, OUT/proof.md at the end.
"""

# On a machine that has torch, Lightning, pytest and the like, but neither jsonargparse and simplejpeg nor a Pillow of
# this year, and that reaches no package registry: fetch the wheels elsewhere, for its Python (3.12 here), into a folder
# that git ignores,
#
#   echo /.whl/ >> .git/info/exclude
#   python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
#       --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
#       --platform manylinux2014_x86_64 -d .whl jsonargparse==4.53.0 simplejpeg==1.9.0 pillow==13.0.0
#
# put the pictures beside them (cp FRAMES.zip .whl/), take the folder along, and run there, from the root of the tree:
#
#   python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/site .whl/*.whl \
#       && PYTHONPATH=/tmp/site PYTHONUNBUFFERED=1 \
#       python3 scripts/gpu_proof.py --data .whl/FRAMES.zip --out "$OUT" --minutes 8 --commit COMMIT
#
# --commit is for a copy of the tree without its .git. OUT then holds at most eight files, none in a folder.

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from gpu_proof.quality import find_budgets
from gpu_proof.report import format_report, say_part
from gpu_proof.setup import ROOT, Deadline, Notes, Setup, find_commit, write_json
from gpu_proof.supervise import Part, budget_s, run_part, run_within, vae

# Weights are seconds at the usual 8 minutes; what one part leaves of its share, those after it have.
PARTS = [
    Part("machine", 12, 60),
    Part("tests", 150),
    Part("steps", 90),
    Part("published", 110),
    Part("quality", 30, 60),
    Part("pictures", 5, 30),
]


def main() -> int:
    """Run all parts, or with --part one of them, in this process; 1 where one is not well."""
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # parts are ended too then
    options = parse_options()
    commit = options.commit or find_commit()
    data = options.data.resolve() if options.data else None
    with working_folder(options.work) as work:
        setup = Setup(
            data or work / "toons",
            options.out.resolve(),
            work,
            options.configs,
            options.device,
            options.dry_run,
            commit,
        )
        if options.part:
            run_here(setup, options.part, options.seconds)
            return 0
        setup.out.mkdir(parents=True, exist_ok=True)
        return prove(setup, options.minutes, drawn=data is None)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, metavar="DIR_OR_ZIP", help="pictures; a dry run draws some")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="for proof.json, proof.md and PNG files")
    parser.add_argument("--minutes", type=float, default=8, help="for all parts together (default 8)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--dry-run", action="store_true", help="every part at a toy size, to see that it works")
    parser.add_argument("--configs", type=Path, metavar="DIR", default=ROOT / "configs")
    parser.add_argument("--work", type=Path, metavar="DIR", help="for run folders and logs, kept; default: thrown away")
    parser.add_argument("--commit", default="", help="of this tree, where git cannot say")
    parser.add_argument("--part", choices=[part.name for part in PARTS], help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.data is None and not options.dry_run:
        parser.error("--data: a folder or archive of pictures is needed, but for --dry-run")
    return options


@contextmanager
def working_folder(named: Path | None):
    """The folder that was named, made; or one that is gone afterwards."""
    if named is not None:
        named.mkdir(parents=True, exist_ok=True)
        yield named.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="gpu-proof-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def prove(setup: Setup, minutes: float, drawn: bool) -> int:
    """Run the parts, one after the other; whether each went well, as a status."""
    if setup.dry_run:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of a toy network wait for each other on busy cores
    deadline = Deadline(60 * minutes)
    parts = with_quality(60 * sum(find_budgets(setup.configs).values()))
    if drawn:
        toons = vae(["data", "toons", str(setup.data), "-n", "160", "--size", "32"])
        run_within(toons, 60, setup.work / "toons.log", setup.work / "user_cache")
    proof = {"command": sys.argv, "started": datetime.now().astimezone().isoformat(timespec="seconds")}
    proof |= {"minutes": minutes, "parts": {}}
    began = time.monotonic()
    for number, part in enumerate(parts):
        seconds = budget_s(parts, number, deadline.left_s())
        command = [sys.executable, __file__, f"--part={part.name}", f"--seconds={seconds}", *setup.flags()]
        found = proof["parts"][part.name] = run_part(command, seconds, setup.work, part.name)
        proof["seconds"] = round(time.monotonic() - began, 1)
        write_json(setup.out / "proof.json", proof)
        print(say_part(part.name, found), flush=True)
    (setup.out / "proof.md").write_text(format_report(proof), encoding="utf-8")
    print("\n" + format_report(proof))
    return int(any(found["status"] != "ok" for found in proof["parts"].values()))


def with_quality(asked_s: float) -> list[Part]:
    """The parts, of which `quality` has the seconds that configs ask for beside what it needs to start."""
    return [
        replace(part, weight=part.weight + asked_s, most_s=part.most_s + asked_s) if part.name == "quality" else part
        for part in PARTS
    ]


def run_here(setup: Setup, name: str, seconds: float) -> None:
    """Run one part, in this process."""
    notes = Notes(setup.work / f"{name}.jsonl")
    on = setup.proof()["parts"].get("machine", {}).get("figures", {}).get("on")
    if on is None:
        from gpu_proof.machine import describe_machine

        on = describe_machine(setup)
    notes.add(on=on)
    find_part(name)(setup, notes, Deadline(0.95 * seconds - 1))


def find_part(name: str) -> Callable[[Setup, Notes, Deadline], None]:
    """The function that is the part; what it needs is imported now, so that no part breaks another."""
    match name:
        case "machine":
            from gpu_proof.machine import measure_machine as part
        case "tests":
            from gpu_proof.cuda_tests import run_cuda_tests as part
        case "steps":
            from gpu_proof.steps import measure_steps as part
        case "published":
            from gpu_proof.published import prove_published_run as part
        case "quality":
            from gpu_proof.quality import train_quality_configs as part
        case _:
            from gpu_proof.pictures import copy_pictures as part
    return part


if __name__ == "__main__":
    sys.exit(main())
