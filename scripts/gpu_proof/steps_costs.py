"""What the rest of a run adds to a step, from the rows of part 3."""

from typing import Any


def costs(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What is added to the bare step of the way whose variants were measured, in ms a step; and in s an epoch."""
    good = [row for row in rows if "error" not in row]
    if not good:
        return {}
    base = next((row for row in good if not row["variant"] and row["precision"] == "32-true"), good[0])
    same = [r for r in good if all(r[k] == base[k] for k in ("engine", "precision", "batch"))]
    step = {row["variant"]: row["step_ms"] for row in same}
    found = {"bare step, ms": base["bare_ms"], "Lightning, data, logging: more, ms": base["step_ms"] - base["bare_ms"]}
    if "never logged" in step:
        found["of that logging, ms"] = base["step_ms"] - step["never logged"]
    for name in ("logged every step", "copied ahead", "mirrored"):
        if name in step:
            found[f"{name}: more, ms"] = step[name] - base["step_ms"]
    found |= {
        "validation and pictures, s an epoch": base["validation_s"],
        "table and saving, s an epoch": base["rest_s"],
    }
    return {name: round(value, 4) for name, value in found.items()}
