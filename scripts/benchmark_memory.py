"""Memory that a large pack takes: python scripts/benchmark_memory.py [--images 200000] [--limit-gb 1.5]

Makes a pack of random pixels in a temporary folder and reads an epoch of training batches from it, while this process
may allocate less memory than the pack is large. Mapped memory, which the system keeps or drops, is counted separately.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vae_simpsons.data.batches import TrainBatches
from vae_simpsons.data.pack import read_pack
from vae_simpsons.files import format_bytes, npy_writer
from vae_simpsons.settings import Data


def make_pack(folder: Path, count: int, size: int) -> None:
    """Writes a pack of random pixels, block by block."""
    rng = np.random.default_rng(0)
    with npy_writer(folder / "pixels.npy", (count, 3, size, size), np.uint8) as append:
        for start in range(0, count, 1000):
            append(rng.integers(0, 256, (min(1000, count - start), 3, size, size), dtype=np.uint8))
    facts = [[f"{i:064x}", size, size, "PNG", "RGB"] for i in range(count)]
    paths = [f"class_{i % 20:02d}/picture_{i:07d}.png" for i in range(count)]
    columns = {"paths": paths, "facts": facts, "groups": list(range(count)), "unreadable": []}
    (folder / "index.json").write_text(json.dumps(columns))


def memory(kind: str) -> int:
    """Returns the bytes of this process's memory: RssAnon, what it has allocated, or RssFile, what it has mapped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{kind}:")).split()[1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--limit-gb", type=float, default=1.5, help="most that may be allocated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        make_pack(Path(place), options.images, options.size)
        resource.setrlimit(resource.RLIMIT_DATA, (int(options.limit_gb * 1e9),) * 2)
        before = peak = memory("RssAnon")
        started = time.perf_counter()
        pack = read_pack(Path(place), Data(image_size=options.size))
        assert pack is not None
        opened = time.perf_counter()
        labels = torch.from_numpy(pack.index.labels)
        batches = TrainBatches(pack.pixels, labels, np.arange(options.images), options.batch_size, seed=0, epoch=0)
        for i, _ in enumerate(batches):
            if i % 100 == 0:
                peak = max(peak, memory("RssAnon"))
        read_s = time.perf_counter() - opened
        print(f"pack of {options.images:,} images of {options.size}x{options.size}: {format_bytes(pack.pixels.nbytes)}")
        print(f"opened in {opened - started:.2f} s; an epoch of batches of {options.batch_size} in {read_s:.1f} s")
        print(f"allocated: {format_bytes(before)} by Python, torch and numpy before, {format_bytes(peak)} at most")
        print(f"mapped, which the system may drop: {format_bytes(memory('RssFile'))}")


if __name__ == "__main__":
    main()
