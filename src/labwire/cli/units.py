"""Numbers for people: the suffix of a name tells its unit, and so how it is shown."""

from __future__ import annotations

import time
from typing import Any, cast

from labwire.cli.output import to_json

NOTHING = "-"
_PREFIXES = ("", "k", "M", "G", "T", "P")
_RATES = ("_hz", "_per_s")
_SUFFIXES = ("_epoch_us", "_bytes", "_us", "_s")


def label(name: str) -> str:
    """Return the heading of a field: its name in words, without the unit that stands at its values.

    >>> label("size_bytes"), label("messages_hz")
    ('size', 'messages/s')
    """
    for suffix in _RATES:
        if name.endswith(suffix):
            return f"{name.removesuffix(suffix).replace('_', ' ')}/s"
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.replace("_", " ")


def quantity(name: str, value: Any) -> str:
    """Return a value as text, in the unit that the name of its field tells.

    >>> quantity("size_bytes", 1_234_567), quantity("uptime_s", 3725.2), quantity("pid", None)
    ('1.23 MB', '1 h 02 min', '-')
    """
    match value:
        case None | "":
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return _number(name, value)
        case list() | tuple():
            return ", ".join(quantity(name, one) for one in cast("list[Any]", value)) or NOTHING
        case dict():
            return to_json(cast("object", value))
        case _:
            return str(value)


def size(value_bytes: float) -> str:
    """Return a number of bytes with three digits: ``1.23 MB``, decimal prefixes."""
    return f"{_three_digits(value_bytes)}B"


def duration(value_s: float) -> str:
    """Return a duration in its two largest units: ``1 h 02 min``, ``12.3 s``."""
    if value_s < 60:
        return f"{value_s:.1f} s"
    minutes, seconds = divmod(round(value_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02d} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def clock_time(epoch_us: int) -> str:
    """Return a moment as local date and time."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_us / 1e6))
    except (ValueError, OverflowError, OSError):
        return str(epoch_us)


def _number(name: str, value: float) -> str:
    if name.endswith("_epoch_us"):
        return clock_time(int(value))
    if name.endswith(("_bytes", "bytes_behind", "bytes_hz", "bytes_per_s")):
        return size(value)
    if name.endswith(_RATES):
        return f"{value:.1f}"
    if name.endswith(("uptime_s", "duration_s")):
        return duration(value)
    if name.endswith("_us"):
        return f"{value:z.0f} µs"
    if name.endswith("_s"):
        return f"{value:z.3f} s"  # without a minus before what rounds to nothing
    return f"{value:g}" if isinstance(value, float) else str(value)


def _three_digits(value: float) -> str:
    prefix = 0
    while abs(value) >= 999.5 and prefix < len(_PREFIXES) - 1:
        value, prefix = value / 1000, prefix + 1
    digits = 0 if not prefix else max(0, 3 - len(str(int(abs(value)))))
    return f"{value:.{digits}f} {_PREFIXES[prefix]}"
