"""A session with something of everything in it, recorded in a moment."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from labwire.clock import RigClock, monotonic_s
from labwire.sessions.config import RecorderConfig
from labwire.sessions.record.recording import SessionRecorder
from tests.sessions.making import datum, jpeg, picture_parts

ROUNDS = 60
STEP_S = 0.01
STRANGE = ([b"no map", b"\xc1"], [b"alone"], [b"raw", b"\x80", b"one", b"two"], [b"bad\xff", b"\x81\xa1a\x01"])
"""Messages that are not of the usual form."""


def record_session(
    root: Path, *, name: str = "pilot", lost: Collection[int] = (), jump_at: int = -1, **config: Any
) -> tuple[Path, list[tuple[bytes, ...]]]:
    """Record a session whose messages come 10 ms apart; return its folder and the messages.

    Each round has a datum of ``pupil.0``, a numbered one of ``scale``, each third a picture of ``frame.world``.

    Args:
        root: Of all recordings.
        name: Of the session.
        lost: Numbers of ``scale`` that do not arrive.
        jump_at: Round in which rig time is set to 5 s.
        config: Of the recorder.
    """
    clock = RigClock.create()
    clock.set_now(1000.0)
    settings = {"sync_s": 0.0, "flush_s": 0.02, "disk_warn_bytes": 0, "disk_stop_bytes": 0, **config}
    recorder = SessionRecorder(RecorderConfig(root=str(root), **settings), clock, rig={"name": "test rig"})
    folder = Path(recorder.start(name).rec_path)
    sent: list[tuple[bytes, ...]] = []
    start_s = monotonic_s()
    now_s = start_s

    def put(parts: list[bytes]) -> None:
        sent.append(tuple(parts))
        assert recorder.put(parts, now_s)

    for number in range(ROUNDS):
        now_s = start_s + number * STEP_S
        stamp = clock.at(now_s)
        put(datum("pupil.0", stamp, number=number, norm_pos=[0.1, number / 100], confidence=0.5))
        if number not in lost:
            put(datum("scale", stamp, seq=number, emitter="scales", weight_kg=number / 2))
        if number % 3 == 0:
            put(picture_parts("frame.world", stamp, jpeg(number), index=number // 3))
        if number == jump_at:
            before_s = clock.offset_s
            clock.set_now(5.0)
            recorder.clock_changed(before_s, clock.offset_s, now_s)
        if number % 20 == 7:
            put(datum("annotation", stamp, label=f"mark {number}", duration=0.0))
    for parts in STRANGE:
        put(list(parts))
    recorder.stop()
    clock.close()
    return folder, sent
