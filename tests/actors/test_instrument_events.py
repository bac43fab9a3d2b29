"""What the log and the bus hear of events, without a server."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from labwire.actors.instrument_events import InstrumentEvents
from labwire.errors import NotFoundError, PeerGoneError


class Bench:
    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.published: list[str] = []
        self.events = InstrumentEvents(logging.getLogger("instruments"), self._tell, self._publish)

    def _tell(self, kind: str, name: str, data: dict[str, Any]) -> None:
        self.told.append((kind, name, data))

    def _publish(self, name: str) -> None:
        self.published.append(name)
        if name == "GONE":
            raise NotFoundError("no instrument 'GONE'")


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("started", {"pid": 1}, "instrument DMM1 is ready"),
        ("died", {"why": "ended by SIGKILL", "starts_again_in_s": 0.4}, "died: ended by SIGKILL; it starts again in 0"),
        ("died", {"why": "no heartbeat", "external": True}, "died: no heartbeat; its worker is external, and whoever"),
        ("given_up", {"why": "11 deaths in a row", "last_error": "no port"}, "given up: 11 deaths in a row (no port)"),
        ("stuck", {"command_id": "DMM1-7"}, "command DMM1-7 is past its timeout"),
    ],
)
def test_what_all_actors_hear_is_logged_too(
    kind: str, data: dict[str, Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    with caplog.at_level(logging.INFO):
        bench.events(kind, "DMM1", data)
    assert text in caplog.text
    assert bench.told == [(kind, "DMM1", data)]
    assert bench.published == ["DMM1"]


def test_what_concerns_one_message_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.events("late_response", "DMM1", {"command_id": "DMM1-3"})
    assert "instrument DMM1: late response (command id DMM1-3)" in caplog.text
    bench.events("protocol_error", "DMM1", {"error": "no such type", "begins_with": "b'9'"})
    assert "instrument DMM1: protocol error: no such type (begins with b'9')" in caplog.text
    assert bench.told == []


def test_an_error_is_told_as_its_text() -> None:
    bench = Bench()
    bench.events("died", "DMM1", {"why": PeerGoneError("gone")})
    assert bench.told == [("died", "DMM1", {"why": "gone"})]


def test_one_that_was_taken_out_stops_without_a_state() -> None:
    bench = Bench()
    bench.events("stopped", "GONE", {})
    assert bench.told == [("stopped", "GONE", {})]


def test_a_driver_s_records_are_records_again_under_its_name(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.events("log", "DMM1", {"level": "ERROR", "name": "x", "text": "DMM1: overload", "lineno": 7})
    bench.events("log", "DMM1", {"message": "Segmentation fault"})
    records = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert records == [
        ("DMM1", "ERROR", "overload"),
        ("instruments", "WARNING", "DMM1 wrote: Segmentation fault"),
    ]
