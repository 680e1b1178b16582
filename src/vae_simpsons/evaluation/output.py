"""The folder that an evaluation is written to: evaluation.json and report.html."""

from pathlib import Path

from vae_simpsons.errors import VAEError, writing
from vae_simpsons.evaluation.report import write_report
from vae_simpsons.evaluation.result import Evaluation
from vae_simpsons.evaluation.table import write_json
from vae_simpsons.files import atomic_path, check_writable

FOLDER, FIGURES, REPORT = "evaluation", "evaluation.json", "report.html"


def check_target(folder: Path) -> None:
    """Refuses, before anything is measured, a folder that must not or cannot be written to.

    An earlier evaluation is replaced, nothing else is.

    Raises:
        VAEError: out: a file, a folder with other things in it, or one that cannot be written.
    """
    check_writable("out", folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / FIGURES).is_file():
        raise VAEError(
            f"out: {folder} is not empty and holds no earlier evaluation, which alone is replaced. Give a new folder."
        )


def write_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Writes evaluation.json and report.html into `folder` and returns their paths; both appear complete, or neither.

    Raises:
        VAEError: out: it cannot be written.
    """
    with (
        writing("out", folder, "folder"),
        atomic_path(folder / FIGURES) as figures,
        atomic_path(folder / REPORT) as report,
    ):
        write_json(evaluation, figures)
        write_report(evaluation, report)
    return [folder / FIGURES, folder / REPORT]
