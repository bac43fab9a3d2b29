"""Epoch timestamps count with the monotonic clock: a wall clock that steps back never takes them along."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labwire.clock import EpochAnchor

SECOND = 1_000_000_000


class Clocks:
    """A monotonic and a wall clock under the test's control, in nanoseconds."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 100 * SECOND, 1_700_000_000 * SECOND

    def anchor(self) -> EpochAnchor:
        return EpochAnchor(lambda: self.monotonic, lambda: self.wall)

    def pass_ns(self, ns: int) -> None:
        self.monotonic += ns
        self.wall += ns


def test_counts_from_the_wall_clock() -> None:
    clocks = Clocks()
    anchor = clocks.anchor()
    clocks.pass_ns(SECOND)
    assert anchor.now_us() == 1_700_000_001_000_000
    assert anchor.at(100.5) == 1_700_000_000_500_000


def test_step_back_is_held_and_told() -> None:
    clocks = Clocks()
    anchor = clocks.anchor()
    clocks.wall -= 3600 * SECOND
    clocks.pass_ns(SECOND)
    assert anchor.now_us() == 1_700_000_001_000_000
    assert anchor.held_back_s == 3600


def test_step_forward_is_followed() -> None:
    clocks = Clocks()
    anchor = clocks.anchor()
    clocks.wall += 3600 * SECOND
    assert anchor.now_us() == 1_700_003_600_000_000
    assert anchor.at(100.0) == 1_700_003_600_000_000
    assert anchor.held_back_s == 0


def test_each_step_is_told_once() -> None:
    clocks = Clocks()
    anchor = clocks.anchor()
    for step in (0, -3600, 7, 0):
        clocks.pass_ns(SECOND)
        clocks.wall += step * SECOND
        assert anchor.take_step_s() == step
    clocks.wall += SECOND // 20  # slewed
    assert anchor.take_step_s() == 0


@given(st.lists(st.tuples(st.integers(0, SECOND), st.integers(-10 * SECOND, 10 * SECOND)), max_size=30))
def test_never_goes_back(moves: list[tuple[int, int]]) -> None:
    clocks = Clocks()
    anchor = clocks.anchor()
    last = anchor.now_us()
    for passed, step in moves:
        clocks.pass_ns(passed)
        clocks.wall += step
        now = anchor.now_us()
        assert now >= last
        last = now
