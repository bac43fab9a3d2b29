"""Count messages that were lost before they arrived, by the numbers that labwire's emitters give them."""

from __future__ import annotations

_MAX_TOPICS = 10_000
_FIRST_NUMBERS = (0, 1)


class GapCounter:
    """Gaps in the ``seq`` of each topic.

    A number that goes back to 0 or 1 is an emitter that started again. One that goes back to anything else means that
    two emitters share the topic; its numbers then tell nothing, and it is no longer counted.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, int | None] = {}

    def missing_before(self, topic: bytes, seq: int) -> int:
        """Return how many messages are missing between the topic's last number and this one."""
        last = self._last.get(topic, -1)
        if last is None:
            return 0
        if last < 0 and len(self._last) >= _MAX_TOPICS:
            return 0
        if seq == last + 1 or last < 0 or seq in _FIRST_NUMBERS:
            self._last[topic] = seq
            return 0
        self._last[topic] = seq if seq > last else None
        return max(0, seq - last - 1)
