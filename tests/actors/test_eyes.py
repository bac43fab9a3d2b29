"""The simulated eyes as an actor: what Pupil clients ask of an eye process is answered."""

from __future__ import annotations

import logging

import pytest

from labwire.actors.eyes import SimulatedEyes
from labwire.testing import ActorBench

SOURCE = {"kind": "simulated_eyes", "eyes": [0]}


def test_an_eye_that_is_asked_to_start_says_that_it_is_there() -> None:
    with ActorBench(SimulatedEyes, source=SOURCE) as bench:
        assert [said["eye_id"] for said in bench.notified("eye_process.started")] == [0]
        bench.sent.clear()
        bench.notify("eye_process.should_start.0", eye_id=0, delay=0.3)
        assert [said["eye_id"] for said in bench.notified("eye_process.started")] == [0]


@pytest.mark.parametrize("fields", [{}, {"eye_id": 7}, {"eye_id": "0"}, {"eye_id": [0]}])
def test_an_eye_that_is_not_there_is_warned_of(fields: dict[str, object], caplog: pytest.LogCaptureFixture) -> None:
    with ActorBench(SimulatedEyes, source=SOURCE) as bench:
        bench.sent.clear()
        with caplog.at_level(logging.WARNING):
            bench.notify("eye_process.should_start", **fields)
        assert bench.notified("eye_process.started") == []
    assert "no eye with eye_id" in caplog.text
