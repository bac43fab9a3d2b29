"""What a reader missed, by the numbers of each emitter on each topic."""

from __future__ import annotations

from labwire.wire.gap_counter import MAX_STREAMS, GapCounter


def count(*numbers: int) -> list[int]:
    counter = GapCounter()
    return [counter.see("e", "t", number) for number in numbers]


def test_missing_numbers_are_counted() -> None:
    assert count(0, 1, 2, 5, 6, 8) == [0, 0, 0, 2, 0, 1]


def test_what_was_before_the_first_is_no_gap() -> None:
    assert count(1000, 1001, 1003) == [0, 0, 1]


def test_an_emitter_that_starts_again_is_no_gap() -> None:
    assert count(7, 8, 0, 1, 2, 1, 3) == [0, 0, 0, 0, 0, 0, 1]


def test_emitters_and_topics_are_counted_apart() -> None:
    counter = GapCounter()
    firsts = [("a", "t", 3), ("b", "t", 900), ("a", "u", 70)]
    assert [counter.see(*first) for first in firsts] == [0, 0, 0]
    assert [counter.see(emitter, topic, seq + 1) for emitter, topic, seq in firsts] == [0, 0, 0]
    assert counter.see("a", "t", 6) == 1
    assert counter.see("b", "t", 904) == 2
    assert counter.missed == {("a", "t"): 1, ("b", "t"): 2}


def test_topics_that_are_forgotten_begin_anew() -> None:
    counter = GapCounter()
    counter.see("a", "frame.world", 1)
    counter.see("a", "pupil.0", 1)
    counter.forget("frame.")
    assert counter.see("a", "frame.world", 9) == 0
    assert counter.see("a", "pupil.0", 9) == 7


def test_a_flood_of_emitters_does_not_fill_the_memory() -> None:
    counter = GapCounter()
    for number in range(MAX_STREAMS + 100):
        counter.see(f"e{number}", "t", 0)
        counter.see(f"e{number}", "t", 2)
    assert len(counter._next) == len(counter.missed) == MAX_STREAMS
