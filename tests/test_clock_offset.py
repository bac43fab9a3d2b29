"""The offset between two clocks."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from labwire.clock_offset import ClockOffset, RoundTrip, measure_offset, offset_of

delays = st.lists(st.tuples(st.floats(0, 0.1), st.floats(0, 0.1)), min_size=1, max_size=20)


class Network:
    """A clock that is `offset_s` ahead, behind a network that takes its time in each direction."""

    def __init__(self, offset_s: float, there_s: Callable[[], float], back_s: Callable[[], float]) -> None:
        self.now_s = 50.0
        self._offset_s, self._there_s, self._back_s = offset_s, there_s, back_s

    def monotonic(self) -> float:
        return self.now_s

    def ask(self) -> float:
        self.now_s += self._there_s()
        answer_s = self.now_s + self._offset_s
        self.now_s += self._back_s()
        return answer_s


@given(delays, st.floats(-1e6, 1e6))
def test_the_offset_is_where_it_is_said_to_be(delays: list[tuple[float, float]], offset_s: float) -> None:
    there, back = (iter(one) for one in zip(*delays, strict=True))
    network = Network(offset_s, lambda: next(there), lambda: next(back))
    found = measure_offset(network.ask, len(delays), network.monotonic)
    assert abs(found.offset_s - offset_s) <= found.uncertainty_s + 1e-8
    best_s = min(map(sum, delays))
    assert found.uncertainty_s <= best_s / 2 + 1e-8
    assert abs(found.round_trip_s - best_s) < 1e-8


def test_an_even_network_leaves_no_error() -> None:
    network = Network(7.0, lambda: 0.005, lambda: 0.005)
    found = measure_offset(network.ask, 1, network.monotonic)
    assert abs(found.offset_s - 7.0) < 1e-9  # the printed rule of Pupil Time Sync would be 10 ms off
    assert abs(found.uncertainty_s - 0.005) < 1e-9


def test_many_round_trips_know_more_than_the_best_one(seed: int) -> None:
    delay = random.Random(seed)
    network = Network(7.0, lambda: delay.expovariate(500), lambda: delay.expovariate(500))
    found = measure_offset(network.ask, 200, network.monotonic)
    assert abs(found.offset_s - 7.0) <= found.uncertainty_s < found.round_trip_s / 2


def test_a_clock_that_is_set_meanwhile() -> None:
    assert offset_of([RoundTrip(0, 10, 1), RoundTrip(1, 99, 2)]) == ClockOffset(97.5, 0.5, 1)


def test_an_error_within_the_uncertainty_is_none() -> None:
    found = ClockOffset(1.0, 0.25, 0.5)
    assert [found.error_of(offset_s) for offset_s in (0.75, 1.25, 1.0)] == [0, 0, 0]
    assert found.error_of(1.5) == -0.5
