"""An HTML page in one file: it opens offline, loads nothing and fits a phone. All text in it is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from vae_simpsons.errors import one_line
from vae_simpsons.evaluation.embed import BUDGET, draw_grid, image_tag
from vae_simpsons.files import atomic_path

START = "<!doctype html>"
# Whatever a page holds, a browser asks no other machine for anything.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
MADE_BY = "Made by vae-simpsons. One file: it loads nothing from elsewhere."
FOLDER = Path(__file__).parent


class Section(NamedTuple):
    """A part of a page."""

    name: str  # of its anchor
    title: str
    body: str  # HTML


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Writes a page; `path` is replaced atomically, and the same content gives the same bytes.

    Args:
        lead: HTML between the title and the sections.

    Raises:
        OSError: it cannot be written.
    """
    links = "".join(f'<a href="#{s.name}">{escape(s.title)}</a>' for s in sections)
    parts = "".join(
        f'<section aria-labelledby="{s.name}"><h2 id="{s.name}">{escape(s.title)}</h2>{s.body}</section>\n'
        for s in sections
    )
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    text = (
        f'{START}\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{clean(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header><h1>{clean(title)}</h1>{lead}</header>\n<nav aria-label="Sections">{links}</nav>\n'
        f"<main>\n{parts}</main>\n<footer><small>{MADE_BY}</small></footer>\n<script>\n{script}</script>\n</body>\n</html>\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="replace"))


def clean(value: Any) -> str:
    """Returns `value` as text for HTML: on one line, control characters visible, nothing of it read as a tag."""
    return escape(one_line(value))


def show(value: Any) -> str:
    """Returns the value of a setting or a fact for people, as HTML."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(key)} {show(part)}" for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(show(part) for part in value)
    return clean(value)


def facts(pairs: Mapping[str, Any]) -> str:
    """Returns names and values as a list of definitions."""
    return '<dl class="facts">' + "".join(f"<dt>{clean(k)}</dt><dd>{show(v)}</dd>" for k, v in pairs.items()) + "</dl>"


def paragraph(text: str, css: str = "") -> str:
    """Returns plain text as a paragraph."""
    return f'<p class="{css}">{clean(text)}</p>' if css else f"<p>{clean(text)}</p>"


def figure(content: str, caption: str, css: str = "") -> str:
    """Returns HTML with a caption, plain text, under it where there is one."""
    under = f"<figcaption>{clean(caption)}</figcaption>" if caption else ""
    return f'<figure class="{css}">{content}{under}</figure>'


class Row(NamedTuple):
    """A row of a table of images: images (n, C, H, W), or a text for each column."""

    label: str
    cells: Tensor | Sequence[str]
    below: str = ""  # a smaller line under the label
    alt: str = ""  # what the images are


def image_rows(rows: Iterable[Row], header: Sequence[str] = (), budget: int = BUDGET) -> str:
    """Returns rows of equally many images under each other, each with its label; `header` names the columns."""
    parts = []
    if header:
        names = "".join(f'<th scope="col">{clean(name)}</th>' for name in header)
        parts.append(f'<thead><tr><td class="corner"></td>{names}</tr></thead>')
    for row in rows:
        below = f"<small>{clean(row.below)}</small>" if row.below else ""
        label = f'<th scope="row">{clean(row.label)}{below}</th>'
        if isinstance(row.cells, Tensor):
            count = len(row.cells)
            strip = image_tag(draw_grid(row.cells, count), row.alt or row.label, budget)
            parts.append(f'<tr>{label}<td colspan="{count}">{strip}</td></tr>')
        else:
            cells = "".join(f"<td>{clean(text)}</td>" for text in row.cells)
            parts.append(f'<tr class="values">{label}{cells}</tr>')
    return f'<table class="strips">{"".join(parts)}</table>'
