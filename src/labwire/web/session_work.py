"""What takes a look at every message of a session: ``python -m labwire.web.session_work`` does it for long ones."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import msgspec

from labwire.errors import InternalError, LabwireError, NotFoundError, TooLargeError, error_from_name
from labwire.sessions.reading.session_reader import Session, open_session
from labwire.web.apart import begin_apart, give_way
from labwire.web.series import Series, fields_of, read_path, value_at
from labwire.wire.rpc_message import ErrorReport

MAX_MESSAGES = 5_000_000
"""Of a log that is read from end to end for a picture of it."""
MAX_POINTS = 5000
_FIELDS_OF = 20
"""Messages of a topic that are asked which fields it has."""
_BINS = 240


class Activity(msgspec.Struct, frozen=True):
    """When what came."""

    bin_s: float
    topics: dict[str, list[int]]
    """Messages in each bin."""


class Trace(msgspec.Struct, frozen=True):
    """A field over time: of each bucket the least and the greatest value."""

    times_s: list[float]
    """Since the start of the session."""
    values: list[float]


class Fields(msgspec.Struct, frozen=True):
    """What of a topic can be drawn."""

    fields: list[str]
    """Paths to its numbers."""


class SessionOrder(msgspec.Struct, frozen=True):
    """What is asked of a session.

    A field of a topic over time; without a field, which fields it has; without a topic, when what came.
    """

    folder: str
    topic: str | None = None
    field: str | None = None


class Looked(msgspec.Struct, frozen=True):
    """What came of it: an `Activity`, a `Trace` or `Fields`, or why there is none."""

    found: msgspec.Raw = msgspec.Raw(b"null")
    failure: ErrorReport | None = None


def look_through(session: Session, order: SessionOrder) -> Activity | Trace | Fields:
    """Read the whole log of a session.

    Raises:
        NotFoundError: It has no such topic.
        UsageError: The field has no name.
        TooLargeError: It is too long.
    """
    _check_length(session)
    if order.topic is None:
        return _activity(session)
    if order.topic not in session.topics:
        raise NotFoundError(f"this session has no topic {order.topic[:80]!r}")
    return _fields(session, order.topic) if order.field is None else _series(session, order.topic, order.field)


def look_through_apart(order: SessionOrder) -> bytes:
    """Do the same in a process of its own; returns it as JSON.

    Raises:
        LabwireError: As `look_through`.
    """
    with begin_apart(__name__, order) as process:
        assert process.stdout is not None
        text = process.stdout.read()
    try:
        looked = msgspec.json.decode(text, type=Looked)
    except msgspec.DecodeError as error:
        raise InternalError(f"looking through the session ended with status {process.returncode}") from error
    if looked.failure is not None:
        raise error_from_name(looked.failure.error, looked.failure.message, looked.failure.data)
    return bytes(looked.found)


def _activity(session: Session) -> Activity:
    bin_s = max(session.duration_s, 1e-3) / _BINS
    topics = {topic: [0] * _BINS for topic in session.topics}
    for message in session.messages():
        if (row := topics.get(message.topic)) is not None:
            row[min(_BINS - 1, max(0, int(message.arrival_s / bin_s)))] += 1
    for topic, pictures in session.pictures.items():
        row = topics.setdefault(topic, [0] * _BINS)
        if not any(row):
            for time_s in pictures.times:
                row[min(_BINS - 1, max(0, int(time_s / bin_s)))] += 1
    return Activity(bin_s, topics)


def _fields(session: Session, topic: str) -> Fields:
    messages = (message for message in session.messages(topic) if message.topic == topic)
    first = itertools.islice(messages, _FIELDS_OF)
    return Fields(list(dict.fromkeys(field for message in first for field in fields_of(message.payload))))


def _series(session: Session, topic: str, field: str) -> Trace:
    steps, series = read_path(field), Series(2 * max(session.duration_s, 1e-3) / MAX_POINTS)
    for message in session.messages(topic):
        if message.topic == topic and (value := value_at(message.payload, steps)) is not None:
            series.add(message.time_s if message.time_s == message.time_s else message.arrival_s, value)
    times, values, _ = series.take()
    return Trace(list(memoryview(times).cast("d")), list(memoryview(values).cast("d")))


def _check_length(session: Session) -> None:
    count = sum(session.topics.values())
    if count > MAX_MESSAGES:
        raise TooLargeError(f"{count} messages are too many to look through here: labwire export, or Python")


def main() -> None:
    """Do what the command line orders; print `Looked` as JSON."""
    give_way()
    order = msgspec.json.decode(sys.argv[1], type=SessionOrder)
    try:
        with open_session(Path(order.folder)) as session:
            looked = Looked(msgspec.Raw(msgspec.json.encode(look_through(session, order))))
    except LabwireError as error:
        looked = Looked(failure=ErrorReport(type(error).__name__, error.message, error.data))
    sys.stdout.buffer.write(msgspec.json.encode(looked, enc_hook=repr))


if __name__ == "__main__":
    main()
