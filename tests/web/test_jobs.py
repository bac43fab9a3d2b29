"""Long work over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from labwire.errors import CancelledError, NotFoundError, QueueFullError
from labwire.operations.job import Job, LocalJob
from labwire.testing import wait_until
from labwire.web.jobs import MAX_KEPT, MAX_RUNNING, Jobs


class Waiting(Job[int, str]):
    """Reports 1, then waits until it is let go or cancelled."""

    def __init__(self) -> None:
        self.go, self.cancelled = threading.Event(), False

    def progress(self) -> Iterator[int]:
        yield 1
        self.go.wait(20)

    def result(self, timeout_s: float | None = None) -> str:
        if self.cancelled:
            raise CancelledError("taken back")
        return "done"

    def cancel(self) -> None:
        self.cancelled = True
        self.go.set()


def test_progress_and_result() -> None:
    jobs, work = Jobs(), Waiting()
    job = jobs.start("a.b", lambda: work).id
    wait_until(lambda: jobs.status(job).progress == 1)
    assert jobs.status(job).state == "running"
    work.go.set()
    wait_until(lambda: jobs.status(job).state == "done")
    assert jobs.status(job).result == "done"
    assert [status.id for status in jobs.list()] == [job]


def test_cancel() -> None:
    jobs, work = Jobs(), Waiting()
    job = jobs.start("a.b", lambda: work).id
    jobs.cancel(job)
    wait_until(lambda: jobs.status(job).state == "cancelled")
    assert jobs.cancel(job).state == "cancelled"
    failure = jobs.status(job).failure
    assert failure
    assert failure.code == "CancelledError"


def fails(error: Exception) -> Callable[[], Job[int, str]]:
    def work(report: object, cancelled: object) -> str:
        raise error

    return lambda: LocalJob(work)


def test_failures_are_told() -> None:
    jobs = Jobs()
    ids = [jobs.start("a.b", fails(error)).id for error in (NotFoundError("no such"), ValueError("ours"))]
    for job, code in zip(ids, ["NotFoundError", "InternalError"], strict=True):
        wait_until(lambda job=job: jobs.status(job).state == "failed")
        failure = jobs.status(job).failure
        assert failure
        assert failure.code == code


def test_running_jobs_are_bounded() -> None:
    jobs, works = Jobs(), [Waiting() for _ in range(MAX_RUNNING)]
    for work in works:
        jobs.start("a.b", lambda work=work: work)
    with pytest.raises(QueueFullError):
        jobs.start("a.b", Waiting)
    jobs.cancel_all()
    wait_until(lambda: all(status.state == "cancelled" for status in jobs.list()))
    assert jobs.start("a.b", lambda: LocalJob(lambda report, cancelled: "x")).operation == "a.b"
    wait_until(lambda: jobs.list()[0].state == "done")


def test_ended_jobs_are_bounded() -> None:
    jobs = Jobs()
    for _ in range(MAX_KEPT + 20):
        job = jobs.start("a.b", lambda: LocalJob(lambda report, cancelled: "x")).id
        wait_until(lambda job=job: jobs.status(job).state == "done")
    assert len(jobs.list()) <= MAX_KEPT + 1
    with pytest.raises(NotFoundError):
        jobs.status("0" * 16)
