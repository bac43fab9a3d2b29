"""What passes over the bus: rates by topic, the newest message of each, and readers that do not keep up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from labwire.bus.ports import Connection
from labwire.errors import LabwireError
from labwire.names import NOTIFY
from labwire.operations.bus import LastValue, ReaderStats, TopicStats
from labwire.wire.bus_message import decode_payload, peek_header
from labwire.wire.zmtp import Heard

MAX_TOPICS = 2000
"""Topics that are counted one by one; a flood of invented topics ends up in one row."""
OTHERS = "(others)"
_NOTIFY = NOTIFY.encode()
_MAP_STARTS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))  # how a MessagePack map begins
MAX_KEPT_BYTES = 64 * 1024
"""Payloads above this are not kept as last values."""


@dataclass
class _Row:
    messages: int = 0
    size_bytes: int = 0
    total: int = 0


class TopicCounter:
    """Counts messages and bytes by topic; `take` gives the rates since it was last called."""

    def __init__(self) -> None:
        self._rows: dict[bytes, _Row] = {}
        self.total = 0
        self.malformed = 0
        """Messages whose second part does not begin as a MessagePack map does; notifications without a subject."""

    def count(self, message: Heard) -> None:
        """Count one message."""
        topic = message.topic
        row = self._rows.get(topic)
        if row is None:
            if len(self._rows) >= MAX_TOPICS:
                topic = OTHERS.encode()
            row = self._rows.setdefault(topic, _Row())
        row.messages += 1
        row.total += 1
        self.total += 1
        row.size_bytes += message.size_bytes
        if _is_malformed(message):
            self.malformed += 1

    def take(self, interval_s: float) -> list[TopicStats]:
        """Return the rates of all topics since the last call, busiest first, and begin anew."""
        stats = [
            TopicStats(
                topic.decode("utf-8", "replace"), row.messages / interval_s, row.size_bytes / interval_s, row.total
            )
            for topic, row in self._rows.items()
        ]
        for row in self._rows.values():
            row.messages = row.size_bytes = 0
        return sorted(stats, key=lambda row: -row.messages_hz)


def _is_malformed(message: Heard) -> bool:
    payload = message.payload
    if not payload or payload[0] not in _MAP_STARTS:
        return True
    if not message.topic.startswith(_NOTIFY):
        return False  # reading all of every message would cost the steward too much
    try:
        return peek_header(payload).subject is None
    except LabwireError:
        return True


class LastValues:
    """The newest message of each topic, without its raw parts."""

    def __init__(self) -> None:
        self._values: dict[bytes, tuple[bytes, float]] = {}

    def keep(self, message: Heard, now_s: float) -> None:
        """Keep a message if its payload is not too large; a flood of new topics is not kept."""
        topic, payload = message.topic, message.payload
        if (
            payload is not None
            and len(payload) <= MAX_KEPT_BYTES
            and (topic in self._values or len(self._values) < MAX_TOPICS)
        ):
            self._values[topic] = payload, now_s

    def find(self, prefix: str) -> list[LastValue]:
        """Return what is kept under a prefix; payloads that nobody could read are left out."""
        found: list[LastValue] = []
        for topic, (payload, received_s) in self._values.items():
            if topic.startswith(prefix.encode()):
                try:
                    found.append(LastValue(topic.decode(), decode_payload(payload), received_s))
                except (LabwireError, UnicodeDecodeError):
                    continue
        return found


@dataclass
class _Stalled:
    unsent_bytes: int
    since_s: float


class ReaderWatch:
    """Watches the unsent bytes of every reader, and sees which of those that stood still have been cut.

    Args:
        slow_subscriber_s: After so long with a closed window the hub cuts a reader.
        on_cut: Called with the address of a reader that was cut, its unsent bytes and how long it stood still.
    """

    def __init__(self, slow_subscriber_s: float, on_cut: Callable[[str, int, float], None]) -> None:
        self._limit_s = slow_subscriber_s
        self._on_cut = on_cut
        self._stalled: dict[str, _Stalled] = {}
        self.cut = 0
        self.readers: list[ReaderStats] = []

    def look(self, connections: Iterable[Connection], now_s: float) -> None:
        """Take the system's table of connections to the sub port."""
        present = {connection.peer: connection.unsent_bytes for connection in connections}
        for peer in [peer for peer in self._stalled if peer not in present]:
            self._gone(peer, self._stalled.pop(peer), now_s)
        for peer, unsent_bytes in present.items():
            known = self._stalled.get(peer)
            if not unsent_bytes or (known and unsent_bytes < known.unsent_bytes):
                self._stalled.pop(peer, None)  # it reads: what was unsent has shrunk
            elif known:
                known.unsent_bytes = unsent_bytes
            else:
                self._stalled[peer] = _Stalled(unsent_bytes, now_s)
        self.readers = [ReaderStats(peer, unsent, self._behind_s(peer, now_s)) for peer, unsent in present.items()]

    def _behind_s(self, peer: str, now_s: float) -> float:
        stalled = self._stalled.get(peer)
        return now_s - stalled.since_s if stalled else 0.0

    def _gone(self, peer: str, stalled: _Stalled, now_s: float) -> None:
        behind_s = now_s - stalled.since_s
        # The window closes somewhat before the system starts to count, so half the limit tells a cut from a goodbye.
        if behind_s >= self._limit_s / 2:
            self.cut += 1
            self._on_cut(peer, stalled.unsent_bytes, behind_s)
