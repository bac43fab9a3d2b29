"""One axis, whatever the clocks do."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from labwire.sessions.manifest import read_manifest
from labwire.sessions.reading.overview import overview_of
from labwire.sessions.reading.time_axis import AxisStart, TimeAxis
from labwire.sessions.sink import ClockChange
from tests.sessions.recorded import STEP_S, record_session

START = AxisStart(monotonic_s=100.0, rig_time_s=1000.0, epoch_ns=1_700_000_000_000_000_000)
JUMPED = TimeAxis(START, [ClockChange(900.0, -95.0, 110.0), ClockChange(-95.0, 900.0, 120.0)])


def test_a_timestamp_from_before_a_jump_that_came_behind_it_is_in_its_place() -> None:
    assert JUMPED.of_timestamp(1009.9, 10.1) == 1009.9 - 1000.0
    assert math.isclose(JUMPED.of_timestamp(15.5, 10.6), 10.5)
    assert math.isclose(JUMPED.of_timestamp(1025.0, 25.0), 25.0)


@given(st.none() | st.floats(), st.floats(0.0, 1e6))
def test_a_timestamp_of_another_clock_gives_way_to_the_arrival(timestamp: float | None, arrival_s: float) -> None:
    assert abs(JUMPED.of_timestamp(timestamp, arrival_s) - arrival_s) <= 10.0


def test_arrival_and_log_time_are_each_others_inverse() -> None:
    assert JUMPED.of_arrival(JUMPED.log_time_ns(12.5)) == 12.5


def test_marks_are_on_the_axis_even_behind_a_jump(tmp_path: Path) -> None:
    folder, _ = record_session(tmp_path, jump_at=30)
    assert len(read_manifest(folder).clock_changes) == 1
    marks = overview_of(folder).marks
    assert [mark.label for mark in marks] == ["mark 7", "mark 27", "mark 47"]
    steps = [(later.time_s - sooner.time_s) / STEP_S for sooner, later in itertools.pairwise(marks)]
    assert all(abs(step - 20) < 0.5 for step in steps), marks
