"""Log records on the bus."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from labwire.bus import log_handler
from labwire.bus.log_handler import MAX_TEXT_CHARS, BusLogHandler, record_payload
from labwire.wire.bus_message import encode_payload
from tests.packing import unpack

# Source: ipc-backbone, "Log Messages", the example's keys.
SPEC_KEYS = {
    "levelname", "msg", "threadName", "name", "thread", "created", "process", "processName", "args", "module",
    "filename", "levelno", "msecs", "pathname", "lineno", "exc_text", "exc_info", "funcName", "relativeCreated",
}  # fmt: skip


class FakePublisher:
    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def notify_raw(self, topic: str, payload: Mapping[str, Any]) -> bool:
        self.sent.append((topic, unpack(encode_payload(payload))))
        return True


class Logger:
    def __init__(self) -> None:
        self.bus = FakePublisher()
        self.handler = BusLogHandler(self.bus)  # type: ignore[arg-type]
        self.log = logging.Logger("camera", logging.DEBUG)  # noqa: LOG001 - one that pytest does not listen to
        self.log.addHandler(self.handler)

    def payload(self) -> dict[str, Any]:
        ((_, payload),) = self.bus.sent
        return payload


@pytest.fixture
def logger() -> Logger:
    return Logger()


def test_a_record_goes_out_with_all_its_attributes(logger: Logger) -> None:
    logger.log.warning("%d frames lost by %s", 3, "eye0")
    ((topic, payload),) = logger.bus.sent
    assert topic == payload["topic"] == "logging.warning"
    assert set(payload) >= SPEC_KEYS
    assert (payload["msg"], payload["args"]) == ("%d frames lost by %s", [3, "eye0"])
    assert (payload["name"], payload["levelname"], payload["levelno"]) == ("camera", "WARNING", 30)
    assert payload["filename"] == Path(__file__).name
    assert payload["exc_info"] is None


@pytest.mark.parametrize("level", ["info", "warning", "error", "critical"])
def test_the_topic_is_the_level(logger: Logger, level: str) -> None:
    getattr(logger.log, level)("x")
    assert logger.bus.sent[0][0] == f"logging.{level}"


def test_info_and_above_by_default(logger: Logger) -> None:
    logger.log.debug("x")
    assert logger.bus.sent == []


def test_an_exception_becomes_its_traceback(logger: Logger) -> None:
    try:
        raise ZeroDivisionError("nothing left")
    except ZeroDivisionError:
        logger.log.exception("failed")
    payload = logger.payload()
    assert payload["exc_text"] == payload["exc_info"]
    assert "ZeroDivisionError: nothing left" in payload["exc_text"]
    assert "test_log_handler.py" in payload["exc_text"]


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize(
    ("text", "args", "words"),
    [
        ("%s", (Path("/a"),), "/a"),
        ("%(x)s", ({"x": 5},), "5"),
        ("%d", ([],), "%d"),
        ("%s", (2**80,), str(2**80)),
        ("a \udcff b", (), "a \\udcff b"),
        ("%s", ("\ud800",), "%s"),
        ("", (), ""),
        (ValueError("as message"), (), "as message"),
        (None, (), "None"),
        (b"bytes", (), "bytes"),
        ("%s and %s", (1,), "%s and %s"),
    ],
)
def test_whatever_is_logged_can_be_sent(logger: Logger, text: Any, args: tuple[Any, ...], words: str) -> None:
    logger.log.error(text, *args)
    assert words in str(logger.payload()["msg"])


def test_what_the_caller_adds_can_be_sent_too(logger: Logger) -> None:
    extra = {"odd": object(), "many": list(range(3)), "nan": math.nan, "deep": {"a": 1}, "all": [object(), "\ud800"]}
    logger.log.error("x", extra=extra)
    payload = logger.payload()
    assert payload["many"] == [0, 1, 2]
    assert payload["deep"] == "{'a': 1}"
    assert payload["all"][1] == "\\ud800"


def test_what_cannot_even_be_shown_costs_one_record_and_no_more(
    logger: Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.log.error("%s", Unshowable())
    logger.log.error("next")
    assert [payload["msg"] for _, payload in logger.bus.sent] == ["next"]
    assert "not even this" in capsys.readouterr().err


def test_a_huge_record_is_cut(logger: Logger) -> None:
    logger.log.error("x" * 10**6)
    logger.log.error("%s", "y" * 10**6)
    assert all(len(payload["msg"]) <= MAX_TEXT_CHARS for _, payload in logger.bus.sent)
    assert len(logger.bus.sent) == 2


def test_a_flood_is_held_back_and_counted(logger: Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = logger.handler._filled_s
    monkeypatch.setattr(log_handler.time, "monotonic", lambda: now_s)
    for n in range(log_handler.BURST + 70):
        logger.log.info("%d", n)
    assert len(logger.bus.sent) == log_handler.BURST
    assert logger.handler.held_back == 70
    now_s += 0.125  # a power of two, so that nothing is rounded
    for n in range(50):
        logger.log.info("later %d", n)
    later = [payload for _, payload in logger.bus.sent[log_handler.BURST :]]
    assert len(later) == log_handler.RECORDS_PER_S * 0.125
    assert later[0]["held_back_before"] == 70
    assert "held_back_before" not in later[1]


def test_logging_about_logging_does_not_go_round_in_circles(logger: Logger) -> None:
    def publish_and_log(topic: str, payload: Mapping[str, Any]) -> bool:
        logger.bus.sent.append((topic, dict(payload)))
        logger.log.error("could not publish")
        return True

    logger.bus.notify_raw = publish_and_log
    logger.log.error("first")
    assert [payload["msg"] for _, payload in logger.bus.sent] == ["first"]


def test_exc_info_without_an_exception() -> None:
    record = logging.LogRecord("n", logging.ERROR, "p", 1, "m", None, sys.exc_info())
    assert "None" in record_payload(record)["exc_text"]
