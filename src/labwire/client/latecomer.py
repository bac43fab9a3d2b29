"""A subscription for those who come late: the newest message of each topic first, then all that follow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from labwire.bus.subscription import Subscription
from labwire.operations.bus import LastValue
from labwire.wire.bus_message import BusMessage, Payload


class LatecomerSubscription(Subscription[BusMessage]):
    """Delivers what the steward has kept before what comes live, each message once.

    Subscribe first, ask then, and drop what both roads bring: nothing falls between them. Raw parts are not kept, so
    the first message of a topic has none.
    """

    # Until `begin_with` all is news.
    _first: deque[BusMessage] | None = None
    _kept: Mapping[str, Payload] = MappingProxyType({})
    _maybe_old = 0

    def begin_with(self, kept: Iterable[LastValue]) -> None:
        """Deliver these, the newest message of each topic as the steward knows it, before anything else.

        Call it when whatever was on its way while the steward answered has come: only what waits now can be older than
        what he told, or the same.
        """
        values = {value.topic: value.payload for value in kept}
        self._kept, self._maybe_old = values, self.statistics().waiting
        self._first = deque(BusMessage(topic, payload) for topic, payload in values.items())

    def _take(self, deadline: float | None) -> BusMessage | None:
        if self._first:
            return self._first.popleft()
        while (message := super()._take(deadline)) is not None and self._maybe_old:
            self._maybe_old -= 1
            kept = self._kept.get(message.topic)
            if kept is None or _is_after(message.payload, kept):
                break
        return message


def _is_after(payload: Payload, kept: Payload) -> bool:
    for key in ("seq", "index", "timestamp"):
        new, old = payload.get(key), kept.get(key)
        if isinstance(new, (int, float)) and isinstance(old, (int, float)):
            return new > old
    return payload != kept
