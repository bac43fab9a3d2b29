"""The two clocks of a rig."""

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.clock import RigClock, monotonic_s
from labwire.errors import UsageError


def test_rig_time_begins_as_the_monotonic_clock() -> None:
    clock = RigClock.create()
    before = monotonic_s()
    assert before <= clock.now() <= monotonic_s()
    clock.close()


@given(st.floats(min_value=-1e12, max_value=1e12))
def test_rig_time_counts_from_what_it_was_set_to(value: float) -> None:
    clock = RigClock.create()
    before = monotonic_s()
    clock.set_now(value)
    now = clock.now()
    assert value - 1e-3 <= now <= value + (monotonic_s() - before) + 1e-3
    assert clock.at(before) <= now + 1e-3
    clock.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e15, -1e300])
def test_rig_time_refuses_what_is_no_time(value: float) -> None:
    clock = RigClock.create()
    with pytest.raises(UsageError, match="rig time"):
        clock.set_now(value)
    assert clock.offset_s == 0.0
    clock.close()


def test_all_processes_of_a_rig_share_one_clock() -> None:
    clock = RigClock.create()
    assert clock.fd is not None
    child = "import sys; from labwire.clock import RigClock; c = RigClock.join(int(sys.argv[1])); c.set_now(5000.0)"
    subprocess.run([sys.executable, "-c", child, str(clock.fd)], pass_fds=[clock.fd], check=True)
    assert 5000.0 <= clock.now() < 5060.0
    clock.close()


def test_close_may_be_called_twice() -> None:
    clock = RigClock.create()
    clock.close()
    clock.close()
