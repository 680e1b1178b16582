"""Files written by a thread of their own, so that no step waits for a disk or a PNG."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

WAITING = 4  # jobs that may wait; a disk that is slower than that holds training up, and memory stays bounded


class Writer:
    """Runs jobs one after the other in a thread; leaving its `with` block waits for them all."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, "writer")
        self.jobs: deque[Future] = deque()

    def submit(self, job: Callable[..., Any], *arguments: Any) -> None:
        """Run `job(*arguments)` after those before it; the arguments must not change meanwhile.

        Raises:
            Exception: what an earlier job raised.
        """
        while self.jobs and (self.jobs[0].done() or len(self.jobs) > WAITING):
            self.jobs.popleft().result()
        self.jobs.append(self.thread.submit(job, *arguments))

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            Exception: what a job raised.
        """
        while self.jobs:
            self.jobs.popleft().result()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.thread.shutdown(wait=True)
        if kind is None:
            self.finish()
