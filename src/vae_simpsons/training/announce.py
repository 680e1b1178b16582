"""What a run says of itself before it starts and after it ends."""

from collections.abc import Sequence

from vae_simpsons.data.dataset import Dataset
from vae_simpsons.devices import has_bfloat16
from vae_simpsons.files import format_bytes
from vae_simpsons.progress import format_duration
from vae_simpsons.settings import TOONS, Settings
from vae_simpsons.training.engine import Engine
from vae_simpsons.training.runfolder import Run
from vae_simpsons.training.stages import Stage


def announcement(run: Run, dataset: Dataset, stage: Stage, device: str, engine: Engine, processes: int) -> str:
    """Returns what is about to happen, in lines."""
    settings, folder, resume = run.settings, run.folder, run.resume
    steps = len(dataset.train) // (settings.data.batch_size * processes)
    drawn = " (drawn by this program)" if settings.data.path == TOONS else ""
    lines = {
        "device": device + (f", {processes} processes" if processes > 1 else ""),
        "engine": f"{engine.name}, {settings.trainer.precision} ({engine.why})",
        "images": f"{len(dataset.pack.index.paths):,} in {dataset.source}{drawn}",
        "unreadable": dataset.pack.index.left_out(),
        "split": describe_split(settings, dataset),
        "packed": f"{dataset.pack.folder} ({format_bytes(dataset.pack.pixels.nbytes)})",
        "hint": hint(settings, device),
        **stage.describe(),
        "training": f"{settings.trainer.max_epochs} epochs of {steps:,} steps, batch {settings.data.batch_size}",
        "resuming": f"after epoch {resume.epochs} of {resume.path}" if resume else None,
        "run folder": str(folder.path),
        "watch": f"tensorboard --logdir {folder.path}",
    }
    return in_columns(lines) + "\n"


def in_columns(lines: dict[str, str | None]) -> str:
    """Returns the lines that have a text, each behind its name."""
    return "\n".join(f"{name:>12}  {text}" for name, text in lines.items() if text)


def hint(settings: Settings, device: str) -> str | None:
    """Returns what would train faster on this device; None where nothing is known to."""
    if device.startswith("cpu") and settings.trainer.precision == "32-true" and has_bfloat16():
        return "--trainer.precision bf16-mixed is faster here: this processor multiplies bfloat16 numbers itself"
    return None


def describe_split(settings: Settings, dataset: Dataset) -> str:
    """Returns how many images train, how many validate, and how many do neither."""
    train, val = len(dataset.train), len(dataset.val)
    rest = len(dataset.pack.index.paths) - train - val
    left_out = f", {rest:,} left out (copies)" if rest else ""
    return f"{settings.data.split}: {train:,} train, {val:,} validate{left_out}"


def summary(run: Run, stage: Stage, rows: Sequence[dict[str, str]], seconds: float) -> str:
    """Returns the final figures, the best epoch's beside them, and the path of everything made."""
    folder, last = run.folder, rows[-1]
    best = min(rows, key=lambda row: float(row[stage.best]))
    figures = [name for name in stage.figures if name in last]
    lines = [f"\n{format_duration(seconds)}, {len(rows)} epochs in all", ""]
    lines.append(f"{'':18}{'epoch ' + last['epoch']:>14}{'best: epoch ' + best['epoch']:>18}")
    lines += [f"{name:18}{float(last[name]):>14.5g}{float(best[name]):>18.5g}" for name in figures]
    made = {
        "checkpoints": f"{folder.last}, {folder.best}",
        "figures": str(folder.metrics),
        "pictures": f"{folder.pictures}/",
        "settings": f"{folder.config}, {folder.split}, {folder.environment}",
        "curves": f"tensorboard --logdir {folder.path}",
        "next": f"vae sample --ckpt {folder.last} -n 64" if run.settings.model.variational else None,
    }
    return "\n".join([*lines, "", in_columns(made)])
