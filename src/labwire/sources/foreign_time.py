"""Move the times in a message of another rig to this rig's time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

TIME_KEYS = frozenset({"timestamp", "start_time_synced", "start_timestamp", "end_timestamp"})
"""Keys whose numbers are seconds on the other rig's clock."""
_MAX_DEPTH = 8  # what lies deeper is left as it is: nobody nests times so, and input from outside must not recurse


def shift_times(payload: Mapping[Any, Any], by_s: float) -> dict[Any, Any]:
    """Return a copy of a payload with its times moved.

    Moved are numbers under `TIME_KEYS` at any depth, and those in pairs of a topic and a time, by which fixations and
    surface data name what they were made from (``base_data``).

    >>> shift_times({"timestamp": 1.0, "base_data": [["gaze.3d.0.", 1.5]], "n": 2}, 10.0)
    {'timestamp': 11.0, 'base_data': [['gaze.3d.0.', 11.5]], 'n': 2}

    Args:
        payload: What a message holds.
        by_s: What to add, seconds.
    """
    return {key: _shift(key, value, by_s, _MAX_DEPTH) for key, value in payload.items()}


def _shift(key: object, value: Any, by_s: float, depth: int) -> Any:
    match value:
        case float() | int():
            return value + by_s if key in TIME_KEYS and not isinstance(value, bool) else value
        case dict() if depth:
            table = cast("dict[Any, Any]", value)
            return {inner: _shift(inner, one, by_s, depth - 1) for inner, one in table.items()}
        case [str() as topic, (float() | int()) as moment] if key == "base_data":
            return [topic, moment + by_s]
        case list() if depth:
            # The elements of base_data may be pairs themselves.
            return [_shift(key, one, by_s, depth - 1) for one in cast("list[Any]", value)]
        case _:
            return value
