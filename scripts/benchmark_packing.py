"""How fast a folder of JPEGs is packed, beside the plain loop: python scripts/benchmark_packing.py FOLDER

The plain loop is what such projects do every epoch: PIL opens, converts, crops and resizes file after file. Both
run in turns on the same files, each `--rounds` times; the figures are the medians. FOLDER is read `--repeat` times over
where it is small. Then, for one large JPEG after the other, how far a decode at 1/2, 1/4 or 1/8 is from the full one.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps

from vae_simpsons.data import decode as decoding
from vae_simpsons.data.folder import File, find_files
from vae_simpsons.data.pack import write_pack
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import Data


def plain_loop(folder: Path, files: list[File], size: int) -> float:
    """Seconds."""
    began = time.perf_counter()
    for file in files:
        with Image.open(folder / file.path) as image:
            np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC))
    return time.perf_counter() - began


def pack(folder: Path, files: list[File], data: Data) -> float:
    """Seconds, the near-duplicates and the writing to disk included."""
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        write_pack(folder, files, data, Path(place), no_progress)
        return time.perf_counter() - began


def scaled_error(folder: Path, files: list[File], size: int) -> list[float]:
    """RMSE in grey levels between the scaled and the full decode, of each JPEG large enough to be scaled."""
    data, errors = Data(image_size=size), []
    for file in files:
        with Image.open(folder / file.path) as image:
            if image.format != "JPEG" or decoding.jpeg_reduction(*image.size, data) == 1:
                continue
            full = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
            box = decoding.crop_box(*image.size, data)
        scaled = decoding.decode_image(folder / file.path, data).pixels
        errors.append(float((scaled.double() - decoding.crop_and_resize(full, box, size)).square().mean().sqrt()))
    return errors


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="read FOLDER N times over")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = find_files(options.folder)
    files, data = found * options.repeat, Data(image_size=options.size)
    plain_loop(options.folder, found, options.size)  # the files into the system's memory
    rounds = [
        (plain_loop(options.folder, files, options.size), pack(options.folder, files, data))
        for _ in range(options.rounds)
    ]
    plain, packed = (len(files) / statistics.median(times) for times in zip(*rounds, strict=True))
    mean_kb = sum(file.size for file in found) / len(found) / 1000
    print(f"{len(files):,} images of {mean_kb:.1f} kB on average, to {options.size}x{options.size}")
    print(f"{os.cpu_count()} cores, {platform.machine()}, Pillow {PIL.__version__}, torch {torch.__version__}")
    print(f"plain PIL loop  {plain:>7,.0f} images a second")
    print(f"pack            {packed:>7,.0f} images a second, {packed / plain:.1f} times as many")
    for size in (8, 16, 32, options.size):
        errors = scaled_error(options.folder, found, size)
        if errors:
            print(
                f"scaled decode to {size:>2}  RMSE at most {max(errors):.2f} grey levels, mean "
                f"{statistics.mean(errors):.2f}, {len(errors)} images"
            )


if __name__ == "__main__":
    main()
