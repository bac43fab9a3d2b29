"""What the monitor returns: metrics under the public field names, and changes of the status.

Source: file-ipc, "Core Metrics Example", "Edge Metrics Example", "Status Example". What was not measured is left out of
a payload; no value ever stands for "unknown".
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeAlias

import msgspec

_DECIMALS = 4


class StatusCode(IntEnum):
    """What keeps vital signs from being measured, or 0. Codes 0 to 8 are the public ones of the protocol's vendor."""

    OK = 0
    NO_FACES_FOUND = 1
    MORE_THAN_ONE_FACE_FOUND = 2
    FACE_NOT_CENTERED = 3
    FACE_TOO_BIG_OR_TOO_SMALL = 4
    IMAGE_TOO_DARK = 5
    IMAGE_TOO_BRIGHT = 6
    CHEST_TOO_FAR_OR_NOT_ENOUGH_SHOWING = 7
    PROCESSING_NOT_STARTED = 8
    FRAME_RATE_LOW = 110
    """labwire's own: fewer pictures per second than a pulse needs."""


class Measure(msgspec.Struct, frozen=True):
    """A value with its confidence."""

    value: float
    confidence: float
    """0 to 1: how often a value of this signal quality was right; see ``docs/explanation/vitals.md``."""


class TraceSample(msgspec.Struct, frozen=True):
    """One sample of a waveform."""

    timestamp: int
    """Microseconds since 1970-01-01 UTC."""
    value: float


class Hrv(msgspec.Struct, frozen=True):
    """Heart rate variability over the last 60 s, from the intervals between beats."""

    rmssd: float
    """Root mean square of successive differences, ms."""
    mean_nn: float
    """Mean interval, ms."""
    sdnn: float
    """Standard deviation of the intervals, ms."""
    baevsky: float
    """Baevsky's stress index, 1/s²."""
    confidence: float
    """0 to 1."""


class CoreMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """Pulse, breathing and what follows from them. At least one of them is there."""

    timestamp_us: int
    """Moment of capture of the newest picture used, microseconds since 1970-01-01 UTC."""
    pulse: Measure | None = None
    """Beats per minute, mean of the last 12 s."""
    pulse_trace: tuple[TraceSample, ...] = ()
    """The waveform since the last metrics, unitless; only with `pulse`."""
    breathing: Measure | None = None
    """Breaths per minute, mean of the last 30 s."""
    hrv: Hrv | None = None

    def payload(self) -> dict[str, Any]:
        """Return the payload of a ``core_metrics`` envelope."""
        payload: dict[str, Any] = {}
        if self.pulse:
            pulse: dict[str, Any] = {"strict": _plain(self.pulse)}
            if self.pulse_trace:
                pulse["trace"] = [_plain(sample) for sample in self.pulse_trace]
            if self.breathing and self.breathing.value > 0:
                pulse["pulse_respiration_quotient"] = _round(self.pulse.value / self.breathing.value)
            payload["pulse"] = pulse
        if self.breathing:
            payload["breathing"] = {"strict": _plain(self.breathing)}
        if self.hrv:
            payload["cardio"] = {"hrv": _plain(self.hrv)}
        return payload


class EdgeMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at the rate of the pictures. At least one of them is there."""

    timestamp_us: int
    """Moment of capture of the picture, microseconds since 1970-01-01 UTC."""
    upper_breathing_trace: float | None = None
    """How far the upper chest has moved up, in percent of the face's height, around 0."""
    lower_breathing_trace: float | None = None
    """The same of the lower chest."""
    eda: float | None = None
    """A proxy of sympathetic arousal, unitless, 0 = as in the first half minute; no skin conductance. In a rig that
    names a sensor: what that measured, in its own unit."""

    def payload(self) -> dict[str, Any]:
        """Return the payload of an ``edge_metrics`` envelope."""
        values = {
            "eda": self.eda,
            "upper_breathing_trace": self.upper_breathing_trace,
            "lower_breathing_trace": self.lower_breathing_trace,
        }
        return {name: _round(value) for name, value in values.items() if value is not None}


class StatusChange(msgspec.Struct, frozen=True):
    """The status is another one from this picture on."""

    timestamp_us: int
    """Moment of capture of the picture, microseconds since 1970-01-01 UTC."""
    code: StatusCode
    message: str
    """``OK``, or what is wrong and what a person can do."""

    def payload(self) -> dict[str, Any]:
        """Return the payload of a ``status`` envelope."""
        return {"code": int(self.code), "message": self.message}


VitalsEvent: TypeAlias = CoreMetrics | EdgeMetrics | StatusChange


def _plain(struct: msgspec.Struct) -> dict[str, Any]:
    fields = {name: getattr(struct, name) for name in struct.__struct_fields__}
    return {name: value if isinstance(value, int) else _round(value) for name, value in fields.items()}


def _round(value: float) -> float:
    return round(float(value), _DECIMALS)
