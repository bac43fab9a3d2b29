"""What passes over the bus: rates, last values, readers that do not keep up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.bus import traffic
from labwire.bus.ports import Connection
from labwire.bus.traffic import MAX_KEPT_BYTES, OTHERS, LastValues, ReaderWatch, TopicCounter
from labwire.wire.zmtp import Heard
from tests.packing import pack


def heard(parts: list[bytes]) -> Heard:
    return Heard(parts[0], parts[1] if len(parts) > 1 else None, sum(map(len, parts)))


def message(topic: str, *raw: bytes, **payload: object) -> Heard:
    return heard([topic.encode(), pack(payload), *raw])


def test_rates_are_of_the_interval_and_totals_of_all() -> None:
    counter = TopicCounter()
    for _ in range(10):
        counter.count(message("a", x=1))
    counter.count(message("b", b"0123456789"))
    rows = counter.take(2.0)
    assert [(row.topic, row.messages_hz, row.total) for row in rows] == [("a", 5.0, 10), ("b", 0.5, 1)]
    assert rows[1].bytes_hz == (1 + 1 + 10) / 2.0
    counter.count(message("b"))
    assert [(row.topic, row.messages_hz, row.total) for row in counter.take(1.0)] == [("b", 1.0, 2), ("a", 0.0, 10)]
    assert counter.total == 12


def test_a_flood_of_topics_ends_up_in_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MAX_TOPICS", 10)
    counter = TopicCounter()
    for n in range(100):
        counter.count(message(f"t{n}"))
    rows = counter.take(1.0)
    assert len(rows) == 11
    assert next(row for row in rows if row.topic == OTHERS).total == 90


@pytest.mark.parametrize(
    "parts",
    [
        [b"x"],
        [b"x", b""],
        [b"x", b"\xc1"],
        [b"x", b"\x93\x01\x02\x03"],
        [b"notify.x", b"\x80"],
        [b"notify.x", b"\x81\xa7subject\x05"],
        [b"notify.x", b"\x81\xa7subject"],
        [b"\xff\xff", b"text"],
    ],
)
def test_what_nobody_can_read_is_counted(parts: list[bytes]) -> None:
    counter = TopicCounter()
    counter.count(heard(parts))
    assert (counter.malformed, counter.total) == (1, 1)


def test_what_can_be_read_is_not() -> None:
    counter = TopicCounter()
    large = heard([b"x", pack({n: n for n in range(70_000)})])
    for fine in (message("x"), message("notify.x", subject="x"), large):
        counter.count(fine)
    assert counter.malformed == 0


@given(st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=3), max_size=20))
def test_garbage_is_only_counted(messages: list[list[bytes]]) -> None:
    counter, last = TopicCounter(), LastValues()
    for parts in messages:
        counter.count(heard(parts))
        last.keep(heard(parts), 0.0)
    last.find("")
    assert sum(row.total for row in counter.take(1.0)) == len(messages)


def test_the_newest_value_of_each_topic_is_kept() -> None:
    last = LastValues()
    last.keep(message("a.x", n=1), 1.0)
    last.keep(message("a.x", b"raw", n=2), 2.0)
    last.keep(message("a.y", n=3), 3.0)
    last.keep(message("b", n=4), 4.0)
    assert [(value.topic, value.payload, value.received_monotonic_s) for value in last.find("a.")] == [
        ("a.x", {"n": 2}, 2.0),
        ("a.y", {"n": 3}, 3.0),
    ]
    assert len(last.find("")) == 3
    assert last.find("c") == []


def test_what_is_too_large_or_unreadable_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MAX_TOPICS", 3)
    last = LastValues()
    last.keep(message("big", x=bytes(MAX_KEPT_BYTES)), 0.0)
    last.keep(heard([b"single"]), 0.0)
    last.keep(heard([b"junk", b"\xc1"]), 0.0)
    last.keep(heard([b"\xff", b"\x80"]), 0.0)
    last.keep(message("good"), 0.0)
    last.keep(message("one too many"), 0.0)
    assert [value.topic for value in last.find("")] == ["good"]


# --- readers


class Watch:
    def __init__(self) -> None:
        self.cuts: list[tuple[str, int, float]] = []
        self.watch = ReaderWatch(2.0, lambda *cut: self.cuts.append(cut))

    def look(self, now_s: float, **unsent: int) -> None:
        self.watch.look([Connection(1, peer, 1, count, 0) for peer, count in unsent.items()], now_s)


def test_a_reader_that_stood_still_and_is_gone_was_cut() -> None:
    readers = Watch()
    readers.look(0.0, a=0, b=0)
    readers.look(1.0, a=500, b=500)
    readers.look(2.0, a=900, b=0)
    assert [(row.peer, row.bytes_behind, row.behind_s) for row in readers.watch.readers] == [
        ("a", 900, 1.0),
        ("b", 0, 0),
    ]
    readers.look(3.5, b=0)
    assert readers.cuts == [("a", 900, 2.5)]
    assert readers.watch.cut == 1
    readers.look(4.0, b=0)
    assert readers.watch.cut == 1


def test_a_reader_that_says_goodbye_was_not_cut() -> None:
    readers = Watch()
    readers.look(0.0, a=0)
    readers.look(10.0)
    readers.look(11.0, b=700)
    readers.look(11.5)
    assert readers.cuts == []


def test_a_reader_that_is_behind_but_reads_was_not_cut() -> None:
    readers = Watch()
    for step in range(20):
        readers.look(step * 0.25, a=10_000 - 100 * step)
    readers.look(6.0)
    assert readers.cuts == []


def test_a_reader_that_comes_back_begins_anew() -> None:
    readers = Watch()
    readers.look(0.0, a=500)
    readers.look(3.0)
    readers.look(4.0, a=500)
    readers.look(4.5)
    assert len(readers.cuts) == 1
