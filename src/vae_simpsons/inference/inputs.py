"""Whatever a user has - paths, Pillow's pictures, arrays, tensors - as the tensor that the network takes, and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vae_simpsons.data.decode import crop_and_resize, crop_box, prepare_picture
from vae_simpsons.data.pictures import is_picture_file, open_pictures
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.images import normalise
from vae_simpsons.inference.decode import check_latents, open_latents
from vae_simpsons.inference.grids import COLUMNS, Grid, pictures_in
from vae_simpsons.paths import expand_home
from vae_simpsons.progress import Progress, no_progress
from vae_simpsons.settings import Data

Picture = str | Path | Image.Image | np.ndarray | Tensor
ACCEPTED = (
    "Give paths of images, folders or archives, Pillow's pictures, arrays (H, W, C), uint8 or 0 to 1, or tensors "
    "(C, H, W) in [-1, 1]"
)
SLACK = 1e-3  # by which a float may leave its range: rounding, not another range


class Inputs(NamedTuple):
    """Pictures, or latents, as the network takes them."""

    x: Tensor  # (n, C, H, W) in [-1, 1]; of latents (n, *latent)
    are_tensors: bool  # tensors came, and tensors are given back
    single: bool  # one came, not several

    def give_back(self, images: Tensor) -> Tensor | Image.Image | Grid:
        """Returns one image for each input, (n, C, H, W) in [-1, 1], in the form that the inputs came in."""
        if self.are_tensors:
            return images[0] if self.single else images
        pictures = pictures_in(images)
        return pictures[0] if self.single else Grid(pictures)


def read_inputs(name: str, x: object, data: Data, progress: Progress = no_progress) -> Inputs:
    """Returns `x` prepared as the images of the run were: upright, opaque, cropped and resized, in its channels.

    Args:
        name: of the argument, for errors.
        x: a path, a picture, an array (H, W), (H, W, C) or (n, H, W, C), a tensor (C, H, W) or (n, C, H, W), or a
            list of such.

    Raises:
        VAEError: naming `name`: something else, nothing, or what is no image.
    """
    if not isinstance(x, (list, tuple)):
        return _read_one(name, x, data, progress)
    if not x:
        raise VAEError(f"{name}: an empty list. {ACCEPTED}.")
    parts = [_read_one(name, part, data, progress) for part in x]
    if len({part.are_tensors for part in parts}) == 2:
        raise VAEError(
            f"{name}: tensors and other pictures in one list. Give one kind, so that it is clear what comes."
        )
    return Inputs(torch.cat([part.x for part in parts]), parts[0].are_tensors, single=False)


def read_one(name: str, x: object, data: Data) -> Inputs:
    """Returns the one picture `x`, (1, C, H, W).

    Raises:
        VAEError: naming `name`: not one picture.
    """
    inputs = read_inputs(name, x, data)
    if len(inputs.x) != 1:
        raise VAEError(f"{name}: {len(inputs.x)} pictures. Give one.")
    return inputs


def read_latents(z: Tensor | np.ndarray | str | Path, shape: Sequence[int]) -> Inputs:
    """Returns latents as float32 (n, *latent), and whether they came as a tensor and as a single one.

    Args:
        z: (n, *latent), or one latent (*latent); or the path of a .npy file, or of a folder of `vae encode`.
        shape: of one latent of the model.

    Raises:
        VAEError: naming `z`: no such file; no latents; another shape.
    """
    array = open_latents(z, shape).z if isinstance(z, (str, Path)) else z
    if not isinstance(array, (Tensor, np.ndarray)):
        raise VAEError(f"z: {type(z).__name__} is not accepted. Give a tensor, an array, or the path of one.")
    values = array.detach() if isinstance(array, Tensor) else torch.from_numpy(np.array(array))
    single = tuple(values.shape) == tuple(shape)
    values = values[None] if single else values
    check_latents(values.shape, values.is_floating_point(), shape, "it")
    return Inputs(values.float(), isinstance(z, Tensor), single)


def arrange(rows: Tensor, as_tensors: bool) -> Tensor | Grid:
    """Returns images (n, columns, C, H, W), in rows, as a tensor of all of them or as a grid."""
    images = rows.flatten(0, 1)
    return images if as_tensors else Grid(pictures_in(images), rows.shape[1] if len(rows) > 1 else COLUMNS)


def _read_one(name: str, x: object, data: Data, progress: Progress) -> Inputs:
    match x:
        case Tensor():
            return Inputs(_from_tensor(name, x, data), True, x.ndim == 3)
        case np.ndarray():
            pictures = [_to_picture(name, array) for array in (x if x.ndim == 4 else [x])]
            return Inputs(_from_pictures(name, pictures, data), False, x.ndim != 4)
        case Image.Image():
            return Inputs(_from_pictures(name, [x], data), False, True)
        case str() | Path():
            opened = open_pictures(name, [x], data, progress)
            pixels = opened.take(range(len(opened)))
            return Inputs(normalise(pixels), False, is_picture_file(Path(expand_home(name, x))))
    raise VAEError(f"{name}: {type(x).__name__} is not accepted. {ACCEPTED}.")


def _from_tensor(name: str, x: Tensor, data: Data) -> Tensor:
    """Returns a tensor, uint8 or in [-1, 1], as float (n, C, H, W)."""
    if x.ndim not in (3, 4) or x.shape[-3] != data.channels or 0 in x.shape:
        shape = tuple(x.shape)
        raise VAEError(
            f"{name}: a tensor of shape {shape}. Give (n, {data.channels}, H, W) or ({data.channels}, H, W)."
        )
    x = x.detach().reshape(-1, *x.shape[-3:])
    if x.is_floating_point():
        _check_range(name, "a tensor", float(x.min()), float(x.max()), -1)
        x = x.float()
    elif x.dtype != torch.uint8:
        raise VAEError(f"{name}: a tensor of {x.dtype}. Give floats in [-1, 1], or uint8.")
    height, width = x.shape[-2:]
    if (height, width) != data.size:
        box = crop_box(width, height, data)
        x = torch.stack([crop_and_resize(image, box, data.size) for image in x])
    return normalise(x) if x.dtype == torch.uint8 else x.clamp(-1, 1)


def _to_picture(name: str, array: np.ndarray) -> Image.Image:
    """Returns an array (H, W) or (H, W, C) with C 1, 3 or 4, uint8 or floats from 0 to 1, as Pillow's picture."""
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise VAEError(f"{name}: an array of shape {array.shape}. Give (H, W) or (H, W, C) with 1, 3 or 4 channels.")
    if np.issubdtype(array.dtype, np.floating):
        _check_range(name, "an array of floats", float(array.min()), float(array.max()), 0)
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    elif array.dtype != np.uint8:
        raise VAEError(f"{name}: an array of {array.dtype}. Give uint8, or floats from 0 to 1.")
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array))


def _from_pictures(name: str, pictures: list[Image.Image], data: Data) -> Tensor:
    try:
        return normalise(torch.stack([prepare_picture(picture, data) for picture in pictures]))
    except (OSError, ValueError, SyntaxError) as e:  # a file that Pillow has opened, and reads only now
        raise VAEError(f"{name}: cannot read the picture: {one_line(e)}. {ACCEPTED}.") from None


def _check_range(name: str, what: str, low: float, high: float, lowest: int) -> None:
    if not (low >= lowest - SLACK and high <= 1 + SLACK):  # so that NaN is refused
        raise VAEError(f"{name}: {what} from {low:.4g} to {high:.4g}. Give values from {lowest} to 1, or uint8.")
