"""Runs beside each other on one page: what differs, figures, curves, the same inputs, and their pictures by epoch."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_simpsons.data.split import MANIFEST
from vae_simpsons.errors import VAEError, writing
from vae_simpsons.evaluation.charts import COLOURS, Line, line_chart, number, swatch
from vae_simpsons.evaluation.curves import chart_figure, chart_grid, grouped, points
from vae_simpsons.evaluation.epochs import Shown, epoch_slider
from vae_simpsons.evaluation.figures import Figure, value_and_error
from vae_simpsons.evaluation.page import Section, clean, paragraph, show, write_page
from vae_simpsons.evaluation.runs import FinishedRun, read_runs
from vae_simpsons.evaluation.same_inputs import same_inputs
from vae_simpsons.files import check_target, format_bytes
from vae_simpsons.progress import Progress, format_duration

IGNORED = ("out", "data.cache_dir", "data.gpu_share")  # settings that change nothing of a model
LONGEST = 60  # characters of a fact in a column
PREPARED = tuple(f"data.{key}" for key in ("path", "image_size", "channels", "crop", "resize", "levels"))  # of an image
LOSS_SCALE = ("objective.beta", "objective.kld_weight")  # settings that give val/loss another meaning


def compare_runs(folders: Sequence[Path], out: Path, progress: Progress) -> str:
    """Writes a page that compares runs; returns what it holds, in a line.

    Args:
        folders: of two to eight runs.

    Raises:
        VAEError: RUN: too few, too many, or not the folder of a run. --out: it cannot be written.
    """
    if not 2 <= len(folders) <= COLOURS:
        raise VAEError(f"RUN: {len(folders)} given. Give the folders of 2 to {COLOURS} runs.")
    check_target("--out", out, ".html")
    runs = read_runs(folders)
    shown = epoch_slider(runs, progress)
    sections = [
        Section("settings", "Settings that differ", _settings(runs)),
        Section("figures", "Figures", _figures(runs)),
        Section("curves", "Curves", _curves(runs)),
        Section("inputs", "The same inputs", same_inputs(runs, progress)),
        Section("epochs", "Epoch by epoch", _epochs(shown)),
    ]
    with writing("--out", out):
        write_page(out, " · ".join(run.name for run in runs), _lead(runs), sections)
    thinned = f", pictures of {shown.epochs} of {shown.of} epochs" if shown.epochs < shown.of else ""
    return f"{len(runs)} runs in {out} ({format_bytes(out.stat().st_size)}{thinned})"


def _lead(runs: Sequence[FinishedRun]) -> str:
    says = "".join(f"<li>{clean(sentence)}</li>" for sentence in sentences(runs))
    return paragraph(f"{len(runs)} runs beside each other.", "lead") + (f'<ul class="says">{says}</ul>' if says else "")


def sentences(runs: Sequence[FinishedRun]) -> list[str]:
    """Returns what to know before reading the figures, in plain words."""
    said = []
    same = _same_images(runs)
    errors = {run.name: run_points[-1][1] for run in runs if (run_points := points(run.curves, "val/mse"))}
    if same and len(errors) == len(runs):
        best = min(errors, key=lambda name: errors[name])
        others = [f"{number(value)} in {name}" for name, value in errors.items() if name != best]
        said.append(f"{best} has the lowest validation mse: {number(errors[best])}; {' and '.join(others)}.")
        if len({number(value) for value in errors.values()}) == 1:
            said = [f"The validation mse of all is {number(errors[best])}."]
    if not same:
        said.append("The runs do not validate on the same images: compare the pictures, and figures with care.")
    if any(len({run.settings[key] for run in runs}) > 1 for key in LOSS_SCALE):
        said.append("The weight of the KL term differs: loss and ELBO do not compare.")
    return said


def _same_images(runs: Sequence[FinishedRun]) -> bool:
    """Whether all runs validate on the same images, prepared in the same way."""
    data = [[run.settings[key] for key in PREPARED] for run in runs]
    splits = [path.read_bytes() if (path := run.folder / MANIFEST).is_file() else None for run in runs]
    return all(d == data[0] for d in data) and None not in splits and all(s == splits[0] for s in splits)


def _settings(runs: Sequence[FinishedRun]) -> str:
    """Returns the settings that are not the same in all runs, and what else tells them apart."""
    keys = [k for k in runs[0].settings if k not in IGNORED and len({str(run.settings[k]) for run in runs}) > 1]
    rows = {key: [show(_plain(run.settings[key])) for run in runs] for key in keys}
    rows["epochs trained"] = [clean(run.curves[-1]["epoch"]) if run.curves else "–" for run in runs]
    times = [sum(value for _, value in points(run.curves, "time_s")) for run in runs]
    rows["time"] = [format_duration(seconds) if seconds else "–" for seconds in times]
    for key, length in (("device", LONGEST), ("commit", 10)):
        rows[key] = [clean(str(run.environment.get(key) or "–")[:length]) for run in runs]
    note = "" if keys else paragraph("None: the same settings.")
    return note + _side_by_side(runs, {k: v for k, v in rows.items() if k in keys or len(set(v)) > 1})


def _plain(value: Any) -> Any:
    """Returns a setting's value as a config file writes it."""
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else value


def _figures(runs: Sequence[FinishedRun]) -> str:
    """Returns the evaluations' figures and those of the last epoch, a column a run."""
    parts = []
    names = dict.fromkeys(name for run in runs for name in run.figures)
    if names:
        rows = {name: [_evaluated(run.figures.get(name)) for run in runs] for name in names}
        parts.append("<h3>evaluated</h3>" + _side_by_side(runs, rows))
    if without := [run.name for run in runs if not run.figures]:
        some = "" if len(without) == len(runs) else f" of {', '.join(without)}"
        parts.append(paragraph(f"No evaluation{some} was found. Make one: vae evaluate --ckpt RUN/last.ckpt", "note"))
    columns = [c for c in _columns(runs) if not c.startswith("train/")]
    rows = {c: [number(p[-1][1]) if (p := points(run.curves, c)) else "–" for run in runs] for c in columns}
    if rows:
        parts.append("<h3>of the last epoch</h3>" + _side_by_side(runs, rows))
    return "".join(parts)


def _evaluated(tree: dict[str, Any] | None) -> str:
    """Returns a figure of an evaluation.json with its error and number of images."""
    if tree is None or not math.isfinite(tree["value"]):
        return "–"
    error, count = tree.get("error"), tree.get("count")
    figure = Figure("", tree["value"], error if isinstance(error, (int, float)) else None, 0, "")
    of = f" <small>N {count:,}</small>" if isinstance(count, int) else ""
    return f"<b>{value_and_error(figure).replace('-', '−')}</b>{of}"


def _side_by_side(runs: Sequence[FinishedRun], rows: dict[str, list[str]]) -> str:
    """Returns a table with a column a run; the cells are HTML."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{clean(run.name)}</th>' for run in runs)
    lines = "".join(
        f'<tr><th scope="row">{clean(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, cells in rows.items()
    )
    table = f'<table class="plain"><thead><tr><td></td>{head}</tr></thead><tbody>{lines}</tbody></table>'
    return f'<div class="scroll" tabindex="0" role="group" aria-label="table, a column a run">{table}</div>'


def _columns(runs: Sequence[FinishedRun]) -> list[str]:
    """Returns the columns of the runs' tables, without those that are no figures."""
    names = dict.fromkeys(column for run in runs if run.curves for column in run.curves[0])
    return [column for columns in grouped(names).values() for column in columns]


def _curves(runs: Sequence[FinishedRun]) -> str:
    """Returns a chart of each figure with a line a run; dotted is training."""
    charts = []
    for name, columns in grouped(_columns(runs)).items():
        if name == "sigma":
            columns = [column for column in columns if column != "sigma/implied"]
        lines = []
        for column in columns:
            train = column.startswith("train/")
            lines += [Line(None if train else "", points(run.curves, column), i, train) for i, run in enumerate(runs)]
        charts.append(chart_figure(name, line_chart(name, lines)))
    if not any(charts):
        return paragraph("None: no run has a metrics.csv.")
    key = "".join(f"<li>{swatch(i)}{clean(run.name)}</li>" for i, run in enumerate(runs))
    return f'<ul class="key">{key}<li>{swatch(COLOURS, True)}training (dotted)</li></ul>' + chart_grid(charts)


def _epochs(shown: Shown) -> str:
    if not shown.html:
        return paragraph("None: no run has pictures.")
    note = "Each run's own pictures; a run without the epoch shows its last one before."
    if shown.epochs < shown.of:
        note += f" {shown.epochs} of the {shown.of} epochs are here, evenly spread, so that the page stays small."
    return paragraph(note, "note") + shown.html
