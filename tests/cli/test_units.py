"""Numbers for people."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.cli.units import clock_time, duration, label, quantity, size


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("pid", 7, "7"),
        ("pid", None, "-"),
        ("last_error", "", "-"),
        ("exposed", True, "yes"),
        ("exposed", False, "no"),
        ("size_bytes", 999, "999 B"),
        ("size_bytes", 1_234_567, "1.23 MB"),
        ("bytes_behind", 12_345, "12.3 kB"),
        ("bytes_hz", 999_999, "1.00 MB"),
        ("messages_hz", 119.97, "120.0"),
        ("uptime_s", 12.34, "12.3 s"),
        ("duration_s", 3725.0, "1 h 02 min"),
        ("rig_time_s", 1234.5678, "1234.568 s"),
        ("wall_offset_s", -0.0001, "0.000 s"),
        ("wall_offset_s", 0, "0.000 s"),
        ("services", ["a", "b"], "a, b"),
        ("services", [], "-"),
        ("about", {"a": 1}, '{"a":1}'),
        ("share", 0.25, "0.25"),
        ("name", "eyes", "eyes"),
    ],
)
def test_the_name_tells_the_unit(name: str, value: Any, text: str) -> None:
    assert quantity(name, value) == text


def test_a_moment_is_local_date_and_time() -> None:
    assert len(clock_time(1_700_000_000_000_000)) == len("2023-11-14 22:13:20")
    assert clock_time(10**30) == str(10**30)


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("size_bytes", "size"),
        ("start_epoch_us", "start"),
        ("actor_class", "actor class"),
        ("messages_hz", "messages/s"),
    ],
)
def test_labels_are_words_without_units(name: str, heading: str) -> None:
    assert label(name) == heading


@pytest.mark.parametrize(
    ("value_s", "text"), [(0, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 01 s"), (200_000, "2 d 07 h")]
)
def test_durations(value_s: float, text: str) -> None:
    assert duration(value_s) == text


@given(st.integers(0, 10**18))
def test_sizes_have_three_digits_and_are_right(value: int) -> None:
    number, unit = size(value).split()
    factor = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}[unit]
    assert len(number.replace(".", "")) <= 4
    assert math.isclose(float(number) * factor, value, rel_tol=0.01, abs_tol=1)
