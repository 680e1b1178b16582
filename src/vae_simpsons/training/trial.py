"""A trial step, made on a copy of a stage, that tells what each step and each epoch of a run will take."""

import copy
import time

import torch
from torch import Tensor, nn

from vae_simpsons.data.batches import Batch
from vae_simpsons.models.cpu import use_fast_convolutions
from vae_simpsons.settings import Settings
from vae_simpsons.training.precision import chosen_device, with_precision
from vae_simpsons.training.stages import AutoencoderStage, Stage, build_stage


def measure_epoch(settings: Settings, train: int, val: int) -> tuple[float, int]:
    """Returns the seconds of an epoch of the autoencoder on this machine, and the bytes that weights and a step take.

    Args:
        train, val: how many images train and validate.
    """
    device, precision = chosen_device(settings), with_precision(settings).trainer.precision
    stage = build_stage(AutoencoderStage.name, settings)
    if device.type == "cpu":
        use_fast_convolutions(stage.network)
    stage.to(memory_format=torch.channels_last)
    stage.average_weights()
    shape = (stage.batch_size, settings.data.channels, *settings.data.size)
    stage.inputs, stage.labels = torch.randint(256, shape, dtype=torch.uint8), torch.zeros(shape[0], dtype=torch.int64)
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    with torch.autocast(device.type, half, enabled=half is not None):
        step_s, memory = measure_step(stage, Batch(stage.inputs.to(device), stage.labels.to(device)), device)
    return step_s * steps_in_epoch(train, val, stage.batch_size), memory


def steps_in_epoch(train: int, val: int, batch_size: int) -> float:
    """Returns how many steps take as long as an epoch; to validate is a forward pass, a third of a step."""
    return train // batch_size + val / batch_size / 3


def measure_step(stage: Stage, batch: Batch, device: torch.device) -> tuple[float, int]:
    """Returns the seconds of a step on `batch`, after another one, and the bytes that weights and step take.

    Nothing of `stage` changes, nor do the random numbers to come.
    """
    shared = {id(rows): rows for rows in (stage.inputs, stage.labels)}  # all images: not to be copied
    trial = copy.deepcopy(stage, shared).to(device)
    adam = trial.optimizer(fused=device.type in ("cpu", "cuda"))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        memory = make_step(trial, batch, adam) + bytes_of_weights(trial)
        wait_for(device)
        started = time.perf_counter()
        make_step(trial, batch, adam)
        wait_for(device)
    seconds = time.perf_counter() - started
    del trial, adam
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return seconds, memory


def make_step(stage: Stage, batch: Batch, adam: torch.optim.Optimizer) -> int:
    """Makes an optimizer step and returns the bytes that its forward pass keeps for its backward pass."""
    kept: dict[int, int] = {}  # by address
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*stage.parameters(), *stage.buffers(), *batch)}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss, _ = stage.loss(batch)
    loss.backward()
    adam.step()
    adam.zero_grad()
    return sum(size for address, size in kept.items() if address not in weights)


def bytes_of_weights(stage: nn.Module) -> int:
    """Returns the bytes of a stage's weights and, of those that train, of their gradients and Adam's two moments."""
    weights = sum(tensor.nbytes for tensor in (*stage.parameters(), *stage.buffers()))
    return weights + 3 * sum(p.nbytes for p in stage.parameters() if p.requires_grad)


def wait_for(device: torch.device) -> None:
    """Waits until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
