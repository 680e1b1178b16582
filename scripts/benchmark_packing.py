"""Speed of packing a folder of JPEGs next to a plain loop: python scripts/benchmark_packing.py FOLDER

The plain loop is what such projects do in every epoch: PIL opens, converts, crops and resizes one file after the other.
Both run alternately on the same files, `--rounds` times; the figures are medians. A small FOLDER may be read `--repeat`
times over. Then the script compares the decode of each large JPEG at 1/2, 1/4 or 1/8 with its full decode.
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

from vae_simpsons.data import decode
from vae_simpsons.data.folder import File, find_files
from vae_simpsons.data.pack import write_pack
from vae_simpsons.progress import no_progress
from vae_simpsons.settings import Data


def time_plain_loop(folder: Path, files: list[File], size: int) -> float:
    """Returns the seconds of the plain loop."""
    started = time.perf_counter()
    for file in files:
        with Image.open(folder / file.path) as image:
            np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC))
    return time.perf_counter() - started


def time_packing(folder: Path, files: list[File], data: Data) -> float:
    """Returns the seconds of packing, with finding near-duplicates and writing to disk."""
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        write_pack(folder, files, data, Path(place), no_progress)
        return time.perf_counter() - started


def scaled_errors(folder: Path, files: list[File], size: int) -> list[float]:
    """Returns the RMSE in grey levels between scaled and full decode, of each JPEG large enough to be scaled."""
    data, errors = Data(image_size=size), []
    for file in files:
        with Image.open(folder / file.path) as image:
            if image.format != "JPEG" or decode.jpeg_reduction(*image.size, data) == 1:
                continue
            full = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
            box = decode.crop_box(*image.size, data)
        scaled = decode.decode_image(folder / file.path, data).pixels
        errors.append(float((scaled.double() - decode.crop_and_resize(full, box, size)).square().mean().sqrt()))
    return errors


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="read FOLDER N times over")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder, size = options.folder, options.size
    found = find_files(folder)
    files, data = found * options.repeat, Data(image_size=size)
    time_plain_loop(folder, found, size)  # brings the files into the system's memory
    rounds = [(time_plain_loop(folder, files, size), time_packing(folder, files, data)) for _ in range(options.rounds)]
    plain, packed = (len(files) / statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    mean_kb = statistics.mean(file.size for file in found) / 1000
    print(f"{len(files):,} images of {mean_kb:.1f} kB on average, to {size}x{size}")
    print(f"{os.cpu_count()} cores, {platform.machine()}, Pillow {PIL.__version__}, torch {torch.__version__}")
    print(f"plain PIL loop  {plain:>7,.0f} images per second")
    print(f"pack            {packed:>7,.0f} images per second, {packed / plain:.1f} times as many")
    for side in (8, 16, 32, size):
        if errors := scaled_errors(folder, found, side):
            most, mean = max(errors), statistics.mean(errors)
            print(f"decode to {side:>2}    RMSE at most {most:.2f} grey levels, mean {mean:.2f}, {len(errors)} images")


if __name__ == "__main__":
    main()
