"""Continuous acquisitions for a caller far away: its window, its end, and who holds up whom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from labwire.errors import CancelledError, DeadlineError, PeerGoneError
from labwire.instruments.calling import acquisition_job
from labwire.instruments.calling.acquisition_job import AcquisitionJob, BlockMade
from labwire.operations.instruments import AcquisitionDone, Block
from tests.bus.fake_hub import LIMIT_S, wait_until


class FakeAcquisition:
    """Makes as many blocks as it is told to; ends when it is cancelled."""

    command_id = "SCOPE1-7"

    def __init__(self, blocks: int | None = None, error: Exception | None = None) -> None:
        self.blocks, self.error = blocks, error
        self.made = 0
        self.cancelled = threading.Event()
        self.closed = False

    def __iter__(self) -> Iterator[int]:
        while not self.cancelled.is_set() and (self.blocks is None or self.made < self.blocks):
            self.made += 1
            yield self.made - 1
        if self.error:
            raise self.error

    def cancel(self) -> None:
        self.cancelled.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


class Run:
    """A job on a thread, as the RPC port runs it."""

    def __init__(
        self,
        acquisition: FakeAcquisition,
        window: int,
        on_block: Callable[[BlockMade, Callable[[], bool]], None] = lambda block, cancelled: None,
    ) -> None:
        self.reports: list[Block] = []
        self.ended = 0
        self.outcome: Any = None
        self.job = AcquisitionJob(
            lambda: acquisition,
            window=window,
            on_block=on_block,
            make_report=lambda made: Block(
                acquisition=1,
                command_id=made.command_id,
                instrument="S",
                verb="A",
                number=made.number,
                value=made.value,
            ),
            on_end=self._count_end,
        )
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _count_end(self) -> None:
        self.ended += 1

    def _run(self) -> None:
        try:
            self.outcome = self.job.run(self.reports.append)
        except Exception as error:
            self.outcome = error

    def end(self) -> Any:
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()
        return self.outcome


def test_one_that_ends_by_itself() -> None:
    run = Run(FakeAcquisition(blocks=3), window=16)
    done = run.end()
    assert isinstance(done, AcquisitionDone)
    assert done.blocks == 3
    assert [(report.number, report.command_id) for report in run.reports] == [(n, "SCOPE1-7") for n in range(3)]
    assert run.ended == 1


def test_the_caller_gets_no_more_than_it_has_room_for() -> None:
    acquisition = FakeAcquisition()
    run = Run(acquisition, window=4)
    wait_until(lambda: acquisition.made == 5, "the one that waits")
    assert len(run.reports) == 4
    run.job.grant(3)
    wait_until(lambda: len(run.reports) == 7, "three more")
    wait_until(lambda: acquisition.made == 8, "the one that waits")
    run.job.cancel()
    assert isinstance(run.end(), CancelledError)
    assert len(run.reports) == 7
    assert acquisition.closed


def test_without_a_window_only_others_get_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquisition_job, "NEWS_S", 3600.0)
    seen: list[int] = []
    run = Run(FakeAcquisition(blocks=100), window=0, on_block=lambda block, _: seen.append(block.number))
    assert run.end().blocks == 100
    assert seen == list(range(100))
    assert [(report.number, report.value) for report in run.reports] == [(0, None)], "the next is due later"


def test_without_a_window_the_caller_hears_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquisition_job, "NEWS_S", 0.0)
    run = Run(FakeAcquisition(blocks=100), window=0)
    run.end()
    assert [report.number for report in run.reports] == list(range(100))
    assert {report.value for report in run.reports} == {None}


@pytest.mark.parametrize("window", [0, 1])
def test_a_caller_whose_connection_ended_ends_it(window: int) -> None:
    acquisition = FakeAcquisition()
    run = Run(acquisition, window=window)
    wait_until(lambda: acquisition.made >= 2, "blocks")
    run.job.caller_gone()
    assert isinstance(run.end(), CancelledError)
    assert acquisition.closed


def test_a_caller_that_is_gone_does_not_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquisition_job, "GRANT_LIMIT_S", 0.05)
    acquisition = FakeAcquisition()
    assert isinstance(Run(acquisition, window=1).end(), DeadlineError)
    assert acquisition.closed


def test_who_waits_for_the_bus_hears_of_the_end() -> None:
    def wait_for_the_bus(_: BlockMade, cancelled: Callable[[], bool]) -> None:
        wait_until(cancelled, "cancelled")

    run = Run(FakeAcquisition(), window=4, on_block=wait_for_the_bus)
    run.job.cancel()
    assert isinstance(run.end(), CancelledError)
    assert run.reports == []


def test_a_failure_is_the_callers() -> None:
    run = Run(FakeAcquisition(blocks=2, error=PeerGoneError("Worker died")), window=16)
    assert isinstance(run.end(), PeerGoneError)
    assert len(run.reports) == 2
    assert run.ended == 1


def test_one_that_is_cancelled_before_it_begins() -> None:
    acquisition = FakeAcquisition()
    job = AcquisitionJob(
        lambda: acquisition,
        window=1,
        on_block=lambda *_: None,
        make_report=lambda made: pytest.fail("no block"),
        on_end=lambda: None,
    )
    job.cancel()
    with pytest.raises(CancelledError):
        job.run(lambda _: None)
    assert acquisition.made == 0
