"""How a clock is brought to another one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labwire.clock_offset import ClockOffset
from labwire.time_sync.steering import DEAD_BAND_S, JUMP_S, SLEW_RATE, Steering


def wanted(offset_s: float) -> ClockOffset:
    return ClockOffset(offset_s, 1e-5, 2e-5)


def test_far_off_it_jumps_unless_it_may_not() -> None:
    steering = Steering()
    assert steering.aim(wanted(5.0), 0.0, may_jump=True) == 5.0
    assert steering.aim(wanted(5.0), 0.0, may_jump=False) == 0.0
    assert not steering.slewing


def test_within_what_is_known_it_stays() -> None:
    steering = Steering()
    assert steering.aim(wanted(DEAD_BAND_S / 2), 0.0, may_jump=True) == 0.0
    assert steering.aim(ClockOffset(0.5, 0.6, 1.2), 0.0, may_jump=True) == 0.0
    assert not steering.slewing
    assert steering.step(3.0, 1.0) == 3.0


@given(st.floats(DEAD_BAND_S * 2, JUMP_S * 0.99), st.sampled_from([1, -1]), st.floats(0.001, 0.5))
def test_near_by_it_is_slewed(distance_s: float, side: int, elapsed_s: float) -> None:
    target_s = side * distance_s
    steering = Steering()
    offset_s = steering.aim(wanted(target_s), 0.0, may_jump=False)
    assert offset_s == 0.0
    while steering.slewing:
        before_s, offset_s = offset_s, steering.step(offset_s, elapsed_s)
        assert abs(offset_s - before_s) <= SLEW_RATE * elapsed_s + 1e-12
        assert elapsed_s + offset_s - before_s > 0, "rig time goes on"
    assert offset_s == target_s
