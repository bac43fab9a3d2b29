"""Recount the messages of a log: what is numbered, what is missing, what nobody could know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from labwire.errors import ProtocolError
from labwire.operations.session_check import Gap, NumberedTopic
from labwire.sessions.log.log_reader import LoggedMessage, LogReader
from labwire.sessions.log.mcap_scan import Report, ignore_progress
from labwire.wire.bus_message import Header, peek_header
from labwire.wire.gap_counter import GapCounter

MAX_GAPS = 10_000
MAX_TOPICS = 10_000


class _Stream:
    """One emitter's messages on one topic."""

    __slots__ = ("began_s", "first", "last", "messages", "missing", "restarts", "seen_s")

    def __init__(self, seq: int, at_s: float) -> None:
        self.began_s = at_s
        self.first = self.last = seq
        self.messages = self.missing = self.restarts = 0
        self.seen_s = 0.0


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
        self.gaps: list[Gap] = []
        self.missing = 0
        self.not_observable: Counter[str] = Counter()
        self.announced: Counter[str] = Counter()
        """By topic, pictures whose raw part is not in the log: the video must have them."""
        self.went_back = 0
        """Messages whose time lies before that of the one before them."""
        self._start_ns = start_ns
        self._pictures = tuple(prefix.encode() for prefix in pictures)
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._counter = GapCounter()
        last_ns = 0
        for message in log.messages(report=report):
            self.messages += 1
            self.went_back += message.log_time_ns < last_ns
            last_ns = max(last_ns, message.log_time_ns)
            self._take(message)

    @property
    def numbered(self) -> list[NumberedTopic]:
        """The numbered topics, by name."""
        return [
            NumberedTopic(emitter, topic, one.messages, one.first, one.last, one.missing, one.restarts)
            for (emitter, topic), one in sorted(self._streams.items(), key=lambda item: item[0][::-1])
        ]

    def gaps_since(self, before: LogCount) -> list[Gap]:
        """Return what is missing between the end of another session and this one, by topic.

        Of an emitter that has begun to count anew meanwhile, these are its first numbers: see `restarted_since`.
        """
        gaps: list[Gap] = []
        for emitter, topic, then, now in self._pairs(before):
            first = 0 if now.first <= then.last else then.last + 1
            if (missed := now.first - first) > 0:
                from_s = then.seen_s + (before._start_ns - self._start_ns) / 1e9
                gaps.append(Gap(emitter, topic, first, now.first - 1, missed, from_s, now.began_s))
        return gaps

    def restarted_since(self, before: LogCount) -> list[str]:
        """Return the emitters that have begun to count anew meanwhile: how far they had come before nobody knows.

        One that has counted on beyond where it was then is not found.
        """
        return sorted({emitter for emitter, _, then, now in self._pairs(before) if now.first <= then.last})

    def _pairs(self, before: LogCount) -> Iterator[tuple[str, str, _Stream, _Stream]]:
        for (emitter, topic), now in sorted(self._streams.items(), key=lambda item: item[0][::-1]):
            then = before._streams.get((emitter, topic))
            if then is not None:
                yield emitter, topic, then, now

    def _take(self, message: LoggedMessage) -> None:
        parts = message.parts
        topic = parts[0].decode("utf-8", "backslashreplace")
        header = _header_of(message)
        if header.seq is None or header.emitter is None or header.seq < 0:
            if topic in self.not_observable or len(self.not_observable) < MAX_TOPICS:
                self.not_observable[topic] += 1
        else:
            self._take_number(header.emitter, topic, header.seq, (message.log_time_ns - self._start_ns) / 1e9)
        if message.is_map and len(parts) == 2 and self._pictures and parts[0].startswith(self._pictures):
            self.announced[topic] += 1

    def _take_number(self, emitter: str, topic: str, seq: int, at_s: float) -> None:
        stream = self._streams.get((emitter, topic))
        if stream is None:
            if len(self._streams) >= MAX_TOPICS:
                return
            stream = self._streams[emitter, topic] = _Stream(seq, at_s)
        missed = self._counter.see(emitter, topic, seq)
        if missed:
            stream.missing += missed
            self.missing += missed
            if len(self.gaps) < MAX_GAPS:
                self.gaps.append(Gap(emitter, topic, seq - missed, seq - 1, missed, stream.seen_s, at_s))
        stream.restarts += bool(stream.messages) and seq <= stream.last
        stream.messages += 1
        stream.last, stream.seen_s = seq, at_s


def _header_of(message: LoggedMessage) -> Header:
    if message.is_map:
        try:
            return peek_header(message.parts[1])
        except ProtocolError:  # pragma: no cover - the recorder has looked at it already
            pass
    return Header()
