"""The latents of a report: the map with pictures, the KL of each dimension, and factors against dimensions."""

import json
import math
from collections import Counter
from html import escape

import numpy as np
from torch import Tensor

from vae_simpsons.evaluation.charts import COLOURS, bar_chart, dot, number
from vae_simpsons.evaluation.disentanglement import Information
from vae_simpsons.evaluation.embed import data_uri, draw_grid
from vae_simpsons.evaluation.page import clean, figure
from vae_simpsons.evaluation.result import LatentMap

MAP_WIDTH, MAP_HEIGHT = 1000, 750
MARGIN = 50  # of the map, for the pictures at its edges
THUMB = 48  # width of a picture on the map
APART = 1.35  # distance of two pictures on the map, in their width
MOST_THUMBS = 90
MAP_BUDGET = 900_000  # bytes of the sheet of all pictures
DIMENSIONS = 32  # of the matrix, those that know most


def latent_map(found: LatentMap) -> str:
    """Returns the map: a dot for each image, coloured by label, some pictures on it, and the nearest at the pointer."""
    places = _places(found.points)
    colours, key = _colours(found)
    columns = math.ceil(math.sqrt(len(places)))
    rows = -(-len(places) // columns)
    at = [_sheet_position(i, columns, rows) for i in range(len(places))]
    dots = "".join(
        f'<circle class="dot f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="5" data-label="{label}" data-at="{where}"/>'
        for (x, y), colour, label, where in zip(places.tolist(), colours, found.labels.tolist(), at, strict=True)
    )
    thumbs = "".join(
        f'<span class="thumb b{colours[i]}" style="left:{places[i, 0] / MAP_WIDTH:.2%};'
        f'top:{places[i, 1] / MAP_HEIGHT:.2%};{at[i]}"></span>'
        for i in _spread(places)
    )
    first, second = found.explained
    caption = (
        f"The posterior means of {len(places):,} images on their first two principal components, which hold "
        f"{first:.0%} and {second:.0%} of their variance. Point at it, or use the arrow keys, to see each picture."
    )
    return figure(_map_frame(found, columns, rows, dots, thumbs) + key, caption)


def _map_frame(found: LatentMap, columns: int, rows: int, dots: str, thumbs: str) -> str:
    """Returns the map with the sheet of all pictures, `columns` by `rows`, which page.js shows one of."""
    sheet = data_uri(draw_grid(found.thumbnails, columns, gap=0), MAP_BUDGET, lossy=True)
    height, width = found.thumbnails.shape[2:]
    style = f"--sprite:url({sheet});--sheet:{columns * 100}% {rows * 100}%;--cell:{width}/{height}"
    names = escape(json.dumps(found.class_names))
    words = f"Map of {len(found.points):,} encoded images. Left and right arrow keys show one picture after the other."
    return (
        f'<div class="map" role="application" tabindex="0" aria-label="{words}" data-names="{names}" style="{style}">'
        f'<svg viewBox="0 0 {MAP_WIDTH} {MAP_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">{dots}</svg>'
        f'{thumbs}<div class="tip" role="status"><i></i><span></span></div></div>'
    )


def kl_bars(kl: list[float]) -> str:
    """Returns the KL of each dimension, the largest first."""
    order = sorted(range(len(kl)), key=lambda d: (-kl[d], d))
    values = [kl[d] for d in order]
    total = sum(values)
    half = next((i for i in range(1, len(values) + 1) if 2 * sum(values[:i]) >= total), len(values))
    chart = bar_chart("KL of each latent dimension", values, [f"dimension {d}" for d in order], "nats")
    caption = (
        f"Nats an image of each of the {len(kl):,} latent dimensions, the largest first: {number(total)} in all, half "
        f"of them in the first {half}. Dimensions near 0 carry nothing."
    )
    return figure(chart, caption, "bars")


def factor_matrix(found: Information) -> str:
    """Returns factors against dimensions: the share of each factor's entropy that a dimension knows."""
    entropies = np.where(found.entropies > 0, found.entropies, np.inf)
    shares = np.clip(found.matrix / entropies[:, None], 0, 1)  # (F, D)
    best = np.argsort(-shares.max(0), kind="stable")[:DIMENSIONS]
    strongest = max(shares.max(), 1e-12)
    head = "".join(f'<th scope="col">{dimension}</th>' for dimension in best)
    rows = "".join(
        f'<tr><th scope="row">{clean(name.replace("_", " "))}</th>'
        + "".join(
            f'<td style="--v:{share / strongest:.2f}" title="{clean(name)} in dimension {d}: {share:.2f}">'
            f'<span class="hidden">{share:.2f}</span></td>'
            for d, share in zip(best, line[best], strict=True)
        )
        + "</tr>"
        for name, line in zip(found.names, shares, strict=True)
    )
    shown = f"the {len(best)} dimensions that know most of one" if len(best) < shares.shape[1] else "every dimension"
    caption = (
        f"Mutual information of each known factor with {shown}, as a share of the factor's entropy; the strongest "
        f"colour is {strongest:.2f}. A cell alone in its row and column is a factor with a dimension of its own."
    )
    head = f'<thead><tr><th scope="col">factor</th>{head}</tr></thead>'
    return figure(f'<table class="matrix">{head}<tbody>{rows}</tbody></table>', caption)


def _places(points: Tensor) -> np.ndarray:
    """Returns where each image is on the map, (n, 2); both axes have one scale, and the second points up."""
    values = points.double().numpy()
    low, high = values.min(0), values.max(0)
    room = np.array([MAP_WIDTH, MAP_HEIGHT]) - 2 * MARGIN
    scale = (room / np.maximum(high - low, 1e-9)).min()
    middle = np.array([MAP_WIDTH, MAP_HEIGHT]) / 2
    return middle + (values - (low + high) / 2) * scale * [1, -1]


def _colours(found: LatentMap) -> tuple[list[int], str]:
    """Returns the colour of each image and the key; classes beyond the most frequent share a grey one."""
    counts = Counter(found.labels.tolist())
    if len(counts) < 2:
        return [0] * len(found.labels), ""
    common = [label for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:COLOURS]]
    colour = {label: i for i, label in enumerate(sorted(common))}
    entries = [(i, found.class_names[label] or "no class") for label, i in colour.items()]
    if others := len(counts) - len(common):
        entries.append((COLOURS, f"{others} more"))
    key = "".join(f"<li>{dot(i)}{clean(name)}</li>" for i, name in entries)
    return [colour.get(label, COLOURS) for label in found.labels.tolist()], f'<ul class="key">{key}</ul>'


def _sheet_position(number_: int, columns: int, rows: int) -> str:
    """Returns where on the sheet of pictures a picture is, as CSS."""
    row, column = divmod(number_, columns)
    return f"background-position:{column / max(1, columns - 1):.4%} {row / max(1, rows - 1):.4%}"


def _spread(places: np.ndarray) -> list[int]:
    """Returns images that can be shown where they are without covering one another."""
    chosen: list[int] = []
    for i, place in enumerate(places):
        gaps = np.abs(places[chosen] - place).max(1) if chosen else np.array([np.inf])
        if gaps.min() >= APART * THUMB:
            chosen.append(i)
        if len(chosen) == MOST_THUMBS:
            break
    return chosen
