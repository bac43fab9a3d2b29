"""What waits for a browser: the newest picture, bounded lists, and counts of what was dropped."""

from __future__ import annotations

from typing import Any

import pytest

from labwire.errors import UsageError
from labwire.web.mailbox import IN_FLIGHT, MAX_NEWEST, MAX_TAIL, Item, Mailbox, SeriesWish, Wish


def box(**wish: Any) -> tuple[Mailbox, list[int]]:
    woken: list[int] = []
    made = Mailbox(lambda: woken.append(1))
    made.set_wish(Wish(**wish))
    return made, woken


def item(topic: str, raw: bytes | None = None, **payload: Any) -> Item:
    return Item(topic, payload, [] if raw is None else [raw], 5.0)


def test_pictures_are_conflated_and_at_most_two_are_on_their_way() -> None:
    made, woken = box(pictures=["frame.world"])
    taken: list[bytes] = []
    for n in range(10):
        made.put(item("frame.world", bytes([n])))
        if picture := made.take_picture():
            taken += picture.raw
    assert taken == [b"\x00", b"\x01"]
    assert len(taken) == IN_FLIGHT
    assert made.dropped == {"frame.world": 7}
    assert len(woken) == 2
    assert made.shown("frame.world")
    picture = made.take_picture()
    assert picture
    assert picture.raw == [b"\x09"]
    assert made.take_picture() is None


def test_a_browser_that_says_it_has_shown_more_than_it_got_gains_nothing() -> None:
    made, _ = box(pictures=["f"])
    for _ in range(5):
        assert not made.shown("f")
        assert not made.shown("unknown")
    for _ in range(5):
        made.put(item("f", b"x"))
        made.take_picture()
    made.put(item("f", b"y"))
    assert made.take_picture() is None


def test_the_newest_of_each_topic() -> None:
    made, _ = box(newest=["camera."])
    for n in range(3):
        made.put(item("camera.a", n=n))
        made.put(item("camera.b", n=n))
        made.put(item("other", n=n))
    newest, tail = made.take_messages()
    assert [(one.topic, one.payload["n"]) for one in newest] == [("camera.a", 2), ("camera.b", 2)]
    assert tail == []
    assert made.take_messages() == ([], [])


def test_one_by_one_is_bounded_and_counted() -> None:
    made, _ = box(all=["logging."])
    for n in range(MAX_TAIL + 7):
        made.put(item("logging.info", n=n))
    _, tail = made.take_messages()
    assert [one.payload["n"] for one in tail] == list(range(7, MAX_TAIL + 7))
    assert made.dropped == {"logging.info": 7}


def test_topics_are_bounded_too() -> None:
    made, _ = box(newest=[""])
    for n in range(MAX_NEWEST + 3):
        made.put(item(f"t{n}"))
    newest, _ = made.take_messages()
    assert len(newest) == MAX_NEWEST
    assert sum(made.dropped.values()) == 3


def test_series_use_the_timestamp_or_the_arrival() -> None:
    made, _ = box(series=[SeriesWish("a", "t", "v"), SeriesWish("b", "t", "w.0")])
    made.put(item("t", v=1, timestamp=2.5))
    made.put(item("t", v=2, w=[7]))
    made.put(item("t2", v=9))
    rows, columns = made.take_series()
    assert rows == [("a", 2, 0), ("b", 1, 0)]
    assert [list(memoryview(column).cast("d")) for column in columns] == [[2.5, 5.0], [1.0, 2.0], [5.0], [7.0]]
    assert made.take_series() == ([], [])


def test_a_series_that_stays_keeps_its_points() -> None:
    wish = SeriesWish("a", "t", "v", 1.0)
    made, _ = box(series=[wish])
    made.put(item("t", v=1, timestamp=2.0))
    made.set_wish(Wish(series=[wish, SeriesWish("b", "t", "v")]))
    assert made.take_series()[0] == [("a", 1, 0)]


def test_what_the_rig_kept_comes_first_but_never_over_something_newer() -> None:
    made, _ = box(newest=["s."])
    made.put(item("s.a", n=2))
    made.begin_with({"s.a": item("s.a", n=1), "s.b": item("s.b", n=1)})
    newest, _ = made.take_messages()
    assert [(one.topic, one.payload["n"]) for one in newest] == [("s.a", 2), ("s.b", 1)]


def test_what_was_logged_before_comes_first_and_once() -> None:
    made, _ = box(all=["logging."])
    lines = [item("logging.info", n=n) for n in range(MAX_TAIL + 5)]
    made.put(lines[-1])
    made.begin_tail(lines)
    _, tail = made.take_messages()
    assert [one.payload["n"] for one in tail] == [*range(5, MAX_TAIL + 4), MAX_TAIL + 4]


def test_a_wish_that_names_no_field() -> None:
    with pytest.raises(UsageError):
        Mailbox(lambda: None).set_wish(Wish(series=[SeriesWish("a", "t", "")]))


def test_what_waits_to_be_read_holds_no_raw_parts() -> None:
    made, _ = box(newest=["eye."], all=["frame."])
    picture = item("frame.world", bytes(1000))
    made.put(picture)
    made.put(item("eye.0", bytes(10)))
    newest, tail = made.take_messages()
    assert [(one.raw, one.raw_bytes) for one in (*newest, *tail)] == [([], 10), ([], 1000)]
    made.put(picture)
    made.begin_tail([picture.without_raw()])  # which waits already
    assert [one.raw_bytes for one in made.take_messages()[1]] == [1000]
