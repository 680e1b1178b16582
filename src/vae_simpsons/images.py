"""Pixels <-> [-1, 1], grids of images, and PNG files."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from vae_simpsons.errors import writing
from vae_simpsons.files import atomic_path, check_target

PADDING = 2  # pixels of white around each image of a grid
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
FILE_BUFFER = 2**15  # bytes; a picture of 64x64 is written in one call
SUB = 1  # the filter that stores the difference of each pixel from its left neighbour


def normalise(pixels: Tensor) -> Tensor:
    """Returns uint8 pixels 0..255 as float32 in [-1, 1]: u / 127.5 - 1."""
    return pixels.to(torch.float32).div_(127.5).sub_(1.0)


def denormalise(x: Tensor) -> Tensor:
    """Returns float x in [-1, 1] as uint8 pixels 0..255, rounded and clamped."""
    return x.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def shrink(pixels: Tensor, side: int) -> Tensor:
    """Returns uint8 images (n, C, H, W) with their larger side at most `side` pixels."""
    height, width = pixels.shape[-2:]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return interpolate(pixels.float(), size, mode="area").round().to(torch.uint8)


def make_grid(pixels: Tensor, nrow: int) -> Tensor:
    """Returns uint8 images (N, C, H, W) as one picture (C, h, w), `nrow` in a row, with white between them."""
    return torch.cat(list(_strips(iter(pixels), min(nrow, len(pixels)))), dim=1)


def make_sheet(pixels: Tensor, rows: int, columns: int) -> Tensor:
    """Returns uint8 images (n, C, H, W) as one picture (C, h, w), row by row without gaps; black where none is left."""
    full = pad(pixels, (0, 0) * 3 + (0, rows * columns - len(pixels))).unflatten(0, (rows, columns))
    return full.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)  # (C, rows * H, columns * W)


def interleave_rows(top: Tensor, bottom: Tensor, nrow: int) -> Tensor:
    """Returns two sets of images (N, C, H, W) as one for make_grid: a row of `top`, below it that of `bottom`, ..."""
    rows = []
    for pair in zip(top.split(nrow), bottom.split(nrow), strict=True):
        for images in pair:
            white = images.new_full((nrow - len(images), *images.shape[1:]), 255)
            rows += [images, white]
    return torch.cat(rows)


def write_png(path: Path, image: Tensor) -> None:
    """Writes a uint8 picture (C, h, w), C 1 or 3, as a PNG; `path` is replaced atomically."""
    _write_rows(path, [image], *image.shape)


def write_grid(name: str, path: Path, images: Iterable[Tensor], count: int, nrow: int) -> None:
    """Writes `count` uint8 images, in blocks (n, C, H, W), as one grid, with one row in memory at a time.

    `name` is what the user calls `path`, for the VAEError of one that no PNG should be, or can be, written to.
    """
    check_target(name, path, ".png")
    singly = chain.from_iterable(images)
    first = next(singly)
    channels, height, width = first.shape
    columns, rows = min(nrow, count), -(-count // nrow)
    size = (rows * (height + PADDING) + PADDING, columns * (width + PADDING) + PADDING)
    with writing(name, path):
        _write_rows(path, _strips(chain([first], singly), columns), channels, *size)


def write_each(name: str, folder: Path, images: Iterable[Tensor], names: Iterable[str]) -> None:
    """Writes uint8 images, in blocks (n, C, H, W), to `folder`, called `name`, each under the next of `names`."""
    for file, image in zip(names, chain.from_iterable(images), strict=False):
        with writing(name, folder / file):
            write_png(folder / file, image)


def _strips(images: Iterator[Tensor], columns: int) -> Iterator[Tensor]:
    """Yields a grid of `images`, (C, H, W) each, from top to bottom in strips (C, h, w), one for each row."""
    top = PADDING  # only the first strip has white at its top too
    while row := list(islice(images, columns)):
        channels, height, width = row[0].shape
        strip = row[0].new_full((channels, top + height + PADDING, columns * (width + PADDING) + PADDING), 255)
        for column, image in enumerate(row):
            left = PADDING + column * (width + PADDING)
            strip[:, top : top + height, left : left + width] = image
        yield strip
        top = 0


def _write_rows(path: Path, strips: Iterable[Tensor], channels: int, height: int, width: int) -> None:
    """Writes a PNG from strips (C, h, width) that come top to bottom; `path` is replaced atomically.

    Pillow needs the whole picture in memory, and a grid of 100,000 samples is 1.3 GB. A decoded picture is smooth and
    hardly repeats itself: differences of neighbours, packed by runs and frequencies alone, take 0.10 ms and 7.0 kB for
    a 64x64 sample of the published network; the pixels themselves at zlib's level 6, 0.17 ms and 9.2 kB.

    Source: PNG specification, ISO/IEC 15948, sections 5, 9 and 11.
    """
    colour = {1: 0, 3: 2}[channels]  # greyscale, truecolour
    with atomic_path(path) as temporary, open(temporary, "wb", buffering=FILE_BUFFER) as file:
        file.write(PNG_SIGNATURE)
        _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
        packer = zlib.compressobj(strategy=zlib.Z_RLE)
        for strip in strips:
            if data := packer.compress(_scanlines(strip).data):
                _write_chunk(file, b"IDAT", data)
        _write_chunk(file, b"IDAT", packer.flush())
        _write_chunk(file, b"IEND", b"")


def _scanlines(strip: Tensor) -> np.ndarray:
    """Returns the rows of a strip (C, h, w) as PNG stores them, (h, 1 + w * C): a filter byte, then filtered pixels."""
    # In numpy: a second thread that calls torch gets OpenMP threads of its own, and they slow the first one's down.
    pixels = strip.numpy()
    channels, height, width = pixels.shape
    lines = np.empty((height, 1 + width * channels), dtype=np.uint8)
    lines[:, 0] = SUB
    filtered = lines[:, 1:].reshape(height, width, channels).transpose(2, 0, 1)  # (C, h, w), a view
    filtered[..., 0] = pixels[..., 0]
    np.subtract(pixels[..., 1:], pixels[..., :-1], out=filtered[..., 1:])  # modulo 256
    return lines


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
