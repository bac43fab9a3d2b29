"""Numbers for a screen: what a line shows is kept, however many points there are."""

from __future__ import annotations

import math
import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import UsageError
from labwire.web.series import MAX_POINTS, Series, fields_of, read_path, value_at


def points_of(series: Series) -> list[tuple[float, float]]:
    times, values, count = series.take()
    t, v = array("d", times), array("d", values)
    assert len(t) == len(v) == count
    return list(zip(t, v, strict=True))


def test_least_and_greatest_of_each_bucket_survive(seed: int) -> None:
    rng = random.Random(seed)
    series, sent = Series(0.1), [(n / 1000, rng.gauss(0, 1)) for n in range(5000)]
    for point in sent:
        series.add(*point)
    shown = points_of(series)
    assert len(shown) <= 2 * 51
    assert shown == sorted(shown)
    assert set(shown) <= set(sent)
    for bucket in range(50):
        inside = [v for t, v in sent if t // 0.1 == bucket]
        kept = [v for t, v in shown if t // 0.1 == bucket]
        assert (min(inside), max(inside)) == (min(kept), max(kept))


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(allow_infinity=False)), max_size=60), st.floats(0, 10))
def test_what_comes_out_is_what_went_in(sent: list[tuple[float, float]], bucket_s: float) -> None:
    series = Series(bucket_s)
    for point in sent:
        series.add(*point)
    shown = points_of(series)
    assert len(shown) <= len(sent)
    assert {repr(point) for point in shown} <= {repr(point) for point in sent}
    assert bool(shown) == bool(sent)


def test_without_buckets_every_point_is_kept_and_a_gap_is_a_gap() -> None:
    series = Series(0)
    series.add(1.0, 2.0)
    series.add(1.0, math.nan)
    series.add(1.1, 3.0)
    first, gap, last = points_of(series)
    assert (first, last) == ((1.0, 2.0), (1.1, 3.0))
    assert math.isnan(gap[1])


def test_it_is_bounded_and_says_what_it_dropped() -> None:
    series = Series(0)
    for n in range(MAX_POINTS + 1):
        series.add(n, n)
    shown = points_of(series)
    assert len(shown) + series.dropped == MAX_POINTS + 1
    assert shown[-1] == (MAX_POINTS, MAX_POINTS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("diameter", 3.5),
        ("norm_pos.1", 0.25),
        ("ellipse.axes.0", 7.0),
        ("ok", 1.0),
        ("nothing", None),
        ("norm_pos.2", None),
        ("norm_pos.x", None),
        ("topic", None),
        ("diameter.0", None),
    ],
)
def test_fields_by_path(field: str, value: float | None) -> None:
    payload = {"diameter": 3.5, "norm_pos": [0.5, 0.25], "ellipse": {"axes": (7, 8)}, "ok": True, "topic": "pupil.0"}
    assert value_at(payload, read_path(field)) == value


@pytest.mark.parametrize("field", ["", ".".join("abcdefghi")])
def test_what_is_no_path(field: str) -> None:
    with pytest.raises(UsageError):
        read_path(field)


def test_the_numbers_of_a_payload() -> None:
    payload = {
        "a": 1,
        "b": {"c": [1.5, True, "x"], "d": {"e": {"f": {"g": 1}}}},
        "long": list(range(50)),
        "n.m": 1,
        7: 2,
    }
    assert list(fields_of(payload)) == ["a", "b.c.0", "b.c.1"]
    assert all(value_at(payload, read_path(field)) is not None for field in fields_of(payload))
