from __future__ import annotations

from labwire.sessions.gaps import GapCounter


def count(*numbers: int) -> list[int]:
    counter = GapCounter()
    return [counter.missing_before(b"t", number) for number in numbers]


def test_missing_numbers_are_counted() -> None:
    assert count(0, 1, 2, 5, 6, 8) == [0, 0, 0, 2, 0, 1]


def test_what_was_before_the_recording_is_no_gap() -> None:
    assert count(1000, 1001, 1003) == [0, 0, 1]


def test_an_emitter_that_starts_again_is_no_gap() -> None:
    assert count(7, 8, 0, 1, 2, 1, 3) == [0, 0, 0, 0, 0, 0, 1]


def test_two_emitters_on_one_topic_are_not_counted() -> None:
    assert sum(count(5, 900, 6, 901, 7, 902, 8)) == 894
    assert count(5, 900, 6, 901, 7, 902, 8)[2:] == [0] * 5


def test_topics_are_counted_apart() -> None:
    counter = GapCounter()
    assert counter.missing_before(b"a", 3) + counter.missing_before(b"b", 9) == 0
    assert counter.missing_before(b"a", 5) == 1
    assert counter.missing_before(b"b", 10) == 0


def test_a_flood_of_topics_does_not_fill_the_memory() -> None:
    counter = GapCounter()
    for number in range(20_000):
        assert counter.missing_before(b"%d" % number, 5) == 0
    assert counter.missing_before(b"19999", 9) == 0
    assert counter.missing_before(b"1", 9) == 3
