"""``labwire mark``: marks on the time axis."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from labwire.cli.connection import HERE, Connection
from labwire.cli.output import remark, write_json, write_line
from labwire.errors import NotFoundError, UsageError
from labwire.operations.recording import MARK_TOPIC, Mark

if TYPE_CHECKING:
    from labwire.client import Rig


def mark(
    label: str | None = None,
    /,
    *,
    timestamp: float | None = None,
    duration_s: float = 0.0,
    connection: Connection = HERE,
) -> None:
    """Put a mark on the time axis. Without a text, each line of standard input becomes one, until it ends.

    Args:
        label: What happened. Enter alone, on a line without text, gives a number.
        timestamp: When, in rig time; by default now.
        duration_s: How long it lasted; 0 is a moment.
        connection: The rig to talk to.
    """
    if label is not None and not label.strip():
        raise UsageError("a mark needs a text, or none at all: then each line that you type becomes one")
    with connection.connect() as rig:
        if label is not None:
            _tell(_put(rig, label, timestamp, duration_s), connection)
            return
        if timestamp is not None:
            raise UsageError("--timestamp is for one mark: say its text")
        rig.now()  # measures the clock's offset before the first key is pressed
        if sys.stdin.isatty():
            remark("labwire: each line becomes a mark, Enter alone a numbered one; Ctrl-D ends")
        for number, line in enumerate(sys.stdin, 1):
            _tell(_put(rig, line.strip() or f"mark {number}", None, duration_s), connection)


def _put(rig: Rig, label: str, timestamp: float | None, duration_s: float) -> Mark:
    """Put one mark by the recorder; where there is none, or on Pupil Core, by the Remote."""
    moment = rig.now() if timestamp is None else timestamp
    if rig.ports.rpc is not None:
        with suppress(NotFoundError):  # no recorder
            return rig.record.mark(label, timestamp=moment, duration_s=duration_s)
    rig.send(MARK_TOPIC, {"topic": MARK_TOPIC, "label": label, "timestamp": moment, "duration": duration_s})
    return Mark(label, moment, duration_s)


def _tell(put: Mark, connection: Connection) -> None:
    if connection.json:
        write_json(put)
    else:
        where = f"in {put.rec_path}" if put.rec_path else "no session is running"
        write_line(f"{put.timestamp:.6f} s: {put.label} ({where})")
