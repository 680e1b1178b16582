"""What the page is told and shown of a model."""

import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vae_simpsons.api import VAE
from vae_simpsons.data.decode import decode_bytes
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.embed import webp
from vae_simpsons.evaluation.memorisation import nearest_numbers
from vae_simpsons.evaluation.posterior import Components, find_components
from vae_simpsons.explore.bodies import read_number, read_numbers, read_z
from vae_simpsons.explore.collection import Collection, encode_all
from vae_simpsons.explore.directions import component_directions, top_dimensions
from vae_simpsons.explore.pictures import THUMB, columns_of, data_uri, gif, png, sheet, sheet_of
from vae_simpsons.images import denormalise, normalise, shrink
from vae_simpsons.inference import latents, walk
from vae_simpsons.inference.blocks import block_size, device_of
from vae_simpsons.inference.drawing import MAX_STEPS, STEPS, check_drawing, describe_prior, usual_guidance
from vae_simpsons.inference.grids import to_pil
from vae_simpsons.inference.sample import any_classes, prior_noise
from vae_simpsons.models.priors import FlowPrior
from vae_simpsons.progress import Progress

MAX_DRAWN = 16  # samples at a time
MAX_FRAMES = 1000  # of a walk
Answer = bytes | dict[str, Any]  # a picture's file, or what becomes JSON


class Answers:
    """Answers what a page asks of a model and its encoded pictures; one thread at a time.

    A latent is a flat list of D numbers on the page, (*latent) here. A few pictures are computed alone rather than in a
    full block, up to twenty times sooner: they may differ from those of `VAE.decode` by one grey level.

    Args:
        collection: the pictures of the map.

    Attributes:
        stopping: set to end a drawing in progress.
    """

    def __init__(self, model: VAE, collection: Collection, cache_dir: str | None, progress: Progress) -> None:
        self.model, self.network, self.collection, self.cache_dir = model, model.network, collection, cache_dir
        self.mu, kl = encode_all(model, collection.pixels, progress)
        self.components = find_components(self.mu.flatten(1))
        is_map = len(self.network.latent_shape) > 1
        self.directions = component_directions(self.components) if kl is None or is_map else top_dimensions(kl)
        self.stopping = threading.Event()
        self.asked = {
            "decode": self.decode, "mean": self.mean, "draw": self.draw, "walk": self.walk, "gif": self.gif,
            "nearest": self.nearest,
        }  # fmt: skip

    def about(self) -> dict[str, Any]:
        """Returns what the page is built from."""
        prior, height_width = self.network.prior, self.network.image_shape[1:]
        drawing = {
            "classes": self.model.class_names, "flow": isinstance(prior, FlowPrior),
            "weak": isinstance(prior, FlowPrior) and prior.weak is not None,
            "guidance": usual_guidance(prior), "steps": STEPS, "prior": describe_prior(prior),
        }  # fmt: skip
        return {
            "name": self.model.checkpoint.path.parent.name,
            "epochs": self.model.epochs,
            "image": height_width,
            "latent": self.network.latent_shape,
            "source": self.collection.source,
            "sliders": [
                {"name": d.name, "detail": d.detail, "origin": d.origin.tolist(), "vector": d.vector.tolist()}
                for d in self.directions
            ],
            "map": self._describe_map(self.components),
            "draw": drawing if self.network.variational else None,
        }

    def _describe_map(self, components: Components) -> dict[str, Any]:
        axes = components.vectors[:2]
        points = (self.mu.flatten(1) - components.mean) @ axes.T
        thumbnails = shrink(self.collection.pixels[:1], THUMB)
        return {
            "points": points.tolist(),
            "mean": components.mean.tolist(),
            "axes": axes.tolist(),
            "shares": components.shares[:2].tolist(),
            "names": self.collection.names,
            "labels": self.collection.labels,
            "columns": columns_of(len(points)),
            "thumbnail": thumbnails.shape[2:],
        }

    def thumbnails(self) -> bytes:
        """Returns the pictures of the map on one sheet, a WebP."""
        return webp(to_pil(sheet(shrink(self.collection.pixels, THUMB))), quality=85)

    def picture(self, number: int) -> bytes:
        """Returns a picture of the map as it was prepared, a PNG."""
        return png(self.collection.pixels[number])

    def decode(self, fields: Mapping[str, Any]) -> Answer:
        """Returns the picture of z, a PNG."""
        return png(denormalise(self._decode(self._read_z(fields))[0]))

    def mean(self, fields: Mapping[str, Any]) -> Answer:
        """Returns the mean mu of pictures of the map, by their numbers."""
        return {"z": self.mu[read_numbers(fields.get("numbers"), len(self.mu))].mean(0).flatten().tolist()}

    def encode(self, raw: bytes) -> Answer:
        """Returns mu of the image in the bytes of a file, the image as prepared, and the error of its reconstruction.

        Raises:
            VAEError: naming `picture`: it is no image.
        """
        decoded = decode_bytes(raw, self.model.settings.data)
        if isinstance(decoded, str):
            raise VAEError(f"picture: {decoded}. Give another one.")
        with torch.inference_mode():
            mu, _ = self.network.encode(normalise(decoded.pixels[None]).to(device_of(self.network)))
        recon = denormalise(self._decode(mu))[0]
        error = (recon.float() - decoded.pixels.float()).square().mean().sqrt()
        return {"z": mu.flatten().tolist(), "src": data_uri(decoded.pixels), "error": float(error)}

    def draw(self, fields: Mapping[str, Any]) -> Answer:
        """Returns samples of the prior: their latents, and their pictures on a sheet.

        They are those of `vae sample` with the same seed, but for their last digits.
        """
        count = read_number(fields, "count", 8, 1, MAX_DRAWN)
        seed = read_number(fields, "seed", 0, 0, 2**53)
        name = fields.get("class")
        asked = check_drawing(
            self.network.prior, self.model.class_names, self.model.checkpoint.path.parent, count,
            None if name is None else str(name), read_number(fields, "guidance", None, 0.0, 100.0),
            read_number(fields, "steps", None, 1, MAX_STEPS), read_number(fields, "temperature", 1.0, 0.01, 10.0),
        )  # fmt: skip
        given = asked.labels(count)
        labels = any_classes(self.network.prior, count, seed) if given is None else given
        noise = next(prior_noise(self.network.latent_shape, count, seed, block_size(self.network)))[:count]
        device = device_of(self.network)
        with torch.inference_mode():
            z = self.network.prior.draw(
                noise.to(device), labels.to(device), guidance=asked.guidance, steps=asked.steps,
                temperature=asked.temperature, progress=self._check_stopping,
            )  # fmt: skip
        return {"z": z.flatten(1).tolist(), "sheet": sheet_of(self._decode(z))}

    def walk(self, fields: Mapping[str, Any]) -> Answer:
        """Returns the pictures on the way through several z, on a sheet."""
        return {"sheet": sheet_of(self._walk(fields))}

    def gif(self, fields: Mapping[str, Any]) -> Answer:
        """Returns the same pictures as a GIF that repeats for ever."""
        return gif(self._walk(fields))

    def nearest(self, fields: Mapping[str, Any]) -> Answer:
        """Returns the training picture nearest to the picture of z, in pixels, mirrored or not, and how far it is."""
        pixels, names, what = self._training
        number, distance = nearest_picture(denormalise(self._decode(self._read_z(fields)))[0], pixels)
        of = f"{len(names):,} {what}"
        return {"src": data_uri(pixels[number]), "name": names[number], "distance": distance, "of": of}

    @cached_property
    def _training(self) -> tuple[Tensor, list[str], str]:
        """Training pictures of the run, uint8 (N, C, H, W), or of the map; their names; and what they are in words."""
        try:
            dataset = self.model.open_dataset(None, self.cache_dir)
        except VAEError:
            shown = self.collection
            return shown.pixels, shown.names, "pictures on the map: those of the run are gone"
        names = [dataset.pack.index.paths[i] for i in dataset.train]
        return dataset.pack.pixels[torch.from_numpy(dataset.train)], names, "training pictures"

    def _walk(self, fields: Mapping[str, Any]) -> Tensor:
        z = self._read_z(fields)
        steps = read_number(fields, "steps", 16, 2, 240)
        if len(z) * steps > MAX_FRAMES:
            raise VAEError(f"steps: {len(z) * steps:,} pictures in all, more than {MAX_FRAMES:,}. Give fewer.")
        loop = fields.get("loop") is True
        walk.check_walk(len(z), steps)
        parts = walk.walk(z, steps, fields.get("spherical") is True, loop)
        return latents.decode(self.network, walk.frames(parts, loop))

    def _read_z(self, fields: Mapping[str, Any]) -> Tensor:
        return read_z(fields.get("z"), self.network.latent_shape)

    @torch.inference_mode()
    def _decode(self, z: Tensor) -> Tensor:
        """Returns the images (n, C, H, W) on the CPU, in [-1, 1], of a few z (n, *latent)."""
        return self.network.decode(z.to(device_of(self.network))).float().cpu()

    def _check_stopping(self, _: int) -> None:
        if self.stopping.is_set():
            raise VAEError("the program has ended.")


def nearest_picture(query: Tensor, pixels: Tensor) -> tuple[int, float]:
    """Returns the number of the nearest of `pixels` (N, C, H, W) to `query` (C, H, W), or to its mirror image.

    The second value is how far it is: the root mean square of the difference in grey levels. All are uint8.
    """
    sides = query.flatten()[None], query.flip(-1).flatten()[None]
    number = int(nearest_numbers(*sides, pixels.flatten(1), 1))
    near = pixels[number].flatten().float()
    return number, min(float((side[0] - near).square().mean().sqrt()) for side in sides)
