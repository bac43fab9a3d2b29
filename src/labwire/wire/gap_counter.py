"""Counts what a reader missed, by the numbers that labwire's emitters give their messages."""

from __future__ import annotations

from typing import NamedTuple

MAX_STREAMS = 10_000
"""Emitters times topics that are remembered; above that the oldest is forgotten, so that nobody can fill the memory."""


class Gap(NamedTuple):
    """Messages that did not arrive."""

    emitter: str
    topic: str
    missed: int


class GapCounter:
    """Follows ``seq`` by emitter and topic.

    A number that is not above the last one means that the emitter has started again: no gap. The first message of an
    emitter that is seen is no gap either, whatever its number.

    >>> counter = GapCounter()
    >>> counter.see("camera", "frame.world", 7), counter.see("camera", "frame.world", 10)
    (0, 2)
    >>> counter.see("camera", "frame.world", 0)  # started again
    0
    """

    def __init__(self) -> None:
        self._next: dict[tuple[str, str], int] = {}
        self._missed: dict[tuple[str, str], int] = {}

    def see(self, emitter: str, topic: str, seq: int) -> int:
        """Take note of a message; return how many before it did not arrive."""
        stream = emitter, topic
        expected = self._next.get(stream)
        if expected is None and len(self._next) >= MAX_STREAMS:
            del self._next[next(iter(self._next))]
        self._next[stream] = seq + 1
        if expected is None or seq <= expected:
            return 0
        if stream in self._missed or len(self._missed) < MAX_STREAMS:
            self._missed[stream] = self._missed.get(stream, 0) + seq - expected
        return seq - expected

    def forget(self, prefix: str) -> None:
        """Stop expecting topics that begin with `prefix`: they were unsubscribed."""
        for stream in [stream for stream in self._next if stream[1].startswith(prefix)]:
            del self._next[stream]

    @property
    def missed(self) -> dict[tuple[str, str], int]:
        """Messages missed so far, by emitter and topic."""
        return dict(self._missed)
