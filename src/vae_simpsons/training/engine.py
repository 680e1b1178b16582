"""How an optimizer step runs: plainly, compiled, or as the replay of one CUDA graph.

On a GPU a step of batch 64 is a hundred kernels of a few microseconds, and launching them from Python takes longer than
running them. A CUDA graph is the same kernels, recorded once and launched as one. Lightning's own work around each
training_step is dearer still, so one training_step here trains on a chunk of batches. Whatever else is seen of a run is
as in the plain loop: global_step, the steps at which figures are logged, schedules, clipping, checkpoints.

Source: CUDA semantics, "CUDA Graphs", in PyTorch's notes; Accelerating PyTorch with CUDA Graphs, PyTorch blog, 2021.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from vae_simpsons.data.batches import Batch
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.settings import Settings
from vae_simpsons.training.module import VAEModule

CHUNK_BYTES = 64 * 2**20  # of the pixels of a chunk
WARM_UP_STEPS = 3  # before capture: libraries choose their algorithms and allocate in the first ones


@dataclass(frozen=True)
class Engine:
    """Which way steps run, and why."""

    name: Literal["graph", "compile", "eager"]
    why: str


def choose(config: Settings, device: torch.device, processes: int) -> Engine:
    """The engine that trainer.engine means on `device`.

    Raises:
        VAEError: graph was asked for, and cannot be.
    """
    asked = config.trainer.engine
    obstacle = no_graph(config, device, processes)
    if asked == "graph" and obstacle:
        raise VAEError(f"trainer.engine: graph, but {obstacle}. Give auto, which takes the fastest that runs here.")
    if asked in ("auto", "graph"):
        why = "each step is the replay of a CUDA graph"
        return Engine("eager", f"no CUDA graph: {obstacle}") if obstacle else Engine("graph", why)
    if asked == "compile" and (reason := no_compiler(device)):
        return Engine("eager", f"compile was asked for, and does not work here: {reason}")
    return Engine(asked, "as asked")


def no_graph(config: Settings, device: torch.device, processes: int) -> str | None:
    """Why a step cannot be captured as a CUDA graph; None: it can."""
    if device.type != "cuda":
        return f"this run trains on {device.type}"
    if processes > 1:
        return "processes exchange their gradients in each step"
    if config.trainer.precision == "16-mixed":
        return "16-mixed looks at each step's gradients to scale the loss"
    return None


def no_compiler(device: torch.device) -> str | None:
    """Why torch.compile does not work on `device`; None: it does."""
    try:
        torch.compile(torch.nn.functional.silu)(torch.ones(8, device=device))
    except Exception as e:  # of a missing compiler, dozens of kinds
        return one_line(e)[:160]
    return None


def build_module(config: Settings, engine: Engine) -> VAEModule:
    """The LightningModule that trains with `engine`."""
    module = GraphModule(config) if engine.name == "graph" else VAEModule(config)
    if engine.name == "compile":
        module.network.compile()  # in place: the weights keep their names
    return module


def chunk_ends(steps: int, done: int, every: int, most: int, limit: int = -1) -> list[int]:
    """The steps of an epoch after which a chunk ends, so that what happens between steps happens where it should.

    Args:
        steps: of the epoch.
        done: trainer.global_step at its start.
        every: trainer.log_every_n_steps, after which figures are read.
        most: the largest number of steps in a chunk, at least 1.
        limit: trainer.max_steps; -1 for none.
    """
    ends, last = [], 0
    while last < steps:
        to_log = every - (done + last) % every
        to_limit = limit - done - last if limit > done + last else steps
        last += min(to_log, to_limit, most, steps - last)
        ends.append(last)
    return ends


def capture(step: Callable[[], None]) -> Callable[[], None]:
    """What replays `step`, which reads and writes only tensors that stay where they are, as one CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may copy and write meanwhile
        step()
    return graph.replay


class GraphModule(VAEModule):
    """A VAEModule whose training_step trains on a chunk of batches, each step the replay of one graph.

    Args:
        capture: makes a replay of a step; on a CPU, for tests, the step itself will do.
    """

    def __init__(self, config: Settings, capture: Callable[[Callable[[], None]], Callable[[], None]] = capture) -> None:
        super().__init__(config)
        self.automatic_optimization = False
        self.capture = capture
        self.replay: Callable[[], None] | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Train on a chunk of k batches, a step for each."""
        chunk = batch.pixels  # uint8 (k, B, C, H, W)
        if self.replay is None:
            self.prepare(chunk[0])
        for pixels in chunk:
            self.pixels.copy_(pixels)
            self.replay()
        self.after_steps(self.last_loss, len(chunk))
        count_steps(self.trainer, len(chunk))
        if self.trainer.is_last_batch:
            self.lr_schedulers().step()

    def prepare(self, pixels: Tensor) -> None:
        """Lay out what a step reads and writes, warm up without a trace, and capture a step."""
        self.adam = self.optimizers(use_pl_optimizer=False)
        for group in self.adam.param_groups:
            # A number would be captured as it is now; schedulers fill a tensor anew.
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=self.device)
            group["capturable"] = self.device.type == "cuda"
        for state in self.adam.state.values():  # of a resumed run, whose steps were counted on a CPU
            state["step"] = state["step"].to(self.device)
        self.pixels = torch.empty_like(pixels)
        self.pixels.copy_(pixels)
        self.last_loss = torch.zeros((), device=self.device)
        with unchanged(self, self.adam), beside(self.device):
            for _ in range(WARM_UP_STEPS):
                self.step()
        self.replay = self.capture(self.step)

    def step(self) -> None:
        """One optimizer step on `pixels`; adds its figures to `totals`."""
        self.adam.zero_grad(set_to_none=True)
        self.guard.before_step()
        loss, figures = self.terms_of(self.pixels)
        loss.backward()
        norm = self.guard.before_optimizer(self.adam, figures[0], scaled=False, alone=True)
        if self.config.trainer.gradient_clip_val is not None:
            nn.utils.clip_grads_with_norm_(self.network.parameters(), self.config.trainer.gradient_clip_val, norm)
        self.adam.step()
        self.add(figures)
        self.last_loss.copy_(figures[0])


def count_steps(trainer: pl.Trainer, steps: int) -> None:
    """Make Lightning's counters, and with them global_step and every x-axis, what `steps` training_steps would have."""
    loop = trainer.fit_loop.epoch_loop
    progress = loop.manual_optimization.optim_step_progress
    for counted in (progress.total, progress.current):
        counted.ready += steps
        counted.completed += steps
    loop._batches_that_stepped += steps - 1  # Lightning adds the last one


@contextmanager
def beside(device: torch.device) -> Iterator[None]:
    """Run on a side stream of a CUDA `device`, as capture asks of what runs before it; elsewhere nothing."""
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


@contextmanager
def unchanged(module: nn.Module, adam: torch.optim.Optimizer) -> Iterator[None]:
    """Afterwards weights, statistics, sums, Adam's state and the random numbers are, in place, what they were."""
    weights = [*module.parameters(), *module.buffers()]
    weights_before = [w.detach().clone() for w in weights]
    state_before = {p: {k: v.clone() for k, v in state.items()} for p, state in adam.state.items()}
    device = weights[0].device
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        yield
    with torch.no_grad():
        for weight, before in zip(weights, weights_before, strict=True):
            weight.copy_(before)
        for parameter, state in adam.state.items():
            for key, value in state.items():
                value.copy_(state_before[parameter][key]) if parameter in state_before else value.zero_()


def chunk_steps(shape: Sequence[int], batch_size: int) -> int:
    """How many batches of uint8 images of `shape` (C, H, W) a chunk may hold, at least 1."""
    channels, height, width = shape
    return max(1, CHUNK_BYTES // (batch_size * channels * height * width))
