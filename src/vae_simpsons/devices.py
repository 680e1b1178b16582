"""Which devices this machine has, and what they are called."""

import platform
import sys
from functools import lru_cache
from pathlib import Path

import torch

from vae_simpsons.errors import VAEError


def available_devices() -> list[str]:
    """Returns the kinds of device that torch can use here, the slowest first."""
    gpus = {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    return ["cpu", *(name for name, available in gpus.items() if available)]


def pick_device(name: str) -> torch.device:
    """Returns the device called `name`: auto, cpu, cuda or mps; a VAEError if this machine does not have it."""
    available = available_devices()
    if name == "auto":
        return torch.device(available[-1])
    if name not in available:
        raise VAEError(
            f"device: {name}, but this machine has {' and '.join(available)} only. Give auto, or {available[-1]}."
        )
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Returns `device` with its own name, say 'cuda (NVIDIA H200)'."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({cpu_name()}, {torch.get_num_threads()} threads)"
    return device.type


def cpu_name() -> str:
    """Returns the processor's name, as well as the system knows it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@lru_cache
def has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; without them half precision can be slower than single."""
    flags = Path("/proc/cpuinfo").read_text().split() if sys.platform == "linux" else []
    return "amx_bf16" in flags or "avx512_bf16" in flags


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 numbers faster than 32-bit ones."""
    if device.type == "cpu":
        return has_bfloat16()
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def seed_device(device: torch.device, seed: int) -> None:
    """Seeds the default generator of `device` alone; `seed` is at least 0 and below 2^63."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
