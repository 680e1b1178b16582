"""A trained model, from Python: `from vae_simpsons import VAE`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vae_simpsons.data.dataset import source_of
from vae_simpsons.data.index import Index
from vae_simpsons.data.pack import open_pack
from vae_simpsons.evaluation.evaluate import evaluate_checkpoint
from vae_simpsons.evaluation.groups.subject import Asked
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.export.model import export_model
from vae_simpsons.inference import encode, latents, rundata, sample
from vae_simpsons.inference import traverse as traversal
from vae_simpsons.inference.blocks import block_size
from vae_simpsons.inference.drawing import MAX_COLUMNS, ClassNames, check_drawing
from vae_simpsons.inference.grids import Grid, pictures_in
from vae_simpsons.inference.inputs import Picture, arrange, read_inputs, read_latents, read_one
from vae_simpsons.inference.sample import count_steps
from vae_simpsons.inference.walk import check_walk, walk
from vae_simpsons.opened import OpenModel
from vae_simpsons.progress import Progress, no_progress


class VAE(OpenModel):
    """A trained model: the one way to open a checkpoint, for Python and for the command line.

    Where a method takes pictures, it takes paths of images, folders or archives, Pillow's pictures, arrays (H, W, C),
    uint8 or floats from 0 to 1, tensors (C, H, W) or (n, C, H, W) in [-1, 1], and lists of such; all are prepared as
    in training. What is no picture is refused, a VAEError that names the argument. Tensors give tensors back, on the
    CPU, in [-1, 1]. Everything else gives Pillow's pictures: one for one, a `Grid` for several, which is a list that a
    notebook shows as a grid. `OpenModel` has what a model knows of itself and of its run.
    """

    def sample(self, n: int, seed: int = 0, class_names: ClassNames = None, **drawing: Any) -> Tensor:
        """Returns `n` images drawn from the prior, (n, C, H, W) on the CPU, in [-1, 1]; a seed decides each of them.

        The arguments are those of `sample_blocks`.
        """
        return torch.cat(list(self.sample_blocks(n, seed, class_names, **drawing)))

    def sample_blocks(
        self,
        n: int,
        seed: int = 0,
        class_names: ClassNames = None,
        guidance: float | None = None,
        steps: int | None = None,
        temperature: float = 1.0,
        progress: Progress = no_progress,
    ) -> Iterator[Tensor]:
        """Returns the same images block by block, so that any number of them takes little memory.

        Args:
            class_names: one of the model's `class_names`, or several: as many images of each, class by class. Image i
                of a class depends on the seed alone, and images i of all classes are drawn from the same noise.
            guidance: of a flow: 1: as it was learned; more: sharper, more typical of the class, and less varied; 0: as
                a much smaller flow that knows no class draws; None: prior.guidance.
            steps: of a flow: of Heun's method, two evaluations each; None: 20.
            temperature: of the noise: less than 1 gives more ordinary images.
            progress: shows the steps of a flow.

        Raises:
            VAEError: naming the argument; no such class; a plain autoencoder.
        """
        prior, folder = self.network.prior, self.checkpoint.path.parent
        asked = check_drawing(prior, self.class_names, folder, n, class_names, guidance, steps, temperature)
        total = asked.steps * -(-n // block_size(self.network))
        on_step = count_steps(progress, total)
        each = n // max(1, len(asked.classes))
        return sample.sample(self.network, n, seed, asked.labels(n), *asked[1:], on_step, each)

    def sample_images(self, n: int, seed: int = 0, class_names: ClassNames = None, **drawing: Any) -> Grid:
        """Returns the same images as pictures, which a notebook shows as a grid; `sample` itself returns a tensor.

        Of several classes the grid has a row each, with its name. The arguments are those of `sample_blocks`.
        """
        pictures = pictures_in(self.sample(n, seed, class_names, **drawing))
        if class_names is None or isinstance(class_names, str) or n > MAX_COLUMNS * len(class_names):
            return Grid(pictures)
        return Grid(pictures, n // len(class_names), list(class_names))

    def encode(self, x: Picture | Sequence[Picture]) -> tuple[Tensor, Tensor | None]:
        """Returns mu and log_var, (n, *latent) on the CPU, of pictures x; an autoencoder has None for log_var."""
        return latents.encode(self.network, read_inputs("x", x, self.settings.data).x)

    def decode(self, z: Tensor | np.ndarray | str | Path) -> Tensor | Image.Image | Grid:
        """Returns the images of latents z: of a tensor a tensor (n, C, H, W), of anything else pictures.

        Args:
            z: (n, *latent), or one latent (*latent); or the path of a .npy file, or of a folder of `vae encode`.

        Raises:
            VAEError: no such file; latents of another shape.
        """
        inputs = read_latents(z, self.network.latent_shape)
        return inputs.give_back(latents.decode(self.network, inputs.x))

    def reconstruct(self, x: Picture | Sequence[Picture]) -> Tensor | Image.Image | Grid:
        """Returns pictures x through the model: the mean image of the posterior's mean."""
        inputs = read_inputs("x", x, self.settings.data)
        return inputs.give_back(latents.reconstruct(self.network, inputs.x))

    def interpolate(self, a: Picture, b: Picture, steps: int = 10, spherical: bool = False) -> Tensor | Grid:
        """Returns `steps` images on the way from a to b, from the reconstruction of a to that of b.

        Args:
            a, b: a picture each; two tensors give a tensor.
            spherical: along an arc around the prior's mean rather than a straight line.

        Raises:
            VAEError: not one picture; fewer than 2 steps.
        """
        ends = [read_one(name, x, self.settings.data) for name, x in (("a", a), ("b", b))]
        parts = self.walk(torch.cat([end.x for end in ends]), steps, spherical)
        return arrange(parts, all(end.are_tensors for end in ends))

    def walk(self, x: Tensor, steps: int = 10, spherical: bool = False, loop: bool = False) -> Tensor:
        """Returns the images on the way through all of x, (parts, steps, C, H, W), each part from one to the next.

        Args:
            x: two or more pictures, (n, C, H, W).
            loop: one part more, back to the first.

        Raises:
            VAEError: fewer than 2 pictures or steps.
        """
        check_walk(len(x), steps)
        z = walk(latents.encode(self.network, x)[0], steps, spherical, loop)
        return self._decode_rows(z)

    def traverse(
        self,
        x: Picture | None = None,
        dims: traversal.Dims = "top8",
        reach: float = 3.0,
        steps: int = 7,
        measured_on: str | Path | None = None,
        cache_dir: str | None = None,
        progress: Progress = no_progress,
    ) -> Tensor | Grid:
        """Returns what latent dimensions do: a row a dimension, the largest KL first, its value from -reach to reach.

        Args:
            x: the picture to start from, a tensor for a tensor (rows, steps, C, H, W); None: the prior's mean.
            dims: "top8": the eight dimensions of the largest KL; or their numbers, [0, 3, 5].
            reach: in standard deviations of the prior.
            steps: images in a row.
            measured_on: pictures that the KL is measured on; None: the validation images of the run.
            cache_dir: where packed images are kept; None: where the run kept them.

        Raises:
            VAEError: an autoencoder; dims out of range; not one picture; no pictures to measure on.
        """
        traversal.check_reach(self.network, reach, steps)
        start = None if x is None else read_one("x", x, self.settings.data)
        kl = traversal.measure_kl(self.network, self.pictures_to_measure(measured_on, cache_dir, progress), progress)
        chosen = traversal.choose_dims(dims, kl)
        z = torch.zeros(self.network.latent_shape) if start is None else latents.encode(self.network, start.x)[0][0]
        rows = self._decode_rows(traversal.traverse(z, chosen, reach, steps))
        if start is not None and start.are_tensors:
            return rows
        labels = traversal.row_labels(chosen, kl), traversal.column_labels(reach, steps)
        return Grid(pictures_in(rows.flatten(0, 1)), steps, *labels)

    def attribute(
        self, plus: str | Path, minus: str | Path, cache_dir: str | None = None, progress: Progress = no_progress
    ) -> Tensor:
        """Returns the mean mu of the pictures at `plus` less that of those at `minus`, (*latent).

        `decode(encode(x)[0] + vector)` then shows x with more of what only `plus` has.

        Raises:
            VAEError: no pictures there.

        Source: Larsen et al., Autoencoding beyond pixels using a learned similarity metric, arXiv 1512.09300, Sec. 4.2.
        """
        with_it = self.open_pictures("plus", [plus], cache_dir, progress)
        without = self.open_pictures("minus", [minus], cache_dir, progress)
        mean, other = (latents.mean_latent(self.network, pictures, progress) for pictures in (with_it, without))
        return (mean - other).float()

    def encode_folder(
        self,
        folder: Path,
        source: str | Path | None = None,
        cache_dir: str | None = None,
        progress: Progress = no_progress,
    ) -> tuple[list[Path], Index]:
        """Writes mu.npy, log_var.npy and images.csv into the empty `folder`; returns their paths and the images' index.

        The pictures are those of `source`, a folder or an archive, or else the run's, prepared as in training. Packed
        images are kept in `cache_dir`, or else where the run kept them.
        """
        data = rundata.moved_data(self.settings, source, cache_dir)
        pack = open_pack(source_of(data, progress), data, progress)
        return encode.encode_pack(self.network, pack, folder, progress), pack.index

    def evaluate(
        self,
        source: str | Path | None = None,
        split: str = "val",
        samples: int | None = None,
        seed: int = 0,
        quick: bool = False,
        cache_dir: str | None = None,
        progress: Progress = no_progress,
    ) -> Evaluation:
        """Returns every figure that the images allow, and what they mean; a seed decides them.

        Args:
            source: a folder of pictures or an archive of one, prepared as in training; None: the pictures of the run.
            split: val or train: the images whose reconstructions, likelihoods and latents are measured.
            samples: images that are drawn, and the most on each side of a figure; None: 5,000, or 500 with `quick`.
            quick: fewer images for each figure, in half a minute.
            cache_dir: where packed images are kept; None: where the run kept them.

        Raises:
            VAEError: no pictures there; an export, which does not say where its pictures are, without `source`.
        """
        asked = Asked(split, samples, seed, quick, self.class_names)
        return evaluate_checkpoint(self.checkpoint, self.network, source, cache_dir, progress, asked)

    def export(self, folder: Path, name: str | None = None, half: bool = False, onnx: bool = False) -> list[Path]:
        """Writes the weights, a config and a model card into the empty `folder`; returns the files' paths.

        Args:
            half: the weights as 16-bit numbers, in half the space.
            onnx: ONNX files too, in 32 bits, which are compared with torch.

        Raises:
            VAEError: what ONNX files need is not installed; onnxruntime does not compute what torch does.
        """
        return export_model(self.checkpoint, folder, name or folder.name, half, onnx)

    def _decode_rows(self, z: Tensor) -> Tensor:
        """Returns the images (rows, columns, C, H, W) of z (rows, columns, *latent)."""
        return latents.decode(self.network, z.flatten(0, 1)).unflatten(0, z.shape[:2])
