"""What an instrument can do: its verbs with their parameters, units and ranges. Derived from a driver, sent as data.

A worker answers `labwire.wire.instrument_extras.DESCRIBE` with it, and operation ``instruments.describe`` passes it on.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of a verb."""

    name: str
    type: str
    """``float``, ``int``, ``str``, ``bool``, ``list[float]``, ``waveform``, or ``any``."""
    doc: str = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: list[Any] = []
    """If not empty, the only values allowed."""
    required: bool = True
    default: Any = None
    """What holds when it is not given and not required."""


class Verb(msgspec.Struct, frozen=True, kw_only=True):
    """One command of an instrument."""

    name: str
    """On the wire: ``MEASURE_VOLTAGE``."""
    method: str
    """In Python: ``measure_voltage``."""
    doc: str = ""
    parameters: list[Parameter] = []
    returns: str = "none"
    """Like `Parameter.type`; ``none`` if it returns nothing."""
    unit: str = ""
    """Unit of what it returns."""
    continuous: bool = False
    """True: it yields block after block until it is cancelled or done."""


class InstrumentApi(msgspec.Struct, frozen=True, kw_only=True):
    """All that an instrument can do."""

    driver: str = ""
    """Dotted name of the driver, empty for a foreign worker that does not tell."""
    doc: str = ""
    verbs: list[Verb] = []
