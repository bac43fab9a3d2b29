"""Messages and rates as ``labwire sub`` prints them, from a subscription that is not there."""

from __future__ import annotations

import datetime as dt
import io
import math
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console

from labwire.cli.sub import line_of, take
from labwire.cli.sub_stats import RateCounter, TopicRate, show_stats, table_of_rates
from labwire.errors import DeadlineError
from labwire.wire.bus_message import BusMessage, encode_payload

NOON = dt.datetime(2030, 1, 2, 12, 0, 0, 123_456)  # noqa: DTZ001 - only its clock time is printed


class FakeSubscription:
    """Gives what it was given, then nothing more."""

    def __init__(self, messages: list[Any]) -> None:
        self.waiting = list(messages)
        self.gaps = {("camera", "frame.world"): 3, ("other", "frame.world"): 1}

    def recv(self, timeout_s: float | None = None) -> Any:
        if not self.waiting:
            raise DeadlineError("none")
        return self.waiting.pop(0)

    def statistics(self) -> SimpleNamespace:
        return SimpleNamespace(dropped=2)


def test_a_line_has_time_topic_payload_and_sizes() -> None:
    message = BusMessage("frame.world", {"topic": "frame.world", "width": 640}, (b"x" * 2000,))
    assert line_of(message, NOON) == "12:00:00.123  frame.world  width=640  +1 raw: 2.00 kB"


def test_a_log_record_is_what_it_says() -> None:
    record = {"name": "hub", "levelname": "ERROR", "levelno": 40, "msg": "%s lost %d", "args": ["world", 3]}
    assert line_of(BusMessage("logging.error", record), NOON) == "12:00:00.123  logging.error  hub: world lost 3"
    failed = {**record, "exc_text": "Traceback ...\n  \x1b[2J here"}
    _, *trace = line_of(BusMessage("logging.error", failed), NOON).splitlines()
    assert trace == ["    Traceback ...", "      \N{REPLACEMENT CHARACTER}[2J here"]
    nonsense = line_of(BusMessage("logging.error", {**record, "args": {"a": 1}}), NOON)
    assert nonsense.endswith("hub: %s lost %d {'a': 1}")
    assert line_of(BusMessage("note", {"msg": "hello"}), NOON).endswith("note  msg=hello")


def test_a_message_with_nothing_in_it_is_its_topic() -> None:
    assert line_of(BusMessage("bare", {}), NOON) == "12:00:00.123  bare"


def test_raw_parts_are_shown_from_their_beginning() -> None:
    lines = line_of(BusMessage("t", {}, (b"\x00\xff", bytes(100))), NOON, raw=True).splitlines()
    assert lines[1:] == ["    00 ff", f"    {bytes(32).hex(' ')} …"]


def test_a_foreign_topic_cannot_steer_the_terminal() -> None:
    assert line_of(BusMessage("a\x1b[2Jb\n", {"k\x07": "\r"}), NOON).isprintable()


def test_take_ends_after_enough_or_when_nothing_comes() -> None:
    fake = cast("Any", FakeSubscription([1, 2, 3, 4]))
    assert list(take(fake, float("inf"), 2)) == [1, 2]
    assert list(take(fake, float("inf"), 0)) == []
    assert list(take(fake, 60.0)) == [3, 4]
    assert list(take(cast("Any", FakeSubscription([1])), 0.0)) == []


def test_who_hears_nothing_is_told_once() -> None:
    told: list[str] = []
    assert list(take(cast("Any", FakeSubscription([])), math.inf, on_quiet=lambda: told.append("quiet"))) == []
    assert told == ["quiet"]
    assert list(take(cast("Any", FakeSubscription([1])), math.inf, on_quiet=lambda: told.append("again"))) == [1]
    assert told == ["quiet"], "something has come"


def test_rates_are_counted_by_topic_busiest_first() -> None:
    counter = RateCounter()
    for parts in [[b"a", b"12345"]] * 2 + [[b"b", b"1", b"raw"]] * 6:
        counter.count(parts)
    assert counter.take(2.0, {"b": 7}) == [TopicRate("b", 3.0, 15.0, 6, 7), TopicRate("a", 1.0, 6.0, 2, None)]
    counter.count([b"a"])
    assert counter.take(1.0, {}) == [TopicRate("a", 1.0, 1.0, 3, None), TopicRate("b", 0.0, 0.0, 6, None)]


def test_one_message_has_no_rate() -> None:
    counter = RateCounter()
    counter.count([b"a", b"12345"])
    rows = counter.take(0.001, {})
    assert rows == [TopicRate("a", None, None, 1, None)]
    stream = io.StringIO()
    Console(file=stream, width=120).print(table_of_rates(rows, 0))
    assert "no rates: what came took less than 0.1 s" in stream.getvalue()


def test_nothing_missed_is_said_only_where_messages_have_numbers() -> None:
    counter = RateCounter()
    numbered, foreign = encode_payload({"seq": 4, "emitter": "camera"}), encode_payload({"timestamp": 1.0})
    for parts in [[b"numbered", numbered], [b"foreign", foreign], [b"odd", b"\xc1"], [b"bare"]]:
        counter.count(parts)
    rows = counter.take(1.0, {})
    assert {row.topic: row.missed for row in rows} == {"numbered": 0, "foreign": None, "odd": None, "bare": None}
    stream = io.StringIO()
    Console(file=stream, width=120).print(table_of_rates(rows, 0))
    assert "no numbers" in stream.getvalue()


def test_stats_as_json_are_one_line_a_turn(capsys: pytest.CaptureFixture[str]) -> None:
    fake = cast("Any", FakeSubscription([[b"frame.world", b"x"]] * 5))
    show_stats(fake, as_json=True, limit=5)
    (line,) = capsys.readouterr().out.splitlines()
    turn = msgspec.json.decode(line)
    assert turn["dropped"] == 2
    assert turn["topics"][0]["topic"] == "frame.world"
    assert turn["topics"][0]["messages"] == 5
    assert turn["topics"][0]["missed"] == 4


def test_stats_for_people_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_stats(cast("Any", FakeSubscription([[b"pupil.0", b"x"]] * 3)), as_json=False, limit=3)
    out = capsys.readouterr().out
    assert "pupil.0" in out
    assert "2 messages dropped here" in out


def test_who_sees_empty_tables_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwire.cli.sub_stats._INTERVAL_S", 0.01)
    told: list[str] = []
    silent = cast("Any", FakeSubscription([]))
    show_stats(silent, as_json=True, limit_s=1.0, on_quiet=lambda: told.append("quiet"))
    assert told == ["quiet"]


def test_a_long_table_says_what_it_leaves_out() -> None:
    stream = io.StringIO()
    rows = [TopicRate(f"t{n}", 1.0, 1.0, 1, 0) for n in range(50)]
    Console(file=stream, width=120).print(table_of_rates(rows, 0))
    assert "10 more topics" in stream.getvalue()
