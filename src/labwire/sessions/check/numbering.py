"""Recount what is numbered: which numbers are there, and when the missing ones would have come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from labwire.operations.session_check import Gap, NumberedTopic
from labwire.wire.gap_counter import GapCounter

MAX_GAPS = 10_000
MAX_TOPICS = 10_000
_MAX_RESTARTS = 1000


class Restart(NamedTuple):
    """An emitter that began to count anew: what it sent around then may be missing, and no number tells."""

    topic: str
    from_s: float
    """When the message before came, in seconds since the start of the session."""
    at_s: float


class _Stream:
    """One emitter's messages on one topic."""

    __slots__ = ("began_s", "first", "last", "messages", "missing", "restarts", "rises", "seen_s")

    def __init__(self, number: int, at_s: float) -> None:
        self.began_s = self.seen_s = at_s
        self.first = self.last = number
        self.messages = self.missing = self.restarts = self.rises = 0


class Numbering:
    """Follows numbers by emitter and topic.

    Args:
        start_ns: Start of the session, nanoseconds since 1970.
    """

    def __init__(self, start_ns: int) -> None:
        self.gaps: list[Gap] = []
        """The first 10,000, in order."""
        self.missing = 0
        self.restarts: list[Restart] = []
        """The first 1000, in order."""
        self._start_ns = start_ns
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._counter = GapCounter()

    def take(self, emitter: str, topic: str, number: int, log_time_ns: int) -> None:
        """Take note of a message."""
        at_s = (log_time_ns - self._start_ns) / 1e9
        stream = self._streams.get((emitter, topic))
        if stream is None:
            if len(self._streams) >= MAX_TOPICS:
                return
            stream = self._streams[emitter, topic] = _Stream(number, at_s)
        missed = self._counter.see(emitter, topic, number)
        if missed:
            stream.missing += missed
            self.missing += missed
            if len(self.gaps) < MAX_GAPS:
                self.gaps.append(Gap(emitter, topic, number - missed, number - 1, missed, stream.seen_s, at_s))
        if stream.messages and number <= stream.last:
            stream.restarts += 1
            if len(self.restarts) < _MAX_RESTARTS:
                self.restarts.append(Restart(topic, stream.seen_s, at_s))
        stream.rises += number > stream.last
        stream.messages += 1
        stream.last, stream.seen_s = number, at_s

    def remove_unordered(self) -> dict[str, int]:
        """Forget topics that are not numbered after all: rather than to rise, their numbers stay, or go to and fro.

        Returns:
            The messages of each.
        """
        odd = {key for key, one in self._streams.items() if one.messages > 1 and one.rises <= 2 * one.restarts}
        gone = {topic: self._streams.pop((emitter, topic)) for emitter, topic in odd}
        self.missing -= sum(one.missing for one in gone.values())
        self.gaps = [gap for gap in self.gaps if gap.topic not in gone]
        self.restarts = [restart for restart in self.restarts if restart.topic not in gone]
        return {topic: one.messages for topic, one in gone.items()}

    @property
    def topics(self) -> list[NumberedTopic]:
        """The numbered topics, by name."""
        return [
            NumberedTopic(emitter, topic, one.messages, one.first, one.last, one.missing, one.restarts)
            for (emitter, topic), one in sorted(self._streams.items(), key=lambda item: item[0][::-1])
        ]

    def gaps_since(self, before: Numbering) -> list[Gap]:
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

    def restarted_since(self, before: Numbering) -> list[str]:
        """Return the emitters that have begun to count anew meanwhile: how far they had come before nobody knows.

        One that has counted on beyond where it was then is not found.
        """
        return sorted({emitter for emitter, _, then, now in self._pairs(before) if now.first <= then.last})

    def _pairs(self, before: Numbering) -> Iterator[tuple[str, str, _Stream, _Stream]]:
        for (emitter, topic), now in sorted(self._streams.items(), key=lambda item: item[0][::-1]):
            then = before._streams.get((emitter, topic))
            if then is not None:
                yield emitter, topic, then, now
