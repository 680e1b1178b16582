"""A thread that writes files, so that no step waits for a disk, and the warning where they cannot be written."""

from collections import deque
from collections.abc import Callable, Container
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vae_simpsons.errors import one_line
from vae_simpsons.progress import warn

WAITING = 4  # jobs that may wait; a disk that is slower than that holds training up, and memory stays bounded


class Writer:
    """Runs jobs one after the other in a thread; `finish`, and leaving its `with` block, raise what a job raised."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, "writer")
        self.jobs: deque[tuple[str, Future]] = deque()

    def submit(self, job: Callable[..., Any], *arguments: Any, name: str = "", replaces: Container[str] = ()) -> None:
        """Runs `job(*arguments)` after those before it; the arguments must not change meanwhile.

        Earlier jobs whose name is in `replaces` are cancelled if they have not begun.
        """
        for waiting, future in self.jobs:
            if waiting in replaces:
                future.cancel()
        while self.jobs and (self.jobs[0][1].done() or len(self.jobs) > WAITING):
            self._wait_for_first()
        self.jobs.append((name, self.thread.submit(job, *arguments)))

    def finish(self) -> None:
        """Waits until everything is written."""
        while self.jobs:
            self._wait_for_first()

    def _wait_for_first(self) -> None:
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
    """Tries to write; where the system refuses, it warns in one line, once, and training continues."""

    def __init__(self) -> None:
        self.failing: dict[str, str] = {}  # what could not be written at the last try, and why

    def __call__(self, name: str, job: Callable[..., Any], *arguments: Any, proves: bool = True) -> bool:
        """Runs `job(*arguments)`, which writes what is called `name`; returns whether it could.

        Success `proves` that it can be written again; handing something to a queue does not.
        """
        try:
            job(*arguments)
        except OSError as e:
            why = one_line(e.strerror or e)
            if self.failing.get(name) != why:
                warn(f"cannot write {name}: {why}. Training continues and retries; make room or repair the folder.")
            self.failing[name] = why
            return False
        if proves and name in self.failing:
            del self.failing[name]
            warn(f"{name} can be written again.")
        return True
