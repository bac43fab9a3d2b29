"""The offset between two clocks, from questions and answers, with the bounds that they prove.

The answer was read off the other clock somewhere between question and reply. So each round trip proves that the offset
lies between two numbers, half a round trip away from the middle at most; all round trips together prove what their
intervals have in common. That is the best of both directions, even if they never were best in the same round trip.

(The rule that Pupil Time Sync v1 prints, t0 - (t1 + (t2 - t0) / 2), is off by a whole round trip.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec


class RoundTrip(NamedTuple):
    """One question and its answer, in seconds."""

    sent_s: float
    """This computer's clock before the question."""
    answer_s: float
    """The other clock, somewhere in between."""
    received_s: float
    """This computer's clock after the answer."""

    @property
    def duration_s(self) -> float:
        """From question to answer."""
        return self.received_s - self.sent_s


class ClockOffset(msgspec.Struct, frozen=True):
    """The other clock minus this computer's monotonic clock."""

    offset_s: float
    uncertainty_s: float
    """The true offset is within this of `offset_s`; at most half of the best round trip."""
    round_trip_s: float
    """The best round trip."""

    def now(self) -> float:
        """Return the time of the other clock, in seconds."""
        return time.monotonic() + self.offset_s

    def error_of(self, offset_s: float) -> float:
        """Return how far an offset that is in use is outside of what was measured, in seconds; 0 if it is inside."""
        difference_s = self.offset_s - offset_s
        return 0.0 if abs(difference_s) <= self.uncertainty_s else difference_s


def offset_of(trips: Sequence[RoundTrip]) -> ClockOffset:
    """Return the offset that some round trips prove, made in quick succession.

    >>> offset_of([RoundTrip(0.0, 100.5, 1.0), RoundTrip(1.0, 101.25, 1.5)])
    ClockOffset(offset_s=100.0, uncertainty_s=0.25, round_trip_s=0.5)

    If they contradict each other, because one of the clocks was set meanwhile, the last one counts.

    Args:
        trips: At least one.
    """
    best_s = min(trip.duration_s for trip in trips)
    lowest_s = max(trip.answer_s - trip.received_s for trip in trips)
    highest_s = min(trip.answer_s - trip.sent_s for trip in trips)
    if lowest_s > highest_s:
        last = trips[-1]
        lowest_s, highest_s = last.answer_s - last.received_s, last.answer_s - last.sent_s
    return ClockOffset((lowest_s + highest_s) / 2, (highest_s - lowest_s) / 2, best_s)


def measure_offset(
    ask: Callable[[], float], count: int, monotonic: Callable[[], float] = time.monotonic
) -> ClockOffset:
    """Ask for the time `count` times.

    Args:
        ask: Asks the other side for its time, in seconds.
        count: How often; at least once.
        monotonic: Reads this computer's clock.
    """
    trips: list[RoundTrip] = []
    for _ in range(max(1, count)):
        before_s = monotonic()
        answer_s = ask()
        trips.append(RoundTrip(before_s, answer_s, monotonic()))
    return offset_of(trips)
