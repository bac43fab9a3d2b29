"""Moments and durations on the command line: ``10s``, ``2m30s``, ``1h``, or seconds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, Token

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(min|[smhd]?)")


def parse_moment(text: str) -> float:
    """Return seconds.

    >>> parse_moment("10s"), parse_moment("2m30s"), parse_moment("1.5")
    (10.0, 150.0, 1.5)

    Raises:
        ValueError: It is no moment.
    """
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        raise ValueError(f"{text!r} is no time: write 10s, 2m30s, 1h, or seconds")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def _convert(_: Any, tokens: Sequence[Token]) -> float:
    return parse_moment(tokens[0].value)


Moment = Annotated[float, Parameter(converter=_convert)]
"""An option that is a time: ``10s``, ``2m30s``, or seconds."""
