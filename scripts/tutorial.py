"""Runs docs/tutorial.md and draws its pictures: python scripts/tutorial.py WORK

The commands are those that the tutorial shows: they are read from it and run in the folder WORK, one after the other.
One that is done is not run again, and a training that was interrupted is resumed. Then the pictures are put together,
the figures are written to docs/tutorial/figures.json and into the text, and the links to code are set to today's lines.
With --text instead of WORK, figures and links of the text alone.
"""

import argparse
import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tutorial_pictures import latents, pictures, principal
from vae_simpsons.checkpoint import read_checkpoint
from vae_simpsons.data.dataset import load_dataset
from vae_simpsons.images import normalise
from vae_simpsons.progress import progress_bar

ROOT = Path(__file__).parent.parent
TUTORIAL, PICTURES = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial"
FIGURES = PICTURES / "figures.json"
CONFIG = "faces.yaml"  # in WORK, as the tutorial shows it
DONE = "done.json"  # in WORK: the CPU seconds of each command that is done
TRAINED = ["ae", "recipe", "lighter", "optimal", "collapsed", "map"]  # runs whose last epoch is quoted
MEASURED = {  # of evaluation.json: group, figure
    "kd": ("samples", "KD-EffNetLite0"),
    "kd_recon": ("reconstruction", "KD-EffNetLite0 of reconstructions"),
    "sharp": ("samples", "sharpness of samples"),
    "sharp_recon": ("reconstruction", "sharpness of reconstructions"),
}
NUMBER = re.compile(r"(-?[\d,]*\.?\d+)<!--([\w.-]+)-->")  # a figure of the text and its name, which readers do not see
SENTENCE = "{cpu_minutes} minutes of one core: {device}, torch {torch}, Python {python}, commit {commit}."
MADE = re.compile(r"<!--made-->.*?<!--/made-->", re.S)  # how long it took, and on what
CODE_LINK = re.compile(r"\[`([^`]+)`\]\(\.\./([\w/.]+)#L(\d+)\)")  # the text of a line, its file and number


def blocks(text: str, language: str) -> list[str]:
    """Returns what stands in the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def commands(text: str) -> list[str]:
    """Returns the `vae` and `python` commands that a reader types, in order, each on one line."""
    lines = "".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.startswith(("vae ", "python "))]


def run_command(command: str, work: Path) -> None:
    """Runs a command in `work`, or resumes what it trained, unless it is done; its output is added to log.txt."""
    if command in done_in(work):
        return
    print(command, flush=True)
    verb, *words = shlex.split(command, comments=True)
    out = work / words[words.index("--out") + 1] if "--out" in words else None
    if words[0] in ("train", "fit-prior") and out and (out / "last.ckpt").exists():
        words = ["train", "--resume", str(out)]
    before = os.times()
    with open(work / "log.txt", "a", encoding="utf-8") as log:
        program = [sys.executable, *(["-m", "vae_simpsons"] if verb == "vae" else [])]
        subprocess.run([*program, *words], cwd=work, stdout=log, stderr=log, check=True)
    after = os.times()
    seconds = sum(after[2:4]) - sum(before[2:4])  # user and system, of commands that have ended
    done = done_in(work) | {command: round(seconds, 1)}
    (work / DONE).write_text(json.dumps(done, indent=1), encoding="utf-8")


def done_in(work: Path) -> dict[str, float]:
    """Returns the CPU seconds of each command that is done in `work`."""
    marks = work / DONE
    return json.loads(marks.read_text(encoding="utf-8")) if marks.exists() else {}


def variances_of_images(checkpoint: Path) -> np.ndarray:
    """Returns the variance of a run's training images along each of their principal directions, (C H W,)."""
    dataset = load_dataset(read_checkpoint(checkpoint).settings, 1, progress_bar)
    x = normalise(dataset.pack.pixels[dataset.train]).flatten(1).numpy()
    x -= x.mean(0)
    return np.linalg.eigvalsh(x.T @ x / len(x))


def figures(work: Path) -> dict[str, Any]:
    """Returns every figure that the text may name, and what they were measured with."""
    found: dict[str, Any] = {}
    for run in TRAINED:
        with open(work / run / "metrics.csv", newline="", encoding="utf-8") as file:
            last = list(csv.DictReader(file))[-1]
        found |= {f"{run}.{key.split('/')[1]}": float(value) for key, value in last.items() if value and "/" in key
                  if key.startswith(("val/", "sigma/"))}  # fmt: skip
    for path in sorted(work.glob("*/evaluation/evaluation.json")):
        groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
        for name, (group, figure) in MEASURED.items():
            measured = next(f for f in groups[group] if f["name"] == figure)
            found[f"{path.parts[-3]}.{name}"] = measured["value"]
            found[f"{name}.images"] = measured["reference"]
    deviations = latents(work / "ae" / "latents").std(0)
    found |= {"ae.std_least": deviations.min(), "ae.std_most": deviations.max()}
    deviations = principal(latents(work / "optimal" / "latents", sampled=True))[1]
    found |= {"optimal.std_least": deviations[-1], "optimal.std_most": deviations[0]}
    variances = variances_of_images(work / "ae" / "last.ckpt")
    found |= {"images.variance": variances.sum()}
    for run in ("recipe", "lighter"):
        found[f"{run}.directions"] = int((variances > found[f"{run}.implied"] ** 2).sum())
    environment = json.loads((work / "map" / "environment.json").read_text(encoding="utf-8"))
    found = {name: float(f"{value:.6g}") for name, value in found.items()}
    return found | {
        "cpu_minutes": round(sum(done_in(work).values()) / 60, 1),
        "device": environment["device"], "torch": environment["versions"]["torch"],
        "python": environment["python"], "commit": (environment["commit"] or "no commit")[:8],
    }  # fmt: skip


def fill_in(text: str, known: dict[str, Any]) -> str:
    """Returns the text with the known figures, each with as many decimals as it has in the text."""

    def filled(match: re.Match[str]) -> str:
        decimals = len(match[1].partition(".")[2])
        return f"{known[match[2]]:,.{decimals}f}<!--{match[2]}-->"

    return MADE.sub(f"<!--made-->{SENTENCE.format(**known)}<!--/made-->", NUMBER.sub(filled, text))


def relink(text: str) -> str:
    """Returns the text with its links to lines of code set to where the code is.

    Raises:
        ValueError: the file has no such line, or, away from where the link points, several.
    """

    def linked(match: re.Match[str]) -> str:
        code, file, number = match[1], match[2], int(match[3])
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        if number > len(lines) or code not in lines[number - 1]:
            places = [i for i, line in enumerate(lines, 1) if code in line]
            if len(places) != 1:
                raise ValueError(
                    f"docs/tutorial.md: {file} has {len(places)} lines with {code!r}. Quote one that it has."
                )
            number = places[0]
        return f"[`{code}`](../{file}#L{number})"

    return CODE_LINK.sub(linked, text)


def main() -> None:
    """Runs the commands, then writes pictures, figures and text."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "work", type=Path, nargs="?", metavar="WORK", help="folder of the runs, made if it is not there"
    )
    parser.add_argument("--text", action="store_true", help="update figures and links of the text, and nothing else")
    options = parser.parse_args()
    text = TUTORIAL.read_text(encoding="utf-8")
    if options.work is None and not options.text:
        parser.error("give a folder for the runs, or --text")
    if not options.text:
        options.work.mkdir(parents=True, exist_ok=True)
        (options.work / CONFIG).write_text(blocks(text, "yaml")[0], encoding="utf-8")
        for command in commands(text):
            run_command(command, options.work)
        PICTURES.mkdir(exist_ok=True)
        for name, picture in pictures(options.work).items():
            picture.save(PICTURES / f"{name}.png", optimize=True)
        FIGURES.write_text(json.dumps(figures(options.work), indent=1) + "\n", encoding="utf-8")
    known = json.loads(FIGURES.read_text(encoding="utf-8"))
    TUTORIAL.write_text(relink(fill_in(text, known)), encoding="utf-8")


if __name__ == "__main__":
    main()
