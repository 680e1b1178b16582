"""`vae reconstruct`: pictures beside what the model makes of them."""

import json
import math
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from vae_simpsons.cli.parsing import Parser, Verb, add_number, add_option
from vae_simpsons.cli.trained import add_model, load_model
from vae_simpsons.errors import writing
from vae_simpsons.progress import progress_bar

if TYPE_CHECKING:
    from vae_simpsons.data.pictures import Pictures
    from vae_simpsons.inference.reconstruct import Scores

UNITS = {"mse": "mse {:.4g}", "psnr": "PSNR {:.2f} dB", "ssim": "SSIM {:.3f}", "elbo": "elbo {:,.0f} nats"}


def add_reconstruct_options(parser: Parser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="images, folders, or zips and tars of images")
    grid = "grid: originals, and below each row what the model makes of it"
    add_option(parser, "--out", "reconstructions.png", "PATH", grid)
    add_number(parser, "-n", 64, "images in the grid at most", 1)
    parser.add_argument("--worst", action="store_true", help="show the worst ones, not some spread over all of them")
    add_number(parser, "--nrow", 8, "images in a row of the grid", 1)
    parser.add_argument("--json", metavar="PATH", help="the figures of every image, and their means, as JSON")
    parser.add_argument("--csv", metavar="PATH", help="the figures of every image, largest mse first")
    parser.add_argument("--heatmap", metavar="PATH", help="grid: originals, and below them each pixel's squared error")
    add_model(parser)


def run_reconstruct(options: Namespace) -> None:
    """Writes a grid, and of every image mse, PSNR, SSIM and elbo."""
    from vae_simpsons.data.order import spread
    from vae_simpsons.files import check_target
    from vae_simpsons.images import write_grid
    from vae_simpsons.inference import reconstruct

    grids = [("--out", options.out), ("--heatmap", options.heatmap)]
    tables = [("--json", options.json), ("--csv", options.csv)]
    for (flag, path), ending in zip(grids + tables, (".png", ".png", ".json", ".csv"), strict=True):
        if path:
            check_target(flag, Path(path), ending)
    model = load_model(options)
    pictures = model.open_pictures("PATH", options.paths, options.cache_dir, progress_bar)
    scores = reconstruct.score_pictures(model.network, pictures, model.sigma, progress_bar)
    count = min(options.n, len(pictures))
    chosen = scores.worst_first()[:count] if options.worst else spread(len(pictures), count).tolist()
    columns = min(options.nrow, count)
    compared = reconstruct.compare_rows(model.network, pictures, chosen, columns)
    heat = reconstruct.heat_rows(model.network, pictures, chosen, columns, scores.error_scale)
    cells = 2 * columns * -(-count // columns)
    for (flag, path), rows in zip(grids, (compared, heat), strict=True):
        if path:
            write_grid(flag, Path(path), rows, cells, columns)
    write_tables(options, pictures, scores)
    print(describe(options, pictures, scores, count))


def write_tables(options: Namespace, pictures: "Pictures", scores: "Scores") -> None:
    """Writes the figures of every picture, a row each, the worst first, as --csv and --json ask for them."""
    from vae_simpsons.files import atomic_path, write_csv
    from vae_simpsons.inference.reconstruct import DEFINITIONS

    columns = {name: values.tolist() for name, values in scores.figures.items()}
    rows = [
        {"path": pictures.names[i]} | {name: number(values[i]) for name, values in columns.items()}
        for i in scores.worst_first()
    ]
    if options.csv:
        with writing("--csv", options.csv), atomic_path(Path(options.csv)) as temporary:
            write_csv(temporary, list(rows[0]), (row.values() for row in rows))
    if options.json:
        means = {name: number(values.mean().item()) for name, values in scores.figures.items()}
        definitions = {name: DEFINITIONS[name] for name in means}
        report = {"definitions": definitions, "heatmap_scale": scores.error_scale, "mean": means, "images": rows}
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
        with writing("--json", options.json), atomic_path(Path(options.json)) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def number(value: float) -> float | None:
    """Returns a number, or None for one that JSON cannot say: the PSNR of a perfect copy."""
    return float(value) if math.isfinite(value) else None


def describe(options: Namespace, pictures: "Pictures", scores: "Scores", shown: int) -> str:
    """Returns what was written and found, in lines."""
    total = len(pictures)
    which = f"the {shown:,} worst of {total:,}" if options.worst else f"{shown:,} of {total:,}"
    means = ", ".join(UNITS[name].format(float(values.mean())) for name, values in scores.figures.items())
    worst = scores.worst_first()[0]
    lines = [
        *pictures.left_out,
        f"{which if shown < total else f'{total:,}'} images in {options.out}, above their reconstructions",
        f"mean of {total:,}: {means}",
        f"worst: {pictures.names[worst]}, mse {float(scores.figures['mse'][worst]):.4g}",
    ]
    if options.heatmap:
        lines.append(
            f"squared error in {options.heatmap}: black 0, violet, red, orange, pale yellow {scores.error_scale:.3g} "
            f"and more, which 99 % of all pixels of the {total:,} are within"
        )
    lines += [f"figures of every image, worst first, in {path}" for path in (options.csv, options.json) if path]
    return "\n".join(lines)


RECONSTRUCT = Verb("show pictures beside their reconstructions, with figures", add_reconstruct_options, run_reconstruct)
