"""Part 3: how long a step takes, by engine, precision and batch, and what the rest of a run adds to it."""

from itertools import product
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from gpu_proof.setup import TOY, Deadline, Notes, Setup
from gpu_proof.timing import Clock, train_here
from vae_simpsons.configfile import from_flat
from vae_simpsons.models import build_autoencoder
from vae_simpsons.objective import kl_divergence, mean_squared_error

PRECISIONS = ("32-true", "tf32", "bf16-mixed")
LEAST_S = 6  # left of the part's time for another run to begin
VARIANTS = {
    "never logged": {"trainer__log_every_n_steps": 1_000_000},
    "logged every step": {"trainer__log_every_n_steps": 1},
    "copied ahead": {"data__gpu_share": 0},
    "mirrored": {"data__horizontal_flip": "true"},
}
Row = dict[str, Any]


def measure_steps(setup: Setup, notes: Notes, deadline: Deadline) -> None:
    """Note a row for each way of training, the fastest and most wanted first, while time lasts."""
    flops = flops_an_image(setup.dry_run)
    notes.add(mflop_an_image=round(flops / 1e6, 1))
    for engine, precision, batch, variant in ways(setup):
        if deadline.left_s() < LEAST_S:
            notes.add(left_out=[f"{engine} {precision} {batch} {variant}".strip()])
            continue
        row = {"engine": engine, "precision": precision, "batch": batch, "variant": variant}
        row |= measure_way(setup, row, flops)
        notes.add(rows=[row])
        print(row, flush=True)


def ways(setup: Setup) -> list[tuple[str, str, int, str]]:
    """Engine, precision, batch and variant of each run, the most wanted first; compiling takes long, and is last."""
    small, large = (16, 32) if setup.dry_run else (64, 1024)
    if setup.device == "cpu":
        return [
            ("eager", "32-true", small, ""),
            ("eager", "bf16-mixed", small, ""),
            ("eager", "32-true", large, ""),
        ] + [("eager", "32-true", small, name) for name in ("never logged", "mirrored")]
    plain = [(e, p, b, "") for b, e, p in product((small, large), ("graph", "eager"), PRECISIONS)]
    compiled = [("compile", p, b, "") for b, p in product((small, large), reversed(PRECISIONS))]
    return plain + [("graph", "32-true", small, name) for name in VARIANTS] + compiled


def measure_way(setup: Setup, way: Row, flops: float) -> Row:
    """Milliseconds of a bare step and of one within a run, seconds of an epoch's parts; or an error."""
    clock = Clock(bare_limit_s=0.3 if setup.dry_run else 2.0)
    name = "-".join(str(part).replace(" ", "_") for part in way.values())
    settings = {"data__batch_size": way["batch"], "trainer__engine": way["engine"]}
    settings |= {"trainer__precision": way["precision"], "trainer__max_epochs": 3 if setup.dry_run else 4}
    settings |= VARIANTS.get(way["variant"], {})
    failed = train_here(setup.train_flags(setup.work / "steps" / name, **settings), clock)
    if failed is not None or clock.bare_s is None:
        return {"error": failed or "no bare step was timed"}
    epoch = {part: clock.median_s(part) for part in ("train", "validation", "rest")}
    steps = clock.median_s("steps")
    found = {
        "bare_ms": 1e3 * clock.bare_s,
        "step_ms": 1e3 * epoch["train"] / steps,
        "images_s": way["batch"] * steps / epoch["train"],
        "validation_s": epoch["validation"],
        "rest_s": epoch["rest"],
        "epoch_s": sum(epoch.values()),
        "first_epoch_s": sum(clock.epochs[0][part] for part in epoch),
        "memory_mb": clock.memory_bytes / 1e6,
    }
    rate = setup.proof()["parts"].get("machine", {}).get("figures", {}).get("matmul_tflops", {}).get(way["precision"])
    if rate:
        found["share"] = flops * way["batch"] / clock.bare_s / (rate * 1e12)
    return {key: float(f"{value:.4g}") for key, value in found.items()}


def flops_an_image(toy: bool) -> float:
    """Floating-point operations of a training step of the network, the published one or the toy, for one image."""
    settings = from_flat({key: TOY[key] for key in TOY if key.startswith(("model.", "data.image_size"))} if toy else {})
    network = build_autoencoder(settings)
    x = torch.zeros(4, *network.image_shape)
    with FlopCounterMode(display=False) as counter:
        recon, mu, log_var = network(x)
        (mean_squared_error(recon, x) + 0.00025 * kl_divergence(mu, log_var).mean()).backward()
    return counter.get_total_flops() / len(x)
