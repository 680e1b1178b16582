"""What a run says of itself before it starts and after it ends."""

from collections.abc import Sequence

import pytorch_lightning as pl

from vae_simpsons.data.batches import Batch, take
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.devices import describe_device, has_bfloat16
from vae_simpsons.errors import one_line
from vae_simpsons.files import format_bytes
from vae_simpsons.models.priors import MIN_IMAGES
from vae_simpsons.paths import for_shell
from vae_simpsons.progress import format_about, format_duration, format_epochs
from vae_simpsons.settings import TOONS
from vae_simpsons.training.engine import Engine
from vae_simpsons.training.runfolder import Run, RunFolder
from vae_simpsons.training.stages import AutoencoderStage, Stage, stage_names
from vae_simpsons.training.trial import measure_step, steps_in_epoch

SHOWN_CLASSES = 5  # names of classes that are too small


def announcement(
    run: Run, dataset: Dataset, told: Sequence[str], stage: Stage, engine: Engine, trainer: pl.Trainer, begins: bool
) -> str:
    """Returns what is about to happen, in lines.

    Args:
        told: the classes that the prior is told.
        begins: whether the command begins with this stage; what was said before is not said again.
    """
    lines = about_stage(run, dataset, stage, engine, trainer)
    if begins:
        folder: dict[str, str | None] = {
            "run folder": str(run.folder.path.absolute()),
            "watch": watch_command(run.folder),
        }
        lines = about_run(run, dataset, told, engine, trainer) | lines | folder
    return in_columns(lines) + "\n"


def about_run(
    run: Run, dataset: Dataset, told: Sequence[str], engine: Engine, trainer: pl.Trainer
) -> dict[str, str | None]:
    """Returns by name what holds for every stage of a run."""
    data, prior, precision = run.settings.data, run.settings.prior, run.settings.trainer.precision
    index = dataset.pack.index
    device, processes = describe_device(trainer.strategy.root_device), trainer.world_size
    train, val, images = len(dataset.train), len(dataset.val), len(index.paths)
    why = "copies, or added since" if run.resume else "copies"
    left_out = f", {images - train - val:,} left out ({why})" if train + val < images else ""
    hint = None
    if device.startswith("cpu") and precision == "32-true" and has_bfloat16():
        hint = "--trainer.precision bf16-mixed is faster here: this processor multiplies bfloat16 numbers itself"
    return {
        "device": device + (f", {processes} processes" if processes > 1 else ""),
        "engine": f"{engine.name}, {precision} ({engine.why})",
        "images": f"{images:,} in {dataset.source.absolute()}" + " (drawn by this program)" * (data.path == TOONS),
        "unreadable": index.left_out(),
        "ignored": None if data.path == TOONS else index.ignored(),
        "levels": f"{index.levels}: black and white of more than 8 bits" if index.levels else None,
        "split": f"{data.split}: {train:,} train, {val:,} validate{left_out}",
        "packed": f"{dataset.pack.folder} ({format_bytes(dataset.pack.pixels.nbytes)})",
        "hint": hint,
        "classes": classes_in_words(told, dataset) if prior.labels and prior.kind != "normal" else None,
    }


def about_stage(run: Run, dataset: Dataset, stage: Stage, engine: Engine, trainer: pl.Trainer) -> dict[str, str | None]:
    """Returns what a stage trains, for how long and with how much memory, and what comes after it, by name."""
    resume, steps = run.resume, len(dataset.train) // (stage.batch_size * trainer.world_size)
    seconds, memory = stage_cost(run, dataset, stage, trainer)
    flow = f"a flow is trained on its latents, {format_epochs(run.settings.prior.epochs)}"
    then = {"normal": None, "gaussian": "Gaussians are fitted to its latents", "flow": flow}
    likely = "at most" if engine.name == "graph" else "about"  # the trial step is not captured
    return {
        **stage.describe(),
        "training": f"{format_epochs(stage.epochs)} of {steps:,} steps, batch {stage.batch_size}",
        "takes": f"{likely} {format_about(seconds)} and {format_bytes(memory)}",
        "resuming": f"after epoch {resume.reached().epochs} of {resume.path}" if resume else None,
        "then": then[run.settings.prior.kind] if stage.name == AutoencoderStage.name else None,
    }


def stage_cost(run: Run, dataset: Dataset, stage: Stage, trainer: pl.Trainer) -> tuple[float, int]:
    """Returns how long the rest of a stage takes, in seconds, and the bytes of its weights and of a step."""
    device, position = trainer.strategy.root_device, run.position
    first = dataset.train[: stage.batch_size]
    batch = Batch(*(take(rows, first).to(device) for rows in (stage.inputs, stage.labels)))
    with trainer.precision_plugin.forward_context():
        step_s, memory = measure_step(stage, batch, device)
    epochs, done = (position.epochs, position.epoch_steps) if position else (0, 0)
    steps = steps_in_epoch(len(dataset.train), len(dataset.val), stage.batch_size * trainer.world_size)
    return ((stage.epochs - epochs) * steps - done) * step_s, memory


def classes_in_words(told: Sequence[str], dataset: Dataset) -> str:
    """Returns how many classes the prior is told, and the names of those that are too small for it."""
    small = [one_line(name) for name in dataset.class_names if name and name not in told]
    said = f"{len(told)} are told to the prior" if told else "none is told to the prior"
    if not small:
        return said if told else f"{said}: the images are in no sub-folders"
    names = ", ".join(small[:SHOWN_CLASSES]) + f" and {len(small) - SHOWN_CLASSES} more" * (len(small) > SHOWN_CLASSES)
    return f"{said}; fewer than {MIN_IMAGES} training images each: {names}"


def in_columns(lines: dict[str, str | None]) -> str:
    """Returns the lines that have a text, each behind its name."""
    return "\n".join(f"{name:>12}  {text}" for name, text in lines.items() if text)


def watch_command(folder: RunFolder) -> str:
    """Returns what shows the curves of a run."""
    return f"tensorboard --logdir {for_shell(folder.path)}"


def summary(run: Run, stage: Stage, rows: Sequence[dict[str, str]], seconds: float) -> str:
    """Returns the final figures, the best epoch's beside them, and after the last stage where everything is."""
    folder, last = run.folder, rows[-1]
    best = min(rows, key=lambda row: float(row[stage.best]))
    lines = [f"\n{format_duration(seconds)}, {format_epochs(len(rows))} in all", ""]
    lines.append(f"{'':18}{'epoch ' + last['epoch']:>14}{'best: epoch ' + best['epoch']:>18}")
    lines += [f"{n:18}{float(last[n]):>14.5g}{float(best[n]):>18.5g}" for n in stage.figures if n in last]
    made = {
        "checkpoints": f"{folder.last}, {folder.best}",
        "figures": str(folder.table(stage.name)),
        "pictures": f"{folder.pictures}/",
        "settings": f"{folder.config}, {folder.split}, {folder.environment}",
        "curves": watch_command(folder),
        "next": f"vae sample --ckpt {for_shell(folder.last)} -n 64" if run.settings.model.variational else None,
    }
    if stage.name != stage_names(run.settings)[-1]:
        return "\n".join([*lines, ""])
    return "\n".join([*lines, "", in_columns(made)])
