"""What a recorder tells of itself while it runs; the actor turns it into notifications and log records."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

OnEvent: TypeAlias = Callable[[str, dict[str, object]], None]
"""Called with the kind of an event and what there is to say of it, on a thread of the recorder; must not block."""

DISK_LOW = "disk_low"
"""Less free space than the config's limits: ``path, free_bytes, limit_bytes``, ``stopping``."""
DATA_LOST = "data_lost"
"""Messages arrived and were not written: ``stream, messages, reason``."""
MALFORMED = "malformed"
"""Messages were not in the form that a stream needs: ``stream, messages, reason``."""
GAPS = "gaps"
"""Messages were lost before they arrived, by their numbers: ``stream, messages, reason``."""
STREAM_FAILED = "stream_failed"
"""A stream of the recorder ended early: ``stream, reason``."""
ENDED = "ended"
"""The session ended by itself: ``ended`` and the fields of `RecordingStopped`."""

SEGMENTED = "segmented"
"""A session's end because the next one of its series has begun.

As an event: ``rec_path``, ``segment`` and ``failed`` streams of the new one, ``ended_path`` and ``duration_s`` of the
old one.
"""
STOPPED = "stopped"
"""A session's end that somebody asked for."""
RIG_DIED = "rig_died"
"""A session's end because the rig's main process, and the bus with it, was killed while it recorded."""
DISK_WAS_LOW = "disk_low"
"""A session's end below the config's `disk_stop_bytes`."""
DISK_FAILED = "disk_failed"
"""A session's end because the disk took no more."""
