"""Mistakes of an actor's code in the log: told once with a traceback, then counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from labwire.bus import fault_log
from labwire.bus.fault_log import FaultLog
from labwire.bus.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop(lambda error: None)
    yield made
    made.close()


@pytest.fixture
def log(loop: Loop, caplog: pytest.LogCaptureFixture) -> FaultLog:
    caplog.set_level(logging.ERROR)
    return FaultLog(logging.getLogger("bell"), "lab:Bell", loop)


def fail(log: FaultLog, text: str, notification: dict[str, str] | None = None) -> None:
    try:
        raise ValueError(text)
    except ValueError as error:
        log.tell(error, notification)


def test_the_first_has_its_traceback_and_those_of_the_same_place_are_counted(
    log: FaultLog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(50):
        fail(log, f"number {number}", {"subject": "ring"})
    (first,) = caplog.records
    assert first.getMessage() == "lab:Bell failed on notification 'ring': ValueError: number 0"
    assert first.exc_info is not None
    log.close()
    *_, last = caplog.records
    assert last.getMessage() == (
        "lab:Bell failed 49 times more in the same place, the last time on notification 'ring': ValueError: number 49"
    )
    assert last.exc_info is None
    assert len(caplog.records) == 2


def test_another_place_is_another_mistake(log: FaultLog, caplog: pytest.LogCaptureFixture) -> None:
    fail(log, "here")
    try:
        int("there")
    except ValueError as error:
        log.tell(error)
    log.close()
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_what_goes_on_is_told_again_and_what_ends_is_forgotten(
    log: FaultLog, loop: Loop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault_log, "REPEAT_S", 0.0)  # the time is up at each turn of the loop
    for _ in range(3):
        fail(log, "again")
    assert len(caplog.records) == 1
    loop.run_once(0)
    assert "failed 2 times more" in caplog.records[1].getMessage()
    loop.run_once(0)  # nothing came meanwhile
    fail(log, "anew")
    assert [record.exc_info is not None for record in caplog.records] == [True, False, True]
