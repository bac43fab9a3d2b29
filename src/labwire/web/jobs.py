"""Long work that was started over HTTP: its progress, its result, and how to cancel it."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from labwire.errors import InternalError, LabwireError, NotFoundError, QueueFullError
from labwire.operations.job import Job, LocalJob

MAX_RUNNING = 16
"""Further ones are refused."""
MAX_KEPT = 100
"""Of those that have ended; the oldest go first."""


class JobFailure(msgspec.Struct, frozen=True):
    """Why work ended without a result."""

    code: str
    detail: str


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Long work and how far it is."""

    id: str
    operation: str
    """``record.repair``."""
    state: Literal["running", "done", "failed", "cancelled"]
    started_epoch_s: float
    """Seconds since 1970."""
    duration_s: float
    reports: int = 0
    """Progress reports so far."""
    progress: Any = None
    """The newest of them."""
    result: Any = None
    failure: JobFailure | None = None


JobList = list[JobStatus]


class _Entry:
    """One job and the thread that follows it."""

    def __init__(self, operation: str, job: Job[Any, Any]) -> None:
        self.id = secrets.token_hex(8)
        self.operation, self.job = operation, job
        self.started_s, self.started_epoch_s = time.monotonic(), time.time()
        self.ended_s: float | None = None
        self.reports, self.progress, self.result = 0, None, None
        self.error: LabwireError | None = None

    def follow(self) -> None:
        try:
            if isinstance(self.job, LocalJob):
                self.result = self.job.run(self._take)
                return
            for report in self.job.progress():
                self._take(report)
            self.result = self.job.result()
        except LabwireError as error:
            self.error = error
        except Exception as error:
            self.error = InternalError(f"{self.operation}: {error!r}")
        finally:
            self.ended_s = time.monotonic()

    def _take(self, report: Any) -> None:
        self.reports, self.progress = self.reports + 1, report

    @property
    def state(self) -> Literal["running", "done", "failed", "cancelled"]:
        if self.ended_s is None:
            return "running"
        if self.error is None:
            return "done"
        return "cancelled" if type(self.error).__name__ == "CancelledError" else "failed"

    def status(self) -> JobStatus:
        error = self.error
        return JobStatus(
            id=self.id,
            operation=self.operation,
            state=self.state,
            started_epoch_s=self.started_epoch_s,
            duration_s=(self.ended_s or time.monotonic()) - self.started_s,
            reports=self.reports,
            progress=self.progress,
            result=self.result,
            failure=JobFailure(type(error).__name__, error.message) if error else None,
        )


class Jobs:
    """The jobs of a server. Safe to use from many threads."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    def start(self, operation: str, begin: Callable[[], Job[Any, Any]]) -> JobStatus:
        """Begin work and follow it: the rig's, or some of this process.

        Raises:
            QueueFullError: Too much runs already.
        """
        with self._lock:
            running = [entry for entry in self._entries.values() if entry.state == "running"]
            if len(running) >= MAX_RUNNING:
                raise QueueFullError(f"{MAX_RUNNING} jobs are running already: wait for one, or cancel one")
            entry = _Entry(operation, begin())
            self._entries[entry.id] = entry
            ended = [key for key, entry in self._entries.items() if entry.state != "running"]
            for key in ended[: max(0, len(ended) - MAX_KEPT)]:
                del self._entries[key]
        # A daemon: the rig may never answer, and the server has to end all the same.
        threading.Thread(target=entry.follow, name=f"job {operation}", daemon=True).start()
        return entry.status()

    def list(self) -> list[JobStatus]:
        """Return all jobs, newest first."""
        with self._lock:
            return [entry.status() for entry in reversed(self._entries.values())]

    def status(self, job: str) -> JobStatus:
        """Return one job.

        Raises:
            NotFoundError: There is none of that number.
        """
        return self._find(job).status()

    def cancel(self, job: str) -> JobStatus:
        """Ask a job to end; one that has ended takes no notice."""
        entry = self._find(job)
        if entry.state == "running":
            entry.job.cancel()
        return entry.status()

    def cancel_all(self) -> None:
        """Ask all jobs to end."""
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            with contextlib.suppress(LabwireError):
                entry.job.cancel()

    def _find(self, job: str) -> _Entry:
        with self._lock:
            if entry := self._entries.get(job):
                return entry
        raise NotFoundError(f"there is no job {job[:80]!r}: it is long past, or the server has started again")
