"""What a run says of itself before it starts and after it ends."""

from collections.abc import Sequence

from vae_simpsons.data.dataset import Dataset
from vae_simpsons.devices import has_bfloat16
from vae_simpsons.files import format_bytes
from vae_simpsons.progress import format_duration
from vae_simpsons.settings import TOONS
from vae_simpsons.training.engine import Engine
from vae_simpsons.training.runfolder import Run
from vae_simpsons.training.stages import Stage


def announcement(run: Run, dataset: Dataset, stage: Stage, device: str, engine: Engine, processes: int) -> str:
    """Returns what is about to happen, in lines."""
    data, trainer, resume, index = run.settings.data, run.settings.trainer, run.resume, dataset.pack.index
    train, val, images = len(dataset.train), len(dataset.val), len(index.paths)
    copies = f", {images - train - val:,} left out (copies)" if train + val < images else ""
    hint = None
    if device.startswith("cpu") and trainer.precision == "32-true" and has_bfloat16():
        hint = "--trainer.precision bf16-mixed is faster here: this processor multiplies bfloat16 numbers itself"
    lines = {
        "device": device + (f", {processes} processes" if processes > 1 else ""),
        "engine": f"{engine.name}, {trainer.precision} ({engine.why})",
        "images": f"{images:,} in {dataset.source}" + (" (drawn by this program)" if data.path == TOONS else ""),
        "unreadable": index.left_out(),
        "split": f"{data.split}: {train:,} train, {val:,} validate{copies}",
        "packed": f"{dataset.pack.folder} ({format_bytes(dataset.pack.pixels.nbytes)})",
        "hint": hint,
        **stage.describe(),
        "training": f"{trainer.max_epochs} epochs of {train // (data.batch_size * processes):,} steps, "
        f"batch {data.batch_size}",
        "resuming": f"after epoch {resume.epochs} of {resume.path}" if resume else None,
        "run folder": str(run.folder.path),
        "watch": f"tensorboard --logdir {run.folder.path}",
    }
    return in_columns(lines) + "\n"


def in_columns(lines: dict[str, str | None]) -> str:
    """Returns the lines that have a text, each behind its name."""
    return "\n".join(f"{name:>12}  {text}" for name, text in lines.items() if text)


def summary(run: Run, stage: Stage, rows: Sequence[dict[str, str]], seconds: float) -> str:
    """Returns the final figures, the best epoch's beside them, and the path of everything made."""
    folder, last = run.folder, rows[-1]
    best = min(rows, key=lambda row: float(row[stage.best]))
    lines = [f"\n{format_duration(seconds)}, {len(rows)} epochs in all", ""]
    lines.append(f"{'':18}{'epoch ' + last['epoch']:>14}{'best: epoch ' + best['epoch']:>18}")
    lines += [f"{n:18}{float(last[n]):>14.5g}{float(best[n]):>18.5g}" for n in stage.figures if n in last]
    made = {
        "checkpoints": f"{folder.last}, {folder.best}",
        "figures": str(folder.metrics),
        "pictures": f"{folder.pictures}/",
        "settings": f"{folder.config}, {folder.split}, {folder.environment}",
        "curves": f"tensorboard --logdir {folder.path}",
        "next": f"vae sample --ckpt {folder.last} -n 64" if run.settings.model.variational else None,
    }
    return "\n".join([*lines, "", in_columns(made)])
