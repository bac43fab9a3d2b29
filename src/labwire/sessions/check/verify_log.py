"""Recount the messages of a log: what is numbered, what is missing, what nobody could know."""

from __future__ import annotations

from collections import Counter

import msgspec

from labwire.errors import ProtocolError
from labwire.sessions.check.happenings import Happenings
from labwire.sessions.check.numbering import MAX_TOPICS, Numbering
from labwire.sessions.log.log_reader import LoggedMessage, LogReader
from labwire.sessions.log.mcap_scan import Report, ignore_progress
from labwire.wire.bus_message import Header, peek_header

_PICTURES = b"frame."


class _Picture(msgspec.Struct):
    index: int


_picture_decoder = msgspec.msgpack.Decoder(_Picture)


class LogCount:
    """What stands in a log.

    Args:
        log: The log.
        start_ns: Start of the session, nanoseconds since 1970.
        pictures: Prefixes of the topics whose pictures are in videos.
        report: Hears of progress; may raise to end the work.
    """

    def __init__(
        self, log: LogReader, start_ns: int, *, pictures: tuple[str, ...], report: Report = ignore_progress
    ) -> None:
        self.messages = 0
        self.numbers = Numbering(start_ns)
        """By the ``seq`` of labwire's own topics."""
        self.indexes = Numbering(start_ns)
        """Of pictures, by the ``index`` that their cameras give them."""
        self.happenings = Happenings()
        self.not_observable: Counter[str] = Counter()
        self.announced: Counter[str] = Counter()
        """By topic, pictures whose raw part is not in the log: the video must have them."""
        self.went_back = 0
        """Messages whose time lies before that of the one before them."""
        self.start_ns = start_ns
        self.first_ns = self.last_ns = 0
        """Log time of the first and the latest message; 0 if there is none."""
        self._pictures = tuple(prefix.encode() for prefix in pictures)
        for message in log.messages(report=report):
            self.messages += 1
            self.first_ns = self.first_ns or message.log_time_ns
            self.went_back += message.log_time_ns < self.last_ns
            self.last_ns = max(self.last_ns, message.log_time_ns)
            self._take(message)
        self.not_observable.update(self.indexes.remove_unordered())

    def _take(self, message: LoggedMessage) -> None:
        parts = message.parts
        topic = parts[0].decode("utf-8", "backslashreplace")
        header = _header_of(message)
        if header.seq is not None and header.emitter is not None and header.seq >= 0:
            self.numbers.take(header.emitter, topic, header.seq, message.log_time_ns)
        elif (index := _index_of(message)) is not None:
            self.indexes.take("", topic, index, message.log_time_ns)
        elif topic in self.not_observable or len(self.not_observable) < MAX_TOPICS:
            self.not_observable[topic] += 1
        if not message.is_map:
            return
        self.happenings.take(parts[0], parts[1], (message.log_time_ns - self.start_ns) / 1e9)
        if len(parts) == 2 and self._pictures and parts[0].startswith(self._pictures):
            self.announced[topic] += 1


def _header_of(message: LoggedMessage) -> Header:
    if message.is_map:
        try:
            return peek_header(message.parts[1])
        except ProtocolError:  # pragma: no cover - the recorder has looked at it already
            pass
    return Header()


def _index_of(message: LoggedMessage) -> int | None:
    if not (message.is_map and message.parts[0].startswith(_PICTURES)):
        return None
    try:
        index = _picture_decoder.decode(message.parts[1]).index
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return index if index >= 0 else None
