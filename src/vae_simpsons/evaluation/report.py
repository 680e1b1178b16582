"""An evaluation as one HTML page, for a learner and for a reviewer: sentences first, then everything behind them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vae_simpsons.evaluation.charts import number
from vae_simpsons.evaluation.curves import curve_charts
from vae_simpsons.evaluation.embed import draw_grid, image_tag
from vae_simpsons.evaluation.figures import Figure, value_and_error
from vae_simpsons.evaluation.latent_charts import factor_matrix, kl_bars, latent_map
from vae_simpsons.evaluation.page import Row, Section, clean, facts, figure, image_rows, paragraph, show, write_page
from vae_simpsons.evaluation.result import Evaluation, Neighbours, Reconstructions, Traversal
from vae_simpsons.settings import Data

COLUMNS = 8  # images beside each other, as many as a phone can show
MOST_SAMPLES = 64
MOST_NEIGHBOURS = 16
STRIP_BUDGET = 90_000  # bytes of a row of images
SAMPLES_BUDGET = 600_000
HERO_BUDGET = 120_000


def write_report(evaluation: Evaluation, path: Path) -> None:
    """Writes the page of `evaluation`: one file of at most 5 MB that loads nothing from elsewhere.

    Raises:
        OSError: it cannot be written.
    """
    run = evaluation.run
    write_page(path, f"{run.get('name') or 'A model'}, evaluated", _lead(evaluation), _sections(evaluation))


def _lead(evaluation: Evaluation) -> str:
    """Returns what was trained on what, a few of its pictures, and what to think of it."""
    says = "".join(f"<li>{clean(sentence)}</li>" for sentence in evaluation.sentences)
    pictures = ""
    if evaluation.samples is not None and len(evaluation.samples):
        some = evaluation.samples[:COLUMNS]
        pictures = figure(image_tag(draw_grid(some, len(some)), f"{len(some)} samples", HERO_BUDGET), "", "hero")
    return paragraph(summary(evaluation.run), "lead") + pictures + (f'<ul class="says">{says}</ul>' if says else "")


def summary(run: dict[str, Any]) -> str:
    """Returns in a sentence what was trained on what."""
    settings = run.get("settings", {})
    kind = "A VAE" if settings.get("model.variational", True) else "A plain autoencoder"
    latents = f" with {settings['model.latent_dim']} latent dimensions" if "model.latent_dim" in settings else ""
    source = f", trained on {settings['data.path']}" if settings.get("data.path") else ""
    size = ""
    if "data.image_size" in settings:
        height, width = Data(image_size=settings["data.image_size"]).size
        size = f" at {height}x{width}"
    epochs = f" for {run['epochs']:,} epochs" if "epochs" in run else ""
    quick = ", measured quickly" if run.get("quick") else ""
    return f"{kind}{latents}{source}{size}{epochs}{quick}."


def _sections(evaluation: Evaluation) -> list[Section]:
    """Returns every part of the page; one that the evaluation has nothing for says so."""
    variational = evaluation.run.get("settings", {}).get("model.variational", True)
    no_prior = "None: an autoencoder has no prior to draw from."
    absent = "Not measured." if variational else no_prior
    parts = [
        ("curves", "Curves", _curves(evaluation), "None: there is no metrics.csv beside the checkpoint."),
        ("figures", "Figures", _figures(evaluation), "None."),
        ("reconstructions", "Reconstructions", _reconstructions(evaluation.reconstructions), "Not measured."),
        ("samples", "Samples", _samples(evaluation.samples), absent),
        ("neighbours", "Nearest training images", _neighbours(evaluation.neighbours), absent),
        ("traversal", "Traversal", _traversal(evaluation.traversal), "Not measured."),
        ("latents", "Latents", _latents(evaluation), "Not measured."),
        ("run", "The run", _run(evaluation.run), ""),
    ]
    return [Section(name, title, body or paragraph(why)) for name, title, body, why in parts]


def _curves(evaluation: Evaluation) -> str:
    if not evaluation.curves:
        return ""
    note = "After each epoch, over the validation images (val) and over the epoch's training batches (train, dotted)."
    return paragraph(note, "note") + curve_charts(evaluation.curves)


def _figures(evaluation: Evaluation) -> str:
    parts = [f"<h3>{clean(group)}</h3>{figure_table(lines)}" for group, lines in evaluation.groups.items() if lines]
    if evaluation.missing:
        items = "".join(f"<li>{clean(reason)}</li>" for reason in evaluation.missing)
        parts.append(f"<h3>not measured</h3><ul>{items}</ul>")
    note = "± is the standard error. N is how many images a figure is over. A reference needs no model."
    return paragraph(note, "note") + "".join(parts) if parts else ""


def figure_table(figures: Sequence[Figure]) -> str:
    """Returns figures with error, reference, number of images and definition, a row each."""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("figure", "value", "reference", "N"))
    rows = []
    for f in figures:
        value = value_and_error(f).replace("-", "−")
        reference = "" if f.reference is None else f"{number(f.reference)} <small>{clean(f.reference_is)}</small>"
        rows.append(
            f'<tr><th scope="row">{clean(f.name)}<small>{clean(f.definition)}</small></th>'
            f'<td data-label="value"><b>{value}</b></td>'
            f'<td data-label="reference">{reference or "–"}</td>'
            f'<td data-label="N">{f.count:,} <small>{clean(f.split)}</small></td></tr>'
        )
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _reconstructions(found: dict[str, Reconstructions]) -> str:
    """Returns originals above what the model makes of them."""
    parts = []
    for name, part in found.items():
        tables = []
        blocks = (images.split(COLUMNS) for images in (part.originals, part.recon, part.mse))
        for originals, recon, mse in zip(*blocks, strict=True):
            rows = [
                Row("original", originals, alt=f"{len(originals)} validation images"),
                Row("model", recon, alt="their reconstructions"),
                Row("mse", [f"{value:#.2g}" for value in mse.tolist()]),
            ]
            tables.append(image_rows(rows, budget=STRIP_BUDGET))
        parts.append(f"<h3>{clean(name)}</h3>{''.join(tables)}")
    note = "Validation images and what the decoder makes of the mean of their posterior; mse of pixels in [-1, 1]."
    return paragraph(note, "note") + "".join(parts) if parts else ""


def _samples(samples: Tensor | None) -> str:
    if samples is None or not len(samples):
        return ""
    shown = samples[:MOST_SAMPLES]
    caption = f"{len(shown)} images decoded from latents drawn from the prior, the first ones: none was picked."
    tag = image_tag(draw_grid(shown, COLUMNS), f"{len(shown)} samples in rows of {COLUMNS}", SAMPLES_BUDGET)
    return figure(tag, caption, "wide")


def _neighbours(found: Neighbours | None) -> str:
    """Returns samples above the training images nearest to them."""
    if found is None or not len(found.queries):
        return ""
    tables = []
    parts = (t[:MOST_NEIGHBOURS].split(COLUMNS) for t in (found.queries, found.nearest, found.distances))
    for queries, nearest, distances in zip(*parts, strict=True):
        rows = [Row("sample", queries, alt="samples")]
        for rank in range(nearest.shape[1]):
            label = "nearest" if rank == 0 else f"no. {rank + 1}"
            rows.append(Row(label, nearest[:, rank], alt=f"training images, {label}"))
            rows.append(Row("distance", [f"{value:#.3g}" for value in distances[:, rank].tolist()]))
        tables.append(image_rows(rows, budget=STRIP_BUDGET // 2))
    note = (
        "Under each sample the training images nearest to it, mirrored where that is nearer; distances are root mean "
        "squares in grey levels. A sample that equals its neighbour has been learnt by heart."
    )
    return paragraph(note, "note") + "".join(tables)


def _traversal(found: Traversal | None) -> str:
    """Returns the dimensions that carry most, each moved alone."""
    if found is None or not len(found.dimensions):
        return ""
    header = [f"{value:+.2g}".replace("-", "−") if value else "0" for value in found.values]
    rows = [
        Row(f"dim {d}", images, f"{kl:.2f} nats", f"dimension {d} from {header[0]} to {header[-1]}")
        for d, kl, images in zip(found.dimensions, found.kl, found.images, strict=True)
    ]
    note = "One latent dimension a row, those with the largest KL, moved alone; columns are in standard deviations."
    return paragraph(note, "note") + image_rows(rows, header, STRIP_BUDGET)


def _latents(evaluation: Evaluation) -> str:
    parts = []
    if evaluation.latent_map is not None and len(evaluation.latent_map.points):
        parts.append(f"<h3>map</h3>{latent_map(evaluation.latent_map)}")
    if evaluation.kl_per_dimension:
        parts.append(f"<h3>KL of each dimension</h3>{kl_bars(evaluation.kl_per_dimension)}")
    if evaluation.factors is not None:
        parts.append(f"<h3>known factors</h3>{factor_matrix(evaluation.factors)}")
    return "".join(parts)


def _run(run: dict[str, Any]) -> str:
    """Returns what was evaluated and how, and every setting."""
    settings = run.get("settings", {})
    rows = "".join(f'<tr><th scope="row">{clean(key)}</th><td>{show(v)}</td></tr>' for key, v in settings.items())
    shown = {key: value for key, value in run.items() if key != "settings"}
    details = f'<details><summary>every setting</summary><table class="plain">{rows}</table></details>' if rows else ""
    return facts(shown) + details
