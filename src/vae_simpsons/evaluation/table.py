"""An evaluation as text: all but its pictures."""

import textwrap

from vae_simpsons.evaluation.figures import Figure, value_and_error
from vae_simpsons.evaluation.result import Evaluation

WIDTH = 110  # columns
NAME = 40


def format_table(evaluation: Evaluation) -> str:
    """Returns the figures group by group, each with error, N, split, reference and definition, then what they mean."""
    lines: list[str] = []
    for group, figures in evaluation.groups.items():
        lines += ["", group]
        for figure in figures:
            lines += [_row(figure), f"      {figure.definition}"]
    if evaluation.missing:
        lines += ["", "not measured"]
        for reason in evaluation.missing:
            lines += _wrapped(reason)
    if evaluation.sentences:
        lines += ["", "what it means"]
        for sentence in evaluation.sentences:
            lines += _wrapped(sentence)
    return "\n".join(lines[1:])


def _row(figure: Figure) -> str:
    over = f"N {figure.count:,} {figure.split}"
    reference = "" if figure.reference is None else f"{figure.reference_is} {figure.reference:.4g}"
    return f"  {figure.name:<{NAME}}{value_and_error(figure):<22}{over:<27}{reference}".rstrip()


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
