"""The same validation images through several runs: each prepares them as it was trained, and shows what it makes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vae_simpsons.checkpoint import read_checkpoint
from vae_simpsons.data.batches import take
from vae_simpsons.data.dataset import Dataset
from vae_simpsons.data.order import spread
from vae_simpsons.errors import VAEError
from vae_simpsons.evaluation.embed import draw_grid, image_tag
from vae_simpsons.evaluation.epochs import last_pictures
from vae_simpsons.evaluation.page import clean, paragraph
from vae_simpsons.evaluation.runs import LAST, FinishedRun
from vae_simpsons.images import denormalise, normalise
from vae_simpsons.inference import latents
from vae_simpsons.inference.rundata import open_dataset
from vae_simpsons.loading import load_network
from vae_simpsons.models import Autoencoder
from vae_simpsons.progress import Progress

INPUTS = 8
CELL_BUDGET = 20_000  # bytes of one image


def same_inputs(runs: Sequence[FinishedRun], progress: Progress) -> str:
    """Returns validation images that the runs share and each run's reconstructions, a column a run.

    Where they share none, or a run's images or checkpoint are gone, each shows its own last reconstructions.
    """
    try:
        opened = [_open(run, progress) for run in runs]
    except VAEError as e:
        return _own_pictures(
            runs, f"Each run shows its own last reconstructions, since one cannot be opened again: {e}"
        )
    shared = _shared([dataset for _, dataset in opened])
    if not shared:
        return _own_pictures(runs, "The runs validate on different images, so each shows its own last reconstructions.")
    columns = []
    for network, dataset in opened:
        originals = take(dataset.pack.pixels, _positions(dataset, shared))
        x = normalise(originals)
        recon = denormalise(latents.reconstruct(network, x))
        columns.append((originals, recon, (normalise(recon) - x).square().flatten(1).mean(1)))
    note = f"{len(shared)} images that no run has trained on, through each last.ckpt from mu; under each image its mse."
    return paragraph(note, "note") + _table(runs, columns)


def _open(run: FinishedRun, progress: Progress) -> tuple[Autoencoder, Dataset]:
    """Returns a run's network and images.

    Raises:
        VAEError: the checkpoint or the images are gone.
    """
    checkpoint = read_checkpoint(run.folder / LAST)
    return load_network(checkpoint), open_dataset(checkpoint, None, None, progress)


def _shared(datasets: Sequence[Dataset]) -> list[str]:
    """Returns the SHA-256 of files that validate in every run and train in none, spread over the first run's."""
    facts = [dataset.pack.index.facts for dataset in datasets]
    validate = [[f[i].sha256 for i in dataset.val] for f, dataset in zip(facts, datasets, strict=True)]
    train = {f[i].sha256 for f, dataset in zip(facts, datasets, strict=True) for i in dataset.train}
    common = set.intersection(*map(set, validate)) - train
    ordered = [sha256 for sha256 in dict.fromkeys(validate[0]) if sha256 in common]
    return [ordered[i] for i in spread(len(ordered), INPUTS)]


def _positions(dataset: Dataset, files: Sequence[str]) -> np.ndarray:
    """Returns where the images of these SHA-256 are in a run's pack."""
    position = {dataset.pack.index.facts[i].sha256: i for i in dataset.val}
    return np.array([position[sha256] for sha256 in files])


def _table(runs: Sequence[FinishedRun], columns: Sequence[tuple[Tensor, Tensor, Tensor]]) -> str:
    """Returns a row an image: the original as the run with the largest images sees it, then each run's."""
    originals = max((originals for originals, _, _ in columns), key=lambda images: images.shape[-1])
    names = ["original", *(run.name for run in runs)]
    head = "".join(f'<th scope="col">{clean(name)}</th>' for name in names)
    rows = []
    for i, original in enumerate(originals):
        cells = [f"<td>{_cell(original, f'image {i + 1}')}</td>"]
        for run, (_, recon, mse) in zip(runs, columns, strict=True):
            picture = _cell(recon[i], f"image {i + 1} through {run.name}")
            cells.append(f"<td>{picture}<small>{mse[i].item():#.2g}</small></td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    style = f"max-width:{9 * len(names)}rem"
    return f'<table class="inputs" style="{style}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _cell(image: Tensor, alt: str) -> str:
    return image_tag(draw_grid(image[None].to(torch.uint8), 1), alt, CELL_BUDGET)


def _own_pictures(runs: Sequence[FinishedRun], why: str) -> str:
    pictures = last_pictures(runs, "reconstructions")
    return paragraph(why, "note") + (pictures or paragraph("No run has pictures of them."))
