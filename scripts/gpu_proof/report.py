"""What is said of each part in a line, and of all of them in a table."""

from collections.abc import Callable, Sequence
from typing import Any

from gpu_proof.steps_costs import costs

Figures = dict[str, Any]


def format_number(value: Any) -> str:
    """A cell: numbers to four digits, nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def format_table(columns: Sequence[str], rows: Sequence[Figures]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return lines + ["| " + " | ".join(format_number(row.get(name)) for name in columns) + " |" for row in rows]


def count_outcomes(tests: Sequence[Figures]) -> dict[str, int]:
    """How many tests passed, failed and were skipped."""
    return {name: sum(test["outcome"] == name for test in tests) for name in ("passed", "failed", "skipped")}


def say_machine(figures: Figures) -> str:
    """The card and its rates."""
    rates = ", ".join(f"{name} {rate:g}" for name, rate in figures.get("matmul_tflops", {}).items())
    return f"{figures['on']['card']}; TFLOP/s: {rates or '-'}"


def say_tests(figures: Figures) -> str:
    """Counts, and the names of the failures."""
    tests = figures.get("tests", [])
    failed = [test["name"].rpartition("/")[2] for test in tests if test["outcome"] == "failed"]
    counts = ", ".join(f"{count} {name}" for name, count in count_outcomes(tests).items())
    return counts + (f": {', '.join(failed)}" if failed else "")


def say_steps(figures: Figures) -> str:
    """The fastest way, and how many were measured."""
    good = [row for row in figures.get("rows", []) if "error" not in row]
    if not good:
        return "nothing measured"
    best = max(good, key=lambda row: row["images_s"])
    way = f"{best['engine']} {best['precision']}, batch {best['batch']}"
    return f"{len(good)} ways; the fastest, {way}: {format_number(best['images_s'])} images a second"


def say_published(figures: Figures) -> str:
    """Time and figures."""
    final, way = figures.get("final"), figures.get("way")
    if not final or not way:
        return "nothing trained"
    run = f"{way['engine']} {way['precision']}, {final['epoch']:.0f} epochs in {figures['seconds']:.1f} s"
    return f"{run}, val mse {final['val/mse']:.4f}, kl {final['val/kl']:.1f}"


def say_quality(figures: Figures) -> str:
    """How many configs there were."""
    rows = figures.get("rows", [])
    return ", ".join(f"{row['config']} {row['seconds']} s" for row in rows) or "no config names a budget"


def say_pictures(figures: Figures) -> str:
    """How many files."""
    return f"{len(figures.get('files', []))} files, {figures.get('total_bytes', 0) / 1e6:.2f} MB"


SAY: dict[str, Callable[[Figures], str]] = {
    "machine": say_machine,
    "tests": say_tests,
    "steps": say_steps,
    "published": say_published,
    "quality": say_quality,
    "pictures": say_pictures,
}


def say_part(name: str, found: Figures) -> str:
    """A part in one line."""
    try:
        said = SAY[name](found["figures"])
    except (KeyError, TypeError):  # it was killed before it had noted that
        said = "nothing noted"
    why = f" [{found['said'][-1]}]" if found["status"] == "failed" and found.get("said") else ""
    return f"{name:10} {found['status']:12} {found['seconds']:7.1f} s of {found['budget_s']:5.1f}   {said}{why}"


def format_report(proof: Figures) -> str:
    """All of it, in Markdown."""
    parts = {name: found["figures"] for name, found in proof["parts"].items()}
    on = next((figures["on"] for figures in parts.values() if "on" in figures), {})
    lines = ["# GPU proof", "", ", ".join(f"{name} {value}" for name, value in on.items() if value), ""]
    rows = [{"part": name, **found} for name, found in proof["parts"].items()]
    lines += format_table(("part", "status", "seconds", "budget_s"), rows) + [""]
    machine, steps, published = (parts.get(name, {}) for name in ("machine", "steps", "published"))
    if "copy_gb_s" in machine:
        rates = {f"copy {k}, GB/s": v for k, v in machine["copy_gb_s"].items()}
        rates |= {f"products {k}, TFLOP/s": v for k, v in machine.get("matmul_tflops", {}).items()}
        lines += format_table(tuple(rates), [rates]) + [""]
    failures = [test for test in parts.get("tests", {}).get("tests", []) if test["outcome"] == "failed"]
    lines += [f"- FAILED {test['name']}: {test['why']}" for test in failures] + [""] * bool(failures)
    if steps.get("rows"):
        columns = ("engine", "precision", "batch", "variant", "bare_ms", "step_ms", "images_s", "share")
        lines += format_table((*columns, "epoch_s", "memory_mb", "error"), steps["rows"]) + [""]
        found = costs(steps["rows"])
        lines += format_table(tuple(found), [found]) + [""]
    return "\n".join(lines + report_runs(published, parts.get("quality", {}), parts.get("pictures", {}))) + "\n"


EVALUATED = (  # of `vae evaluate`, by group and name
    "reconstruction/mse",
    "reconstruction/KD-EffNetLite0 of reconstructions",
    "samples/KD-EffNetLite0",
    "samples/sharpness of samples",
    "labels/label accuracy, samples",
    "labels/label accuracy, real images",
    "memorisation/memorised share, features",
)


def report_runs(published: Figures, quality: Figures, pictures: Figures) -> list[str]:
    """The whole runs, and the pictures."""
    lines = []
    if published.get("compared"):
        lines += [f"Two seeds of eager 32-true differ by {format_number(published.get('noise'))}.", ""]
        lines += format_table(("engine", "precision", "difference", "matches"), published["compared"]) + [""]
    if published.get("final"):
        way = " ".join(published["way"].values())
        runs = [{"run": way, **published["final"], "seconds": published["seconds"]}]
        runs += [{"run": "the CPU run", **published["cpu_run"], "epoch": 100}]
        lines += format_table(("run", "epoch", "val/mse", "val/kl", "seconds"), runs) + [""]
        lines += format_table(tuple(published["split_s"]), [published["split_s"]]) + [""]
    if quality.get("rows"):
        rows = [row | (row["final"] or {}) for row in quality["rows"]]
        lines += format_table(("config", "minutes", "seconds", "epoch", "val/mse", "val/kl", "stopped"), rows) + [""]
        measured = [{"config": row["config"], **row.get("evaluated", {})} for row in rows]
        lines += format_table(("config", *EVALUATED), measured) + [""]
    return lines + [f"![{name}]({name})" for name in pictures.get("files", [])]
