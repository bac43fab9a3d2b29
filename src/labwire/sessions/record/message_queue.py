"""Between the thread that reads the bus and the thread that writes the files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TypeAlias

from labwire.sessions.sink import ClockChange

Item: TypeAlias = tuple[Sequence[bytes] | ClockChange, float]
"""The parts of a message, or a jump of rig time; and when it came, on the monotonic clock."""

_HURRY_PART = 8  # a batch is written early once this part of the bound is taken


class MessageQueue:
    """A bounded queue of messages with policy ``drop_new``: what does not fit is refused and counted.

    So what was recorded has no hole up to the first loss, and the reader of the bus never waits. Unlike
    `labwire.bounded.BoundedQueue` it is emptied in one go, which at 50,000 messages/s is what matters.

    Args:
        max_messages: Messages that may wait.
        max_bytes: Bytes of their parts that may wait.
    """

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._hurry_messages, self._hurry_bytes = max_messages // _HURRY_PART, max_bytes // _HURRY_PART
        self._changed = threading.Condition()
        self._items: list[Item] = []
        self._bytes = 0
        self._closed = self._failed = False
        self._hurry = threading.Event()
        self.refused = 0
        """Messages that found no room: lost."""

    @property
    def waiting(self) -> int:
        """Messages that wait now."""
        return len(self._items)

    def put(self, parts: Sequence[bytes], monotonic_s: float) -> bool:
        """Hand over a message; False if it was refused. Never blocks."""
        size = sum(map(len, parts))
        with self._changed:
            items = self._items
            if self._closed:
                return False
            if self._failed:
                self.refused += 1
                return False
            waiting_bytes = self._bytes + size
            if len(items) >= self._max_messages or (waiting_bytes > self._max_bytes and items):
                self.refused += 1
                return False
            self._bytes = waiting_bytes
            items.append((parts, monotonic_s))
            if len(items) == 1:
                self._changed.notify()
            elif waiting_bytes > self._hurry_bytes or len(items) > self._hurry_messages:
                self._hurry.set()
        return True

    def put_clock_change(self, change: ClockChange) -> None:
        """Hand over a jump of rig time, in its place among the messages; there is always room for it."""
        with self._changed:
            if not self._closed:
                self._items.append((change, change.monotonic_s))
                self._changed.notify()

    def take_all(self) -> list[Item]:
        """Wait for items and take them all; empty once the queue is closed and drained."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            items, self._items, self._bytes = self._items, [], 0
            if not self._closed:
                self._hurry.clear()
            return items

    def linger(self, pause_s: float) -> None:
        """Let a batch gather: wait `pause_s`, less if the queue fills or is closed."""
        self._hurry.wait(pause_s)

    def fail(self, lost: int) -> None:
        """Count `lost` messages that were taken but cannot be written, and refuse all that follow."""
        with self._changed:
            self._failed = True
            self.refused += lost

    def close(self) -> None:
        """Take no more; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._hurry.set()
            self._changed.notify()
