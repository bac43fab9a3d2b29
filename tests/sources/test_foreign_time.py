"""Times of another rig, moved."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from labwire.sources.foreign_time import TIME_KEYS, shift_times

GAZE = {
    "topic": "gaze.3d.01.",
    "timestamp": 100.0,
    "confidence": 1.0,
    "base_data": [
        {"topic": "pupil.0.3d", "timestamp": 99.5, "ellipse": {"axes": [1.0, 2.0]}},
        {"topic": "pupil.1.3d", "timestamp": 99.75},
    ],
}
SURFACE = {
    "timestamp": 100.0,
    "gaze_on_surfaces": [{"timestamp": 99.0, "base_data": ["gaze.3d.0.", 98.0], "on_surf": True}],
}
NOT_TIMES = {"timestamps": [1.0], "time": 2.0, "created": 3.0, "timestamp_unit": "s"}


def test_gaze() -> None:
    moved = shift_times(GAZE, 10.0)
    assert moved["timestamp"] == 110.0
    assert [one["timestamp"] for one in moved["base_data"]] == [109.5, 109.75]
    assert moved["base_data"][0]["ellipse"] == {"axes": [1.0, 2.0]}
    assert GAZE["timestamp"] == 100.0, "the original stays"


def test_surfaces_fixations_and_recordings() -> None:
    (item,) = shift_times(SURFACE, -1.0)["gaze_on_surfaces"]
    assert item == {"timestamp": 98.0, "base_data": ["gaze.3d.0.", 97.0], "on_surf": True}
    fixation = shift_times({"timestamp": 5, "duration": 200.0, "base_data": [["gaze.2d.0.", 4.5]]}, 1.0)
    assert fixation == {"timestamp": 6.0, "duration": 200.0, "base_data": [["gaze.2d.0.", 5.5]]}
    assert shift_times({"start_time_synced": 7.0}, 1.0) == {"start_time_synced": 8.0}


def test_what_is_no_time_stays() -> None:
    assert shift_times(NOT_TIMES, 10.0) == NOT_TIMES
    assert shift_times({"timestamp": "now"}, 1.0) == {"timestamp": "now"}
    assert shift_times({"timestamp": True, 3: 1.0}, 1.0) == {"timestamp": True, 3: 1.0}


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*TIME_KEYS, "base_data", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=5), anything))
def test_moved_there_and_back(payload: dict[str, Any]) -> None:
    assert shift_times(shift_times(payload, 3), -3) == payload


def test_what_is_nested_without_end_is_left_alone() -> None:
    deep: dict[str, Any] = {"timestamp": 1.0}
    for _ in range(2000):
        deep = {"x": deep}
    assert shift_times(deep, 1.0)["x"]
