"""A Settings -> a trained model in its run folder."""

import logging
import math
import time
import warnings
from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from vae_simpsons import checkpoint, sampling
from vae_simpsons.data.cache import in_bytes
from vae_simpsons.data.dataset import Dataset, load_dataset
from vae_simpsons.errors import Interrupted, VAEError, one_line
from vae_simpsons.memory import keep_freed_buffers
from vae_simpsons.objective import implied_sigma
from vae_simpsons.progress import bar, duration, silent
from vae_simpsons.settings import TOONS, Settings, to_flat
from vae_simpsons.training.callbacks import (
    FIGURES,
    EpochProgress,
    MetricsTable,
    Pictures,
    RunLogger,
    quieten_tensorboard,
    read_table,
)
from vae_simpsons.training.datamodule import ImagesDataModule
from vae_simpsons.training.engine import Engine, build_module, choose
from vae_simpsons.training.health import Health
from vae_simpsons.training.module import VAEModule
from vae_simpsons.training.runfolder import RunFolder, cpu_name, create, multiplies_bfloat16
from vae_simpsons.training.saving import CheckpointFiles, KeepCheckpoints
from vae_simpsons.training.stopping import StopOnSignal, Stopped
from vae_simpsons.training.writer import Attempts, Writer

# What may differ when a run is resumed. Everything else decides what it computes, and must be as it was.
MAY_CHANGE = ("out", "data.path", "data.cache_dir", "data.gpu_share", "trainer.")


def train(config: Settings, folder: RunFolder, command: Sequence[str], resume: checkpoint.Checkpoint | None) -> None:
    """Train as `config` says, from the start or from `resume`, and leave the results in `folder`.

    Args:
        command: how the user started this, for environment.json.

    Raises:
        VAEError: settings, data or a folder that training cannot start with; nothing has been written then.
        KeyboardInterrupt: with a line that says how to go on.
    """
    quieten_lightning()
    quieten_tensorboard()
    keep_freed_buffers()
    writer, attempt = Writer(), Attempts()
    trainer = build_trainer(config, folder, resume, writer, attempt)
    if resume:
        check_processes(resume, trainer.world_size)
    engine = choose(config, trainer.strategy.root_device, trainer.world_size)
    if engine.name != "graph":  # whose step clips by itself
        trainer.gradient_clip_val = config.trainer.gradient_clip_val
    use_precision(config, engine)
    show = print if trainer.is_global_zero else _nothing
    manifest = RunFolder(resume.path.parent).split if resume else None
    dataset = load_dataset(config, trainer.world_size, bar if trainer.is_global_zero else silent, manifest)
    pl.seed_everything(config.seed, verbose=False)
    module = build_module(config, engine).to(memory_format=torch.channels_last)
    trainer.callbacks[:0] = [Pictures(folder, dataset, writer, attempt)]
    device = device_name(trainer)
    if trainer.is_global_zero:
        create(folder, config, dataset, command, device, trainer.world_size)
    show(announcement(config, folder, dataset, module, device, engine, trainer.world_size, resume))
    began = time.monotonic()
    try:
        first_step = resume.interrupted_steps if resume else 0
        images = ImagesDataModule(dataset, config, engine.name == "graph", first_step)
        with writer:
            trainer.fit(module, images, ckpt_path=str(resume.path) if resume else None)
    except Stopped as e:
        if not trainer.is_global_zero:
            raise SystemExit(128 + e.signum) from None  # the first process speaks
        why = attempt.failing.get(str(folder.last))
        saved = f", but what came last could not be saved: {why}" if why else ", and saved" * folder.last.exists()
        raise Interrupted(f"stopped by {e}{saved}. {how_to_go_on(folder)}", 128 + e.signum) from None
    except SystemExit:  # what Lightning makes of a second Ctrl-C
        raise KeyboardInterrupt(how_to_go_on(folder)) from None
    if str(folder.last) in attempt.failing:
        raise VAEError(
            f"out: {folder.last} could not be written at the end: {attempt.failing[str(folder.last)]}. "
            f"What is there is older. {how_to_go_on(folder)}"
        )
    if trainer.is_global_zero:
        show(summary(folder, read_table(folder.metrics), time.monotonic() - began, module.network.variational))


def how_to_go_on(folder: RunFolder) -> str:
    """What to type to go on with an interrupted run."""
    return f"Go on with: vae train --resume {folder.path}" if folder.last.exists() else "Nothing had been saved yet."


def check_resume(config: Settings, resume: checkpoint.Checkpoint) -> None:
    """Refuse settings that would turn a resumed run into another one.

    Raises:
        VAEError: naming what differs; or the run has all its epochs already.
    """
    from vae_simpsons.training.resumable import check_resumable

    check_resumable(resume)
    before, now = to_flat(resume.config), to_flat(config)
    differing = [key for key in now if now[key] != before[key] and not key.startswith(MAY_CHANGE)]
    if differing:
        key = differing[0]
        others = f" ({', '.join(differing[1:])} too)" if differing[1:] else ""
        raise VAEError(
            f"{key}: {now[key]} here, {before[key]} in {resume.path}{others}. A resumed run keeps its settings: "
            "leave --config out to take them from the checkpoint, or start a new run."
        )
    if resume.epochs >= config.trainer.max_epochs:
        raise VAEError(
            f"trainer.max_epochs: {config.trainer.max_epochs}, and {resume.path} has {resume.epochs} epochs already. "
            f"Give more, say --trainer.max_epochs {resume.epochs + 10}."
        )


def check_processes(resume: checkpoint.Checkpoint, processes: int) -> None:
    """Refuse to go on in the middle of an epoch that was shared out among another number of processes.

    Raises:
        VAEError: with that number.
    """
    interrupted = resume.payload["interrupted"]
    if interrupted and len(interrupted["random"]) != processes:
        raise VAEError(
            f"trainer.devices: {processes} processes, but the epoch that {resume.path} was saved in was shared among "
            f"{len(interrupted['random'])}. Go on with as many; at the end of an epoch the number may change."
        )


def build_trainer(
    config: Settings, folder: RunFolder, resume: checkpoint.Checkpoint | None, writer: Writer, attempt: Attempts
) -> pl.Trainer:
    """Lightning's Trainer as `config` says.

    Raises:
        VAEError: a device, strategy or precision that this machine does not have.
    """
    check_device(config)
    settings = config.trainer
    health = Health()
    keep = KeepCheckpoints(folder, writer, health, settings.save_every_minutes)
    try:
        return pl.Trainer(
            max_epochs=settings.max_epochs,
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            precision=settings.precision.replace("tf32", "32-true"),
            log_every_n_steps=settings.log_every_n_steps,
            deterministic=settings.deterministic,
            logger=RunLogger(folder, resume.payload["global_step"] if resume else None, attempt),
            callbacks=[health, MetricsTable(folder.metrics, attempt), keep, EpochProgress(), StopOnSignal(keep)],
            plugins=[CheckpointFiles(folder, writer, attempt, resume), *cluster()],
            default_root_dir=folder.path,
            reload_dataloaders_every_n_epochs=1,  # each epoch has an order of its own
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the batches know their process
            enable_checkpointing=False,  # KeepCheckpoints does
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as e:
        raise VAEError(f"trainer: {one_line(e)} Change trainer.accelerator, devices, strategy or precision.") from None


def cluster() -> list[SLURMEnvironment]:
    """SLURM where the run is one of its jobs, without Lightning's own answer to its signals: StopOnSignal has one."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def check_device(config: Settings) -> None:
    """Refuse an accelerator, a number of devices or a precision that is not to be had here.

    Raises:
        VAEError: with what is there.
    """
    there = sampling.available_devices()
    asked = config.trainer.accelerator
    wanted = {"auto": there, "gpu": [d for d in there if d != "cpu"]}.get(asked, [d for d in there if d == asked])
    if not wanted:
        raise VAEError(
            f"trainer.accelerator: {asked}, but this machine has {' and '.join(there)} only. Give auto, or {there[-1]}."
        )
    count = torch.cuda.device_count() if "cuda" in wanted else 1
    if wanted[-1] != "cpu" and isinstance(config.trainer.devices, int) and config.trainer.devices > count:
        raise VAEError(f"trainer.devices: {config.trainer.devices}, but {count} are here. Give {count}, or auto.")
    precision = config.trainer.precision
    if wanted[-1] == "cpu" and precision in ("16-mixed", "tf32"):
        raise VAEError(f"trainer.precision: {precision} needs a GPU, and this is a CPU. Give 32-true or bf16-mixed.")


def use_precision(config: Settings, engine: Engine) -> None:
    """Tell torch's GPU libraries what 32 bits mean, and whether to search for their fastest convolutions."""
    tf32 = config.trainer.precision == "tf32"  # torch's own default takes it for convolutions unasked
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    # Shapes never change, and the warm-up pays for it; what the search finds differs from one start to the next.
    torch.backends.cudnn.benchmark = engine.name == "graph" and not config.trainer.deterministic


def quieten_lightning() -> None:
    """Silence Lightning's advice on what is decided here on purpose; its errors still come."""
    for room in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(room).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=room)


def device_name(trainer: pl.Trainer) -> str:
    """The device that will train, with its own name: 'cuda (NVIDIA H200)'."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({cpu_name()}, {torch.get_num_threads()} threads)" if device.type == "cpu" else device.type


def announcement(
    config: Settings,
    folder: RunFolder,
    dataset: Dataset,
    module: VAEModule,
    device: str,
    engine: Engine,
    processes: int,
    resume: checkpoint.Checkpoint | None,
) -> str:
    """What is about to happen, in lines."""
    shape = "x".join(map(str, module.network.shape))
    parameters = module.network.parameter_count()
    kind = "VAE" if config.model.variational else "autoencoder"
    steps = len(dataset.train) // (config.data.batch_size * processes)
    drawn = " (drawn by this program)" if config.data.path == TOONS else ""
    lines = {
        "device": device + (f", {processes} processes" if processes > 1 else ""),
        "engine": f"{engine.name}, {config.trainer.precision} ({engine.why})",
        "images": f"{len(dataset.pack.index.paths):,} in {dataset.source}{drawn}",
        "unreadable": dataset.pack.index.left_out(),
        "split": split_line(config, dataset),
        "packed": f"{dataset.pack.folder} ({in_bytes(dataset.pack.pixels.nbytes)})",
        "hint": hint(config, device),
        "model": f"{kind}, {shape} -> {config.model.latent_dim} -> {shape}, {parameters:,} parameters",
        "noise": noise_line(config, module) if config.model.variational else None,
        "training": f"{config.trainer.max_epochs} epochs of {steps:,} steps, batch {config.data.batch_size}",
        "resuming": f"after epoch {resume.epochs} of {resume.path}" if resume else None,
        "run folder": str(folder.path),
        "watch": f"tensorboard --logdir {folder.path}",
    }
    return "\n".join(f"{name:>10}  {text}" for name, text in lines.items() if text) + "\n"


def hint(config: Settings, device: str) -> str | None:
    """What would train faster on this device; None where nothing is known to."""
    if device.startswith("cpu") and config.trainer.precision == "32-true" and multiplies_bfloat16():
        return "--trainer.precision bf16-mixed is faster here: this processor multiplies bfloat16 numbers itself"
    return None


def noise_line(config: Settings, module: VAEModule) -> str:
    """What the weight of the KL term says about pixels, in words."""
    sigma = implied_sigma(module.kl_weight, module.values)
    return (
        f"beta * kld_weight = {module.kl_weight:g} takes pixels, which span [-1, 1], to have noise sigma = {sigma:.2f} "
        "(compare sigma/residual)"
    )


def split_line(config: Settings, dataset: Dataset) -> str:
    """How many images are on each side, and how many on none."""
    train, val = len(dataset.train), len(dataset.val)
    rest = len(dataset.pack.index.paths) - train - val
    left_out = f", {rest:,} left out (copies)" if rest else ""
    return f"{config.data.split}: {train:,} train, {val:,} validate{left_out}"


def summary(folder: RunFolder, rows: Sequence[dict[str, str]], seconds: float, variational: bool) -> str:
    """The final figures, the best epoch's beside them, and the path of everything made."""
    last = rows[-1]
    best = min(rows, key=lambda row: _or_infinity(float(row["val/loss"])))
    figures = [name for name in FIGURES if name in last]
    lines = [f"\n{duration(seconds)}, {len(rows)} epochs in all", ""]
    lines.append(f"{'':18}{'epoch ' + last['epoch']:>14}{'best: epoch ' + best['epoch']:>18}")
    lines += [f"{name:18}{float(last[name]):>14.5g}{float(best[name]):>18.5g}" for name in figures]
    made = {
        "checkpoints": f"{folder.last}, {folder.best}",
        "figures": str(folder.metrics),
        "pictures": f"{folder.pictures}/ (reconstructions" + (", samples)" if variational else ")"),
        "settings": f"{folder.config}, {folder.split}, {folder.environment}",
        "curves": f"tensorboard --logdir {folder.path}",
        "next": f"vae sample --ckpt {folder.last} -n 64" if variational else "",
    }
    return "\n".join([*lines, "", *(f"{name:>12}  {text}" for name, text in made.items() if text)])


def _or_infinity(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _nothing(*args: object) -> None:
    """Say nothing: another process speaks."""
