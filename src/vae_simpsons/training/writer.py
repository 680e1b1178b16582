"""Files written by a thread of their own, so that no step waits for a disk, and what is said where they cannot be."""

from collections import deque
from collections.abc import Callable, Container
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vae_simpsons.errors import one_line
from vae_simpsons.progress import warn

WAITING = 4  # jobs that may wait; a disk that is slower than that holds training up, and memory stays bounded


class Writer:
    """Runs jobs one after the other in a thread; leaving its `with` block waits for them all."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, "writer")
        self.jobs: deque[tuple[str | None, Future]] = deque()

    def submit(
        self, job: Callable[..., Any], *arguments: Any, name: str | None = None, instead_of: Container[str] = ()
    ) -> None:
        """Run `job(*arguments)` after those before it; the arguments must not change meanwhile.

        Args:
            name: of the job, for those that may replace it.
            instead_of: names of jobs that need not run any more if they have not begun, since this one undoes them.

        Raises:
            Exception: what an earlier job raised.
        """
        for waiting, future in self.jobs:
            if waiting is not None and waiting in instead_of:
                future.cancel()
        while self.jobs and (self.jobs[0][1].done() or len(self.jobs) > WAITING):
            self._first()
        self.jobs.append((name, self.thread.submit(job, *arguments)))

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            Exception: what a job raised.
        """
        while self.jobs:
            self._first()

    def _first(self) -> None:
        _, future = self.jobs.popleft()
        if not future.cancelled():
            future.result()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.thread.shutdown(wait=True)
        if kind is None:
            self.finish()


class Attempts:
    """Tries to write; what the system will not write is said in one line, once, and training goes on.

    Attributes:
        failing: what could not be written at the last try, and why.
    """

    def __init__(self) -> None:
        self.failing: dict[str, str] = {}

    def __call__(self, what: str, job: Callable[..., Any], *arguments: Any, shows: bool = True) -> bool:
        """Whether `job(*arguments)`, which writes `what`, went through.

        Args:
            shows: that it did shows that `what` can be written again; handing something to a queue does not.
        """
        try:
            job(*arguments)
        except OSError as e:
            why = one_line(e.strerror or e)
            if self.failing.get(what) != why:
                warn(f"cannot write {what}: {why}. Training goes on and tries again; make room or mend the folder.")
            self.failing[what] = why
            return False
        if shows and self.failing.pop(what, None):
            warn(f"{what}: written again.")
        return True
