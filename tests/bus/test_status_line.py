"""The line that shows a rig at work."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.bus.status_line import StatusLine
from labwire.operations.bus import BusStats, GapReport, TopicStats


def stats(*topics: tuple[str, float], **more: Any) -> BusStats:
    rows = [TopicStats(topic, rate, 0.0, 0) for topic, rate in topics]
    values: dict[str, Any] = {
        "timestamp": 0.0, "messages_hz": 0.0, "bytes_hz": 2.5e6, "messages": 0, "topics": rows,
        "readers": [], "gaps": [], "slow_subscribers_cut": 0, "malformed": 0,
    }  # fmt: skip
    return BusStats(**{**values, **more})


def test_it_shows_rates_and_losses() -> None:
    topics = (("pupil.0", 120), ("pupil.1", 120), ("frame.world", 30), ("bus.stats", 1), ("logging.info", 9))
    line = StatusLine().text(stats(*topics, gaps=[GapReport("a", "b", 3)], slow_subscribers_cut=2))
    assert line.strip().split(" │ ") == ["pupil 240/s · world 30/s", "2.5 MB/s", "missed 3", "cut 2"]


def test_a_quiet_bus() -> None:
    assert StatusLine().text(stats(("pupil.0", 0))).strip().startswith("quiet")


def test_a_recording_and_the_disk() -> None:
    line = StatusLine()
    line.notice({"subject": "recording.started", "rec_path": "/data/my pilot/003"})
    line.recorder = {"duration_s": 125.9, "written_bytes": 2e6, "dropped": 4, "free_bytes": 50e9, "disk_hours": 7.4}
    expected = "  ● my pilot/003 2:05, 2 MB, 4 DROPPED │ disk 50 GB = 7 h │ missed 0 │ cut 0 │ "
    assert line.text(stats()).startswith(expected), "first what a narrow terminal must not cut"
    line.notice({"subject": "recording.stopped"})
    assert "●" not in line.text(stats())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "x", None, True, [1], -1, 2**63])
def test_garbage_is_shown_as_something(value: object) -> None:
    line = StatusLine()
    line.notice({"subject": "recording.started", "rec_path": value})
    line.recorder = dict.fromkeys(("duration_s", "written_bytes", "dropped", "free_bytes", "disk_hours"), value)
    assert line.text(stats())


@given(st.dictionaries(st.text(max_size=9), st.floats() | st.text(max_size=5)))
def test_anything_may_be_said_of_a_recorder(state: dict[Any, Any]) -> None:
    line = StatusLine()
    line.notice({"subject": "recording.started"})
    line.recorder = state
    assert line.text(stats())
