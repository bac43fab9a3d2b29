"""The payload that is sent: a pupil datum of 300 bytes of MessagePack."""

from __future__ import annotations

from typing import Any

import msgspec

TOPIC = "pupil.0.2d"
SIZE_BYTES = 300
_DATUM: dict[str, Any] = {
    "id": 0,
    "topic": TOPIC,
    "method": "2d",
    "norm_pos": [0.5023, 0.4711],
    "diameter": 41.27,
    "confidence": 0.98,
    "timestamp": 1098.832276534,
    "ellipse": {"center": [96.4, 101.5], "axes": [38.02, 41.27], "angle": 12.8},
    "note": "",
}


class Ellipse(msgspec.Struct, frozen=True):
    """Where the pupil is, in pixels and degrees."""

    center: tuple[float, float]
    axes: tuple[float, float]
    angle: float


class Datum(msgspec.Struct, frozen=True, gc=False):
    """The same payload as a struct."""

    id: int
    topic: str
    method: str
    norm_pos: tuple[float, float]
    diameter: float
    confidence: float
    timestamp: float
    ellipse: Ellipse
    note: str


def make_datum() -> dict[str, Any]:
    """Return a datum whose MessagePack form has `SIZE_BYTES`."""
    missing = SIZE_BYTES - len(msgspec.msgpack.encode(_DATUM))
    long = missing > 32  # a text of more than 31 bytes has one byte more in front
    datum = {**_DATUM, "note": "." * (missing - 1 if long else missing)}
    assert len(msgspec.msgpack.encode(datum)) == SIZE_BYTES
    return datum
