"""How an optimizer step runs: plainly, compiled, or as the replay of one CUDA graph.

On a GPU a step of batch 64 is a hundred kernels of a few microseconds, and launching them from Python takes longer than
running them. A CUDA graph is the same kernels, recorded once and launched as one. Lightning's own work around each
training_step takes longer still, so one training_step here trains on a chunk of batches; all else is as in the plain
loop. Source: CUDA semantics, "CUDA Graphs", in PyTorch's notes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vae_simpsons.checkpoint import Checkpoint
from vae_simpsons.data.batches import Batch
from vae_simpsons.errors import VAEError, one_line
from vae_simpsons.settings import Settings
from vae_simpsons.training.lightning import count_steps
from vae_simpsons.training.stage import StageModule
from vae_simpsons.training.stages import Stage

CHUNK_BYTES = 64 * 2**20  # of the inputs of a chunk
WARM_UP_STEPS = 3  # before capture: libraries choose their algorithms and allocate in the first ones
Capture = Callable[[Callable[[], None]], Callable[[], None]]


@dataclass(frozen=True)
class Engine:
    """Which way steps run, and why."""

    name: Literal["graph", "compile", "eager"]
    why: str


def choose_engine(settings: Settings, device: torch.device, processes: int) -> Engine:
    """Returns the engine that trainer.engine means on `device`."""
    engine = settings.trainer.engine
    if engine == "auto" or engine == "graph":
        obstacle = why_no_graph(settings, device, processes)
        if obstacle is None:
            return Engine("graph", "each step is the replay of a CUDA graph")
        if engine == "graph":
            raise VAEError(f"trainer.engine: graph, but {obstacle}. Give auto, or eager.")
        return Engine("eager", "the plain loop")
    if engine == "compile" and (reason := why_no_compiler(device)):
        return Engine("eager", f"compile does not work here: {reason}")
    return Engine(engine, "as set")


def why_no_graph(settings: Settings, device: torch.device, processes: int) -> str | None:
    """Returns why a step cannot be captured as a CUDA graph; None: it can."""
    if device.type != "cuda":
        return f"this run trains on {device.type}"
    if processes > 1:
        return "processes exchange their gradients in each step"
    if settings.trainer.precision == "16-mixed":
        return "16-mixed reads each step's gradients to scale the loss"
    return None


def why_no_compiler(device: torch.device) -> str | None:
    """Returns why torch.compile does not work on `device`; None: it does."""
    try:
        torch.compile(nn.functional.silu)(torch.ones(8, device=device))
    except Exception as e:  # of a missing compiler, dozens of kinds
        return one_line(e)[:160]
    return None


def build_module(stage: Stage, settings: Settings, engine: Engine, resume: Checkpoint | None) -> StageModule:
    """Returns the LightningModule that trains `stage` with `engine`."""
    if engine.name == "graph":
        return GraphModule(stage, settings, resume)
    if engine.name == "compile":
        stage.network.compile()  # in place: the weights keep their names
    return StageModule(stage, settings, resume)


def chunk_ends(steps: int, done: int, every: int, most: int, limit: int = -1) -> list[int]:
    """Returns those of an epoch's `steps` after which a chunk, of at most `most`, ends.

    One ends where something else happens: where trainer.global_step, `done` at the epoch's start, is a multiple of
    `every` (trainer.log_every_n_steps: figures are read), or `limit` (trainer.max_steps; -1 for none).
    """
    ends, last = [], 0
    while last < steps:
        to_log = every - (done + last) % every
        to_limit = limit - done - last if limit > done + last else steps
        last += min(to_log, to_limit, most, steps - last)
        ends.append(last)
    return ends


def capture(step: Callable[[], None]) -> Callable[[], None]:
    """Returns what replays `step`, which reads and writes only tensors that stay where they are, as one CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # other threads may copy and write meanwhile
        step()
    return graph.replay


class GraphModule(StageModule):
    """A StageModule whose training_step trains on a chunk of batches, each step the replay of one graph.

    `capture` returns what replays a step; on a CPU, for tests, the step itself will do.
    """

    def __init__(
        self, stage: Stage, settings: Settings, resume: Checkpoint | None = None, capture: Capture = capture
    ) -> None:
        super().__init__(stage, settings, resume)
        self.automatic_optimization = False
        self.capture = capture
        self.replay: Callable[[], None] | None = None

    def training_step(self, chunk: Batch, batch_idx: int) -> None:
        """Trains on inputs (k, B, ...) and labels (k, B), a step for each of the k batches."""
        if self.replay is None:
            self.replay = self.prepare(Batch(*(part[0] for part in chunk)))
        for number, batch in enumerate(zip(*chunk, strict=True)):
            self.fill(Batch(*batch))
            self.prepare_step(self.steps_done + number)
            self.replay()
            self.average_weights(self.steps_done + number)
        steps = len(chunk.inputs)
        self.after_steps(steps)
        count_steps(self.trainer, steps)

    def on_train_batch_end(self, *_: object) -> None:
        """Does nothing: the weights are averaged after each step of the chunk."""

    def fill(self, batch: Batch) -> None:
        """Copies `batch` to where the captured step reads it."""
        for part, value in zip(self.batch, batch, strict=True):
            part.copy_(value)

    def prepare(self, batch: Batch) -> Callable[[], None]:
        """Lays out what a step reads and writes, warms up without changing anything; returns a captured step."""
        for group in self.adam.param_groups:
            # A number would be captured as it is now; a tensor can be filled anew.
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=self.device)
            group["capturable"] = self.device.type == "cuda"
        self.batch = Batch(*(torch.empty_like(part) for part in batch))
        self.fill(batch)
        self.last_loss = torch.zeros((), device=self.device)
        with unchanged(self, self.adam), side_stream(self.device):
            for _ in range(WARM_UP_STEPS):
                self.step()
        return self.capture(self.step)

    def step(self) -> None:
        """Makes one optimizer step on `batch` and adds its figures to `sums`."""
        self.adam.zero_grad(set_to_none=True)
        loss, figures = self.measure(self.batch)
        loss.backward()
        self.last_loss.copy_(figures[0])
        self.on_before_optimizer_step(self.adam)
        self.adam.step()
        self.add(figures)


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Runs the block on a side stream of a CUDA `device`, as capture asks of what runs before it."""
    if device.type != "cuda":
        yield
        return
    main, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(main)
    with torch.cuda.stream(side):
        yield
    main.wait_stream(side)


@contextmanager
def unchanged(module: nn.Module, adam: torch.optim.Optimizer) -> Iterator[None]:
    """Puts weights, statistics, sums and Adam's state back, in place, to what they were before the block.

    Random numbers need no putting back: every step is seeded.
    """

    def moments() -> list[Tensor]:
        return [value for state in adam.state.values() for value in state.values()]

    kept = [*module.parameters(), *module.buffers(), *moments()]
    copies = [tensor.detach().clone() for tensor in kept]
    yield
    with torch.no_grad():
        for moment in moments():  # those that the block has made begin at zero
            moment.zero_()
        for tensor, copy in zip(kept, copies, strict=True):
            tensor.copy_(copy)


def chunk_steps(inputs: Tensor, batch_size: int) -> int:
    """Returns how many batches of rows of `inputs` (N, ...) a chunk may hold, at least 1."""
    return max(1, CHUNK_BYTES * len(inputs) // (batch_size * inputs.nbytes))
