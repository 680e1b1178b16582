"""The script of a model card: it draws pictures from the ONNX files with numpy and onnxruntime alone."""

from string import Template

from vae_simpsons.inference.drawing import STEPS, usual_guidance
from vae_simpsons.models import Autoencoder
from vae_simpsons.models.priors import FlowPrior, GaussianPrior
from vae_simpsons.models.priors.flow import GUIDED

BEGINNING = """import json

import numpy as np
import onnxruntime

SEED, ROWS, COLUMNS = 0, 4, 4
with open("config.json", encoding="utf-8") as file:
    config = json.load(file)
count, random = ROWS * COLUMNS, np.random.default_rng(SEED)
noise = random.standard_normal((count, *config["latent_shape"]), np.float32)
"""

NORMAL = """
z = noise
"""

GAUSSIAN = """
gaussians = np.load("prior.npz")
weights, means, factors = gaussians["weights"], gaussians["means"], gaussians["factors"]
k = $component
z = means[k] + (factors[k] @ noise.reshape(count, -1, 1))[..., 0]
z = z.reshape(noise.shape)
"""

FLOW = """
STEPS, GUIDANCE = $steps, $guidance
labels = np.full(count, $label, np.int64)  # -1: no class
prior = onnxruntime.InferenceSession("prior.onnx")


def velocity(x, t):
    v, worse = prior.run(None, {"x": x, "t": np.full(count, t, np.float32), "label": labels})
    if GUIDANCE > 1 and not $first < t < $last:
        return v
    return worse + GUIDANCE * (v - worse)


x = noise
for i in range(STEPS):  # Heun's method, from t = 0, noise, to t = 1, standardised latents
    t, t_next = i / STEPS, (i + 1) / STEPS
    v = velocity(x, t)
    v_next = velocity(x + (t_next - t) * v, t_next)
    x = x + (t_next - t) / 2 * (v + v_next)
mean, std = (np.float32(config[key]).reshape($broadcast) for key in ("latents_mean", "latents_std"))
z = x * std + mean
"""

END = """
decoder = onnxruntime.InferenceSession("decoder.onnx")
(recon,) = decoder.run(None, {"z": z})  # (count, C, H, W), in [-1, 1]
pixels = np.rint((recon + 1) * 127.5).clip(0, 255).astype(np.uint8)
channels, height, width = config["image_shape"]
grid = pixels.reshape(ROWS, COLUMNS, channels, height, width).transpose(0, 3, 1, 4, 2)
with open("samples.ppm", "wb") as file:  # any viewer, and Pillow, opens it
    file.write(b"$magic %d %d 255\\n" % (COLUMNS * width, ROWS * height) + grid.tobytes())
"""


def sampling_script(network: Autoencoder, class_names: list[str]) -> str:
    """Returns the Python script that draws from this model, of the first class if it was told classes."""
    prior = network.prior
    drawing = FLOW if isinstance(prior, FlowPrior) else GAUSSIAN if isinstance(prior, GaussianPrior) else NORMAL
    number = f'config["class_names"].index({class_names[0]!r})' if prior.class_count else None
    return Template(BEGINNING + drawing + END).substitute(
        component=number or "random.choice(len(weights), count, p=weights)",
        label=number or -1,
        guidance=usual_guidance(prior),
        steps=STEPS,
        first=GUIDED[0],
        last=GUIDED[1],
        broadcast=", ".join(map(str, (-1, *(1 for _ in network.latent_shape[1:])))),
        magic="P6" if network.image_shape[0] == 3 else "P5",
    )
