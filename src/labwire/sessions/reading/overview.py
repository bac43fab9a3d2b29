"""What is in a session, at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from labwire.errors import LabwireError, NotFoundError
from labwire.file_lock import is_locked
from labwire.operations.recordable import StreamCounters
from labwire.operations.recording import MARK_TOPIC, StreamFailure
from labwire.sessions import manifest, verified_file
from labwire.sessions.log.bus_log import FILE_NAME as LOG_FILE
from labwire.sessions.log.log_reader import LogReader
from labwire.sessions.manifest import Manifest
from labwire.sessions.reading.time_axis import TimeAxis

_MAX_MARKS = 1000


class _Annotation(msgspec.Struct):
    label: str | int | float
    timestamp: float | None = None
    duration: float = 0.0


_mark_decoder = msgspec.msgpack.Decoder(_Annotation)


class TopicSummary(msgspec.Struct, frozen=True):
    """One topic of a session."""

    topic: str
    messages: int
    messages_hz: float
    """On average over the session."""


class MarkRow(msgspec.Struct, frozen=True):
    """A mark on the time axis of a session."""

    time_s: float
    """Since the start of the session."""
    label: str
    duration_s: float = 0.0


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a session."""

    name: str
    path: str
    state: str
    ended: str
    start_epoch_us: int
    duration_s: float
    labwire: str
    checked: str
    """What the last check found: ``lossless``, ``whole``, ``not whole``; empty if none, or not of these files."""
    wall_offset_s: float | None
    wall_drift_ppm: float | None
    clock_changes: int
    topics: list[TopicSummary]
    marks: list[MarkRow]
    """The first 1000."""
    streams: dict[str, StreamCounters]
    """What each has counted; empty before its end, and of a session that was cut off."""
    files: list[str]
    failed: list[StreamFailure]
    repairs: list[str]


def overview_of(folder: Path) -> Overview:
    """Look at a session; also at one that was cut off, or is being recorded.

    Raises:
        NotFoundError: The folder is no session.
        ProtocolError: Its manifest or its log is not what it should be.
    """
    known = manifest.read_manifest(folder)
    topics: dict[str, int] = {}
    marks: list[MarkRow] = []
    try:
        with LogReader.open(folder) as log:
            topics = log.topics
            marks = list(islice(marks_of(log, TimeAxis.of(known)), _MAX_MARKS))
            logged_s = max(0.0, (log.end_time_ns - known.start_epoch_us * 1000) / 1e9)
    except NotFoundError:
        logged_s = 0.0
    duration_s = max(known.duration_s, logged_s)
    rows = [TopicSummary(topic, count, count / duration_s if duration_s else 0.0) for topic, count in topics.items()]
    return Overview(
        name=known.name,
        path=str(folder),
        state=state_of(folder, known),
        ended=known.ended,
        start_epoch_us=known.start_epoch_us,
        duration_s=duration_s,
        labwire=known.labwire,
        checked=_checked(folder),
        wall_offset_s=known.wall_offset_s,
        wall_drift_ppm=known.wall_drift_ppm,
        clock_changes=len(known.clock_changes),
        topics=sorted(rows, key=lambda row: row.topic),
        marks=marks,
        streams=known.counters if known.state != manifest.RECORDING else {},  # those of its first moment
        files=sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()),
        failed=known.failed,
        repairs=known.repairs,
    )


def marks_of(log: LogReader, axis: TimeAxis) -> Iterator[MarkRow]:
    """Yield the marks in a log: messages of ``annotation`` with a label, in the order in which they came."""
    for message in log.messages(prefixes=[MARK_TOPIC]):
        try:
            payload = _mark_decoder.decode(message.parts[1])
        except (msgspec.DecodeError, ValueError, IndexError, RecursionError):
            continue
        time_s = axis.of_timestamp(payload.timestamp, axis.of_arrival(message.log_time_ns))
        yield MarkRow(time_s, str(payload.label), payload.duration)


def state_of(folder: Path, known: Manifest) -> str:
    """Return the state of a session; one that says it is being recorded, and is not, is broken."""
    if known.state == manifest.RECORDING and not is_locked(folder / LOG_FILE):
        return manifest.BROKEN
    return known.state


def _checked(folder: Path) -> str:
    try:
        verified = verified_file.read(folder)
    except LabwireError:
        return ""
    if verified is None:
        return ""
    return "lossless" if verified.lossless else "whole" if verified.whole else "not whole"
