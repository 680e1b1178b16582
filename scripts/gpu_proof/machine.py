"""Part 1: what the machine is, and how fast it copies and multiplies."""

import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from gpu_proof.setup import Deadline, Notes, Setup

COPY_BYTES = {"cuda": 2**28, "cpu": 2**22}
MATRIX = {"cuda": 8192, "cpu": 256}
REPEATS, ROUNDS = 10, 3
PACKAGES = ("pytorch-lightning", "numpy", "pillow")


def describe_machine(setup: Setup) -> dict[str, Any]:
    """The card, versions and commit: what every figure is to be read with."""
    cuda = setup.device == "cuda"
    return {
        "card": torch.cuda.get_device_name()
        if cuda
        else f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "python": platform.python_version(),
        "commit": setup.commit,
    }


def measure_machine(setup: Setup, notes: Notes, deadline: Deadline) -> None:
    """Note the machine, its copy bandwidth in GB/s and its matrix products in TFLOP/s."""
    notes.add(versions={name: version(name) for name in PACKAGES}, smi=ask_nvidia_smi())
    if setup.device == "cuda":
        found = torch.cuda.get_device_properties(0)
        notes.add(memory_gb=round(found.total_memory / 1e9, 1), multiprocessors=found.multi_processor_count)
    notes.add(copy_gb_s=measure_copies(setup.device))
    rates: dict[str, float] = {}
    for precision in ("32-true", "tf32", "bf16-mixed"):
        if deadline.left_s() > 2:
            rates[precision] = measure_products(setup.device, precision)
            notes.add(matmul_tflops=rates)


def ask_nvidia_smi() -> str | None:
    """What nvidia-smi says of card, driver, memory, power limit and clocks; None where there is none."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.max.memory"
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
    )
    return done.stdout.strip() or None


def best_s(work: Callable[[], object], device: str) -> float:
    """Seconds of one call, of the fastest of some rounds of calls."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    work()
    seconds = []
    for _ in range(ROUNDS):
        wait()
        began = time.perf_counter()
        for _ in range(REPEATS):
            work()
        wait()
        seconds.append((time.perf_counter() - began) / REPEATS)
    return min(seconds)


def measure_copies(device: str) -> dict[str, float]:
    """GB/s; on the device bytes read and bytes written both count."""
    size = COPY_BYTES[device]
    there, host = torch.empty(size, dtype=torch.uint8, device=device), torch.zeros(size, dtype=torch.uint8)
    again = torch.empty_like(there)
    rates = {
        "host to device": size / best_s(lambda: there.copy_(host), device),
        "within the device": 2 * size / best_s(lambda: again.copy_(there), device),
    }
    if device == "cuda":
        pinned = host.pin_memory()
        rates["pinned host to device"] = size / best_s(lambda: there.copy_(pinned, non_blocking=True), device)
    return {name: round(rate / 1e9, 2) for name, rate in rates.items()}


def measure_products(device: str, precision: str) -> float:
    """TFLOP/s of a square matrix product."""
    size = MATRIX[device]
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return round(2 * size**3 / best_s(lambda: a @ b, device) / 1e12, 3)
