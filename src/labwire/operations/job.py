"""Long work that an operation starts: it reports progress, can be cancelled, and ends with a result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

P = TypeVar("P")
R = TypeVar("R")


class Job(ABC, Generic[P, R]):
    """Long work. An operation that returns ``Job[Progress, Result]`` answers with progress reports, then a result.

    The caller's side: ``for report in job.progress(): ...``, then ``job.result()``; or ``job.cancel()``.
    """

    @abstractmethod
    def progress(self) -> Iterator[P]:
        """Yield progress reports until the work ends."""

    @abstractmethod
    def result(self, timeout_s: float | None = None) -> R:
        """Wait for the result.

        Raises:
            CancelledError: It was cancelled.
            DeadlineError: Not done within `timeout_s`; the work goes on.
        """

    @abstractmethod
    def cancel(self) -> None:
        """Ask the work to end early; `result` then raises `CancelledError`."""


Work = Callable[[Callable[[P], None], Callable[[], bool]], R]
"""What a job runs: ``work(report, cancelled) -> result``; it looks at ``cancelled()`` between steps."""


class LocalJob(Job[P, R]):
    """Work to be run by the process that offers the operation, on a thread of its own.

    >>> def count(report, cancelled):
    ...     for n in range(3):
    ...         if cancelled():
    ...             raise CancelledError("stopped counting")
    ...         report(n)
    ...     return "done"
    >>> LocalJob(count).result()
    'done'
    """

    def __init__(self, work: Work[P, R]) -> None:
        self.work = work
        self._cancelled = False
        self._reports: list[P] = []

    def run(self, report: Callable[[P], None]) -> R:
        """Do the work on the calling thread; `report` gets each progress report."""
        return self.work(report, lambda: self._cancelled)

    def progress(self) -> Iterator[P]:
        """Yield the reports of a finished run; in process, `result` must have been called before."""
        yield from self._reports

    def result(self, timeout_s: float | None = None) -> R:
        """Do the work here and now."""
        return self.run(self._reports.append)

    def cancel(self) -> None:
        """Ask the work to end early."""
        self._cancelled = True

    def caller_gone(self) -> None:
        """Take note that nobody hears the reports any more: the work goes on, unless a subclass says otherwise."""
