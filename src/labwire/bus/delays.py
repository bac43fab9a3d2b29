"""Delayed notifications: one pending per subject, never early, bounded in number and time.

Source: ipc-backbone names the topic ``delayed_notify``; the rest follows the real system: a newer one of the same
subject replaces the older, and what comes out is ``notify.<subject>`` without ``delay``. Ours adds a cancel.
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

from labwire.errors import LimitError, ProtocolError
from labwire.names import NOTIFY
from labwire.wire.bus_message import decode_payload, encode_payload

MAX_PENDING = 10_000
MAX_PENDING_BYTES = 256 << 20
MAX_DELAY_S = 7 * 24 * 3600.0
CANCEL_SUBJECT = "delayed_notify.cancel"


class _Pending(NamedTuple):
    number: int
    parts: list[bytes]
    size_bytes: int


class DelayQueue:
    """What is waiting, by subject; takes the time as an argument and has no clock of its own."""

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}
        self._pending_bytes = 0
        self._heap: list[tuple[float, int, str]] = []
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, parts: list[bytes], now_s: float) -> None:
        """Take a ``delayed_notify.<subject>`` message.

        Args:
            parts: Its parts; raw parts go out behind the payload again.
            now_s: The monotonic clock.

        Raises:
            ProtocolError: Without a subject, or with a delay that is not a number from 0 to a week.
            LimitError: Too many, or too many bytes, are waiting.
        """
        payload = decode_payload(parts[1] if len(parts) > 1 else b"")
        subject, delay_s = payload.get("subject"), payload.pop("delay", None)
        if not isinstance(subject, str) or not subject:
            raise ProtocolError("a delayed notification needs a 'subject'")
        if isinstance(delay_s, bool) or not isinstance(delay_s, (int, float)) or not 0 <= delay_s <= MAX_DELAY_S:
            raise ProtocolError(
                f"{subject!r}: 'delay' must be 0 to {MAX_DELAY_S:g} seconds, not {delay_s!r}", subject=subject
            )
        if subject not in self._pending and len(self._pending) >= MAX_PENDING:
            raise LimitError(f"{subject!r}: {MAX_PENDING} delayed notifications are waiting already", subject=subject)
        topic = NOTIFY + subject
        if "topic" in payload:
            payload["topic"] = topic
        self._schedule(subject, [topic.encode(), encode_payload(payload), *parts[2:]], now_s + delay_s)

    def cancel(self, subject: str) -> bool:
        """Take back what is waiting under this subject; False if there was nothing."""
        return bool(self._remove(subject))

    def next_due_s(self) -> float:
        """Return when the next one is due on the monotonic clock; infinity if none is waiting."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def take_due(self, now_s: float) -> list[list[bytes]]:
        """Return the messages that are due, oldest first."""
        due: list[list[bytes]] = []
        while self.next_due_s() <= now_s:
            _, _, subject = heapq.heappop(self._heap)
            due.append(self._remove(subject))
        return due

    def _schedule(self, subject: str, parts: list[bytes], due_s: float) -> None:
        size_bytes = sum(map(len, parts))
        replaced_bytes = self._pending[subject].size_bytes if subject in self._pending else 0
        if self._pending_bytes - replaced_bytes + size_bytes > MAX_PENDING_BYTES:
            raise LimitError(
                f"{subject!r}: {size_bytes} bytes are too many, {self._pending_bytes} of {MAX_PENDING_BYTES} bytes "
                "of delayed notifications are waiting already",
                subject=subject,
            )
        self._remove(subject)
        self._last_number += 1
        self._pending[subject] = _Pending(self._last_number, parts, size_bytes)
        self._pending_bytes += size_bytes
        heapq.heappush(self._heap, (due_s, self._last_number, subject))
        if len(self._heap) > 2 * MAX_PENDING:  # a subject that is replaced without end leaves its old entries behind
            self._heap = [entry for entry in self._heap if self._is_current(entry)]
            heapq.heapify(self._heap)

    def _remove(self, subject: str) -> list[bytes]:
        pending = self._pending.pop(subject, None)
        if pending is None:
            return []
        self._pending_bytes -= pending.size_bytes
        return pending.parts

    def _is_current(self, entry: tuple[float, int, str]) -> bool:
        pending = self._pending.get(entry[2])
        return pending is not None and pending.number == entry[1]
