"""Every setting with its type, range, default and meaning: one field of a section, which is a dataclass."""

from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Literal

from vae_simpsons.errors import VAEError
from vae_simpsons.settingtypes import (
    Average,
    Count,
    Factor,
    Levels,
    Machines,
    NotNegative,
    Positive,
    Range,
    Setting,
    Share,
    Side,
    Text,
    setting,
)

TOONS = "toons"  # the value of data.path that selects the cartoon faces drawn by this program


@dataclass(frozen=True)
class Data:
    """The images and how they become batches."""

    path: Text = setting(TOONS, "folder of images, or a zip or tar of one; 'toons' draws cartoon faces")
    image_size: Side | tuple[Side, ...] = setting(
        64, "height and width in pixels, or [height, width]; 2^len(model.widths), or model.factor, must divide both"
    )
    channels: Literal[1, 3] = setting(3, "1: greyscale, 3: RGB")
    crop: Literal["center", "none"] = setting(
        "center", "center: the largest part in the middle that has image_size's shape; none: the whole image, squeezed"
    )
    resize: Annotated[int, Range(1, 16384)] | None = setting(
        None, "short side in pixels before the crop; null: just large enough for data.image_size"
    )
    levels: Levels | None = setting(
        None,
        "which values are black and white in files of 16 bits and more that do not say so, by the type of the values: "
        "'uint16 0 4095, float32 0 1'; null: those that the folder as a whole has",
    )
    train_fraction: Factor = setting(0.75, "fraction of the images that trains; the rest validates")
    split: Literal["sorted", "shuffled", "grouped"] = setting(
        "grouped",
        "sorted: the first files by name train, as published; shuffled: a random split; grouped: a random split "
        "that leaves out copies, keeps near-duplicates on one side and divides each class in the same proportion",
    )
    batch_size: Annotated[int, Range(2, 1_000_000)] = setting(64, "images per step, in each process")
    horizontal_flip: bool = setting(False, "mirror a random half of the training images in each epoch")
    toons: Count = setting(4096, "number of faces to draw when data.path is 'toons'")
    cache_dir: Text | None = setting(None, "folder for packed images; null: the user's cache folder")
    gpu_share: Share = setting(0.5, "keep the images on the GPU if they need at most this fraction of its free memory")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, pixels."""
        height, width = (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size
        return height, width


@dataclass(frozen=True)
class Model:
    """The encoder and decoder: the published ones with a vector as the latent, or residual ones with a map."""

    latent: Literal["vector", "spatial"] = setting("vector", "vector: z is one list of numbers; spatial: a small map")
    latent_dim: Count = setting(128, "vector: length of z")
    widths: tuple[Annotated[int, Range(1, 65_536)], ...] = setting(
        (32, 64, 128, 256, 512), "vector: channels of each stride-2 stage of the encoder, mirrored by the decoder"
    )
    factor: Literal[4, 8] = setting(8, "spatial: how many times smaller than the image the map is, in each direction")
    latent_channels: Count = setting(8, "spatial: numbers at each position of the map")
    width: Annotated[int, Range(4, 65_536)] = setting(128, "spatial: channels of the layers at the map's size")
    blocks: Annotated[int, Range(1, 1000)] = setting(
        3, "spatial: residual blocks of the map's size; larger maps have fewer"
    )
    variational: bool = setting(True, "false: a plain autoencoder with z = mu, trained on the squared error alone")


@dataclass(frozen=True)
class Objective:
    """What is minimised: mse + beta * kld_weight * kl or, with sigma, the negative ELBO with beta times its KL."""

    beta: NotNegative = setting(1.0, "weight of the KL term, as in beta-VAE")
    kld_weight: Positive = setting(0.00025, "scale of the KL term; 2 * sigma^2 / (C * H * W) for pixel noise sigma")
    sigma: Positive | Literal["optimal", "learned"] | None = setting(
        None,
        "noise of a pixel: null: what kld_weight implies; a number, on pixels in [-1, 1]; optimal: the most likely one "
        "of each batch; learned: trained with the weights",
    )
    warmup_epochs: NotNegative = setting(0.0, "epochs in which the KL term grows from nothing to its full weight")
    free_bits: NotNegative = setting(0.0, "nats of each latent dimension that cost nothing, so that it stays in use")


@dataclass(frozen=True)
class Optimizer:
    """What trains the autoencoder, and its learning rate."""

    kind: Literal["adam", "adamw", "muon"] = setting(
        "adam", "adamw: weight decay apart from the gradient; muon: steps of one length in all directions of a layer"
    )
    lr: Positive = setting(0.005, "highest learning rate")
    weight_decay: NotNegative = setting(0.0, "adam: L2 penalty added to the gradient; else: share of lr taken off")
    beta2: Average = setting(0.999, "decay of Adam's mean squared gradient; 0.99 forgets faster, for short runs")
    schedule: Literal["exponential", "cosine", "constant"] = setting(
        "exponential", "exponential: times lr_decay after each epoch; cosine: down to zero at the end; constant"
    )
    lr_decay: Factor = setting(0.95, "exponential: factor by which the learning rate changes after each epoch")
    warmup_steps: Annotated[int, Range(0, 1_000_000)] = setting(
        0, "first steps, in which the learning rate grows from zero"
    )
    ema: Average | None = setting(
        None, "average the weights over about 1 / (1 - ema) steps, and draw and validate with those; null: do not"
    )


@dataclass(frozen=True)
class Prior:
    """What latents are drawn from: N(0, I), Gaussians fitted to the encoded images, or a flow trained on them."""

    kind: Literal["normal", "gaussian", "flow"] = setting("normal", "normal: N(0, I); the others come after training")
    labels: bool = setting(False, "one Gaussian for each sub-folder, or a flow that is told it, to draw from by name")
    components: Annotated[int, Range(1, 1000)] = setting(1, "gaussian: how many make the mixture, without labels")
    epochs: Count = setting(100, "flow: number of epochs, after those of the autoencoder")
    batch_size: Annotated[int, Range(2, 1_000_000)] = setting(64, "flow: latents per step, in each process")
    lr: Positive = setting(0.01, "flow: highest learning rate of Muon, which ends at zero")
    width: Annotated[int, Range(8, 65_536)] = setting(192, "flow: channels of its layers")
    depth: Annotated[int, Range(1, 1000)] = setting(6, "flow: its layers")
    weak_width: Annotated[int, Range(8, 65_536)] | None = setting(
        32, "flow: channels of a network of half the layers, whose answer guidance leads away from; null: none"
    )
    guidance: NotNegative = setting(2.0, "flow: how far samples are led away from it; 1: not at all; more: sharper")
    dropout: Annotated[float, Range(0, 0.9)] = setting(
        0.0, "flow: share of activations left out while training, against copies"
    )


@dataclass(frozen=True)
class Trainer:
    """How long to train and on which hardware, named as in Lightning's Trainer."""

    max_epochs: Count = setting(100, "number of epochs")
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = setting("auto", "auto: a GPU if there is one")
    devices: Machines | Literal["auto"] = setting(1, "number of devices (CPU: processes); auto: all of them")
    num_nodes: Machines = setting(1, "number of machines, each with that many devices")
    strategy: Literal["auto", "ddp"] = setting("auto", "ddp: one process per device, with averaged gradients")
    precision: Literal["auto", "32-true", "tf32", "bf16-mixed", "16-mixed"] = setting(
        "32-true",
        "arithmetic of the network; tf32: faster, less exact products on a GPU; auto: bf16-mixed where the hardware "
        "multiplies bfloat16, otherwise 32-true; the loss is always 32 bits",
    )
    engine: Literal["auto", "graph", "compile", "eager"] = setting(
        "auto",
        "eager: op by op; graph: a CUDA graph a step; compile: torch.compile; auto: graph where it can be, else eager",
    )
    deterministic: bool = setting(False, "slower GPU kernels that give the same bits every time; a CPU's always do")
    gradient_clip_val: Positive | None = setting(None, "maximum norm of the gradient; null: no clipping")
    on_nonfinite: Literal["stop", "skip"] = setting(
        "stop", "when a loss or gradient is not finite: stop the run or skip the step"
    )
    log_every_n_steps: Count = setting(50, "steps between two values of train/loss_step")
    evaluate_every: Count | None = setting(
        None, "epochs between measurements of vae evaluate's quick figures, which become curves; null: none"
    )
    save_every_minutes: NotNegative = setting(5.0, "minutes between saves of last.ckpt within an epoch")


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run."""

    seed: Annotated[int, Range(0, 2**32 - 1)] = setting(1265, "random seed of the weights, split, order and noise")
    out: Text | None = setting(None, "run folder; null: runs/<config>/<time>")
    data: Data = Data()
    model: Model = Model()
    objective: Objective = Objective()
    optimizer: Optimizer = Optimizer()
    prior: Prior = Prior()
    trainer: Trainer = Trainer()

    def __post_init__(self) -> None:
        for key, value in to_flat(self).items():
            if keys()[key].convert(value) != value:  # text, or a list where a tuple belongs
                raise keys()[key].refusal(value)
        self._check_data()
        if self.model.latent == "vector":
            self._check_widths()
        else:
            self._check_divisible(self.model.factor, "model.factor", "")
        if self.prior.kind != "normal" and not self.model.variational:
            raise VAEError(
                f"prior.kind: {self.prior.kind} with model.variational false. A plain autoencoder is not drawn from. "
                "Leave prior.kind out, or train with model.variational true."
            )
        if self.prior.labels and self.prior.components > 1:
            raise VAEError(
                f"prior.components: {self.prior.components} with prior.labels, which make one Gaussian each. "
                "Give one of the two."
            )

    def _check_data(self) -> None:
        sides, resize = self.data.image_size, self.data.resize
        if isinstance(sides, tuple) and len(sides) != 2:
            raise VAEError(f"data.image_size: {list(sides)} is not accepted. Give one number, or two: [height, width].")
        if resize and self.data.crop == "none":
            raise VAEError(f"data.resize: {resize} has no effect with data.crop none. Leave it out, or crop center.")
        if resize and resize < (short := min(self.data.size)):
            cropped = f"data.image_size {short}, which is cropped from it"
            raise VAEError(f"data.resize: {resize} is less than {cropped}. Give {short} or more.")

    def _check_widths(self) -> None:
        stages = len(self.model.widths)
        if not stages:
            raise VAEError("model.widths: [] is empty. Give the channels of each encoder stage, say [32, 64, 128].")
        if stages > 12:
            raise VAEError(f"model.widths: {stages} stages, but 12 halve 4096 pixels to one. Give fewer.")
        self._check_divisible(2**stages, f"2 for each of the {stages} model.widths", ", or fewer widths")

    def _check_divisible(self, by: int, why: str, otherwise: str) -> None:
        names = ("", "") if isinstance(self.data.image_size, int) else ("height ", "width ")
        for name, side in zip(names, self.data.size, strict=True):
            if side % by:
                near = " or ".join(str(n * by) for n in (side // by, side // by + 1) if n)
                reason = f"{name}{side} is not divisible by {by} ({why})"
                raise VAEError(f"data.image_size: {reason}. Give {near}{otherwise}.")


@cache
def sections(name: str = "", section: type | None = None) -> dict[str, type]:
    """Returns the dataclass of every section by dotted name; the settings in no section are under ''."""
    found = {name: section or Settings}
    for f in fields(found[name]):
        if isinstance(f.type, type) and is_dataclass(f.type):
            found |= sections(f"{name}.{f.name}".lstrip("."), f.type)
    return found


@cache
def keys() -> dict[str, Setting]:
    """Returns the declaration of every setting by dotted name."""
    declared = ((f"{name}.{f.name}".lstrip("."), f) for name, of in sections().items() for f in fields(of))
    return {
        key: Setting(key, f.type, f.default, f.metadata["meaning"]) for key, f in declared if not is_dataclass(f.type)
    }


def to_flat(settings: Settings) -> dict[str, Any]:
    """Returns the value of every setting by dotted name."""
    return {key: attrgetter(key)(settings) for key in keys()}
