"""What tests of sessions make again and again."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from labwire.operations.recordable import SessionStart
from labwire.sessions.sink import Received
from labwire.wire.bus_message import Header, encode_payload

START = SessionStart(
    path="",
    name="pilot",
    uuid="12345678-1234-4234-8234-123456789abc",
    start_monotonic_s=100.0,
    start_rig_time_s=1000.0,
    start_epoch_us=1_700_000_000_000_000,
)
START_NS = START.start_epoch_us * 1000


def session_in(folder: Path) -> SessionStart:
    return SessionStart(str(folder), *[getattr(START, field) for field in START.__struct_fields__[1:]])


def received(parts: list[bytes], *, at_s: float = 100.0, header: Header | None = None) -> Received:
    return Received(parts, at_s, START_NS + round((at_s - START.start_monotonic_s) * 1e9), header)


def datum(topic: str, timestamp: float, **keys: Any) -> list[bytes]:
    return [topic.encode(), encode_payload({"topic": topic, "timestamp": timestamp, **keys})]


@functools.cache
def jpeg(number: int = 0, width: int = 64, height: int = 48) -> bytes:
    pixels = np.full((height, width, 3), (number * 7 % 256, 128, 255 - number % 256), np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def picture_parts(topic: str, timestamp: float, data: bytes, **keys: Any) -> list[bytes]:
    described = {"width": 64, "height": 48, "index": 0, "format": "jpeg", **keys}
    return [*datum(topic, timestamp, **described), data]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so; the test's own time limit ends it."""
    while not condition():
        time.sleep(0.002)


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))
