"""A subscription for those who come late: the newest message of each topic first, then all that follow."""

from __future__ import annotations

from collections import deque

from labwire.bus.subscription import Subscription
from labwire.operations.bus import LastValue
from labwire.wire.bus_message import BusMessage, Payload


class LatecomerSubscription(Subscription[BusMessage]):
    """Delivers what the steward has kept before what comes live, each message once.

    Subscribe first, ask then, and drop what both roads bring: nothing falls between them. Raw parts are not kept, so
    the first message of a topic has none.
    """

    # Empty until `begin_with`: what comes before is all news. Neither is changed in place before that.
    _first: deque[BusMessage] = deque()
    _kept: dict[str, Payload] = {}

    def begin_with(self, kept: list[LastValue], early: list[BusMessage]) -> None:
        """Deliver these before anything else.

        Args:
            kept: The newest message of each topic, as the steward knows it.
            early: What has come live meanwhile, in order.
        """
        self._kept = {value.topic: value.payload for value in kept}
        messages = [BusMessage(value.topic, value.payload) for value in kept]
        self._first = deque(messages + [message for message in early if self._is_news(message)])

    def _take(self, deadline: float | None) -> BusMessage | None:
        if self._first:
            return self._first.popleft()
        while (message := super()._take(deadline)) is not None:
            if self._is_news(message):
                return message
        return None

    def _is_news(self, message: BusMessage) -> bool:
        kept = self._kept.get(message.topic)
        if kept is None:
            return True
        if _is_not_after(message.payload, kept):
            return False
        del self._kept[message.topic]  # from here on all of this topic is news
        return True


def _is_not_after(payload: Payload, kept: Payload) -> bool:
    if payload.get("emitter") == kept.get("emitter"):
        for key in ("seq", "index", "timestamp"):
            new, old = payload.get(key), kept.get(key)
            if isinstance(new, (int, float)) and isinstance(old, (int, float)):
                return new <= old
    return payload == kept
