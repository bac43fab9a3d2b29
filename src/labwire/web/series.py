"""A numeric field of a topic as a series that a screen can show: the least and the greatest value of each bucket."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from labwire.errors import UsageError

MAX_POINTS = 20_000
"""Points that wait for a reader, per series; older ones are dropped and counted."""
_DEEPEST = 8
_FIELDS_DEPTH, _SHORT_LIST = 4, 4


def read_path(field: str) -> tuple[str, ...]:
    """Return the steps to a field: ``ellipse.center.0``.

    Raises:
        UsageError: Too many steps, or none.
    """
    steps = tuple(field.split("."))
    if not field or len(steps) > _DEEPEST:
        raise UsageError(f"{field[:80]!r} does not name a field: one to {_DEEPEST} names with dots between them")
    return steps


def value_at(payload: Mapping[Any, Any], steps: Sequence[str]) -> float | None:
    """Return the number at a path; None if there is none."""
    if len(steps) == 1 and type(value := payload.get(steps[0])) is float:
        return value  # most fields, thousands of times a second
    value: Any = payload
    for step in steps:
        if isinstance(value, dict):
            value = cast("dict[Any, Any]", value).get(step)
        elif isinstance(value, (list, tuple)) and step.isdecimal() and int(step) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(step)]
        else:
            return None
    return float(value) if isinstance(value, (int, float)) else None


def fields_of(value: object, path: str = "") -> Iterator[str]:
    """Yield the paths to the numbers in a payload; long lists are left out."""
    depth = path.count(".") + 1 if path else 0
    if isinstance(value, (int, float)):  # true and false as well: they can be drawn
        yield path
    elif depth >= _FIELDS_DEPTH:
        return
    elif isinstance(value, dict):
        for key, inner in cast("dict[Any, Any]", value).items():
            if isinstance(key, str) and key and "." not in key:  # a path to others cannot be written
                yield from fields_of(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, (list, tuple)) and path and len(cast("list[Any]", value)) <= _SHORT_LIST:
        for at, inner in enumerate(cast("list[Any]", value)):
            yield from fields_of(inner, f"{path}.{at}")


class Series:
    """Collects the points of one series between two batches.

    Args:
        bucket_s: Width of a bucket; of each at most two points are kept. 0 keeps all points.
    """

    def __init__(self, bucket_s: float) -> None:
        self._bucket_s = bucket_s
        self._times, self._values = array("d"), array("d")
        self._bucket: float | None = None
        self._low = self._high = (0.0, 0.0)
        self.dropped = 0

    def add(self, time_s: float, value: float) -> None:
        """Take a point in; not a number is a gap in the line, and kept as such."""
        if self._bucket_s <= 0 or value != value:  # noqa: PLR0124  the quickest way to see a NaN
            self._end_bucket()
            self._append(time_s, value)
            return
        bucket = time_s // self._bucket_s
        if bucket != self._bucket:
            self._end_bucket()
            self._bucket = bucket
            self._low = self._high = (time_s, value)
        elif value < self._low[1]:
            self._low = (time_s, value)
        elif value > self._high[1]:
            self._high = (time_s, value)

    def take(self) -> tuple[bytes, bytes, int]:
        """Return times and values as float64 little-endian, and their number; the open bucket is ended."""
        self._end_bucket()
        times, values = self._times, self._values
        self._times, self._values = array("d"), array("d")
        return times.tobytes(), values.tobytes(), len(times)

    def _end_bucket(self) -> None:
        if self._bucket is None:
            return
        self._bucket = None
        first, second = sorted((self._low, self._high))
        self._append(*first)
        if second != first:
            self._append(*second)

    def _append(self, time_s: float, value: float) -> None:
        if len(self._times) >= MAX_POINTS:
            half = MAX_POINTS // 2
            del self._times[:half], self._values[:half]
            self.dropped += half
        self._times.append(time_s)
        self._values.append(value)
