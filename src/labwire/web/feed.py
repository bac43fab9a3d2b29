"""Reads the bus for all browsers on one thread: subscribes to what any of them wants, decodes once, never waits."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable

from labwire.bus.subscription import Subscription
from labwire.client.rig import Rig
from labwire.errors import LabwireError, ProtocolError, StateError
from labwire.web.mailbox import Item, Mailbox, Wish
from labwire.web.previews import Previews
from labwire.wire.bus_message import BusMessage, decode_message

ALWAYS = ("bus.stats", "bus.hub", "recorder.state", "camera.", "detector.", "writer.")
"""Topics that the server itself looks at, for ``/metrics`` and ``/ready``; their raw parts are let go."""
MAX_BROWSERS = 32
MAX_TOPICS = 10_000
MAX_LOG = 200
"""Lines of the log that a page begins with: it may be opened because of what they say."""
MAX_LOG_BYTES = 1 << 16
"""Of a line that is kept for that; a longer one only goes to pages that are open."""
_LOG = "logging."
_RETRY_S = 0.5
_DEPTH_BYTES = 128 << 20

_log = logging.getLogger(__name__)


class Feed:
    """The bus, for the browsers.

    Args:
        rig: The rig.
        now: Returns rig time.
    """

    def __init__(self, rig: Rig, now: Callable[[], float]) -> None:
        self._rig, self._now = rig, now
        self._browsers: list[Mailbox] = []
        self._interested: dict[str, tuple[Mailbox, ...]] = {}
        self._wanted: set[str] = {*ALWAYS, _LOG}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._subscription: Subscription[list[bytes]] | None = None
        self.kept: dict[str, Item] = {}
        """Newest message of each topic of `ALWAYS`."""
        self._log_tail: deque[Item] = deque(maxlen=MAX_LOG)
        self.received = self.malformed = 0
        self.dropped_before = 0
        self._previews = Previews(rig, self._deliver, now)
        self._thread = threading.Thread(target=self._read, name="web feed", daemon=True)

    def start(self) -> None:
        """Read from now on; if the rig is not there, as soon as it is."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        if self._subscription:
            self._subscription.close()
        if self._thread.is_alive():
            self._thread.join(5)
        self._previews.close()

    @property
    def connected(self) -> bool:
        """Whether the bus is there."""
        subscription = self._subscription
        return subscription is not None and subscription.statistics().connected

    @property
    def dropped(self) -> int:
        """Messages that this process was too slow for."""
        subscription = self._subscription
        return self.dropped_before + (subscription.statistics().dropped if subscription else 0)

    @property
    def browsers(self) -> int:
        """How many look."""
        return len(self._browsers)

    def add(self, browser: Mailbox) -> None:
        """Serve a browser.

        Raises:
            StateError: There are too many.
        """
        with self._lock:
            if len(self._browsers) >= MAX_BROWSERS:
                raise StateError(f"{MAX_BROWSERS} browsers are looking at this rig already")
            self._browsers.append(browser)
            self._interested = {}

    def remove(self, browser: Mailbox) -> None:
        """Serve it no more."""
        with self._lock:
            self._browsers = [one for one in self._browsers if one is not browser]
            self._interested = {}
            self._subscribe()

    def set_wish(self, browser: Mailbox, wish: Wish) -> None:
        """Send a browser something else from now on; may wait for the bus thread and for the rig.

        Raises:
            UsageError: The wish makes no sense.
        """
        fresh = [prefix for prefix in wish.newest if prefix not in browser.wish.newest]
        wants_log = _LOG in wish.all and _LOG not in browser.wish.all
        browser.set_wish(wish)
        with self._lock:
            self._interested = {}
            self._subscribe()
            if wants_log:
                browser.begin_tail(self._log_tail)
        with contextlib.suppress(LabwireError):  # what is kept comes with the next message then
            values = [value for prefix in fresh for value in self._rig.bus.last(prefix)]
            now_s = self._now()
            browser.begin_with({value.topic: Item(value.topic, value.payload, [], now_s) for value in values})

    def _subscribe(self) -> None:
        wanted = {*ALWAYS, _LOG}.union(*(browser.wish.prefixes for browser in self._browsers))
        self._previews.want(sorted(wanted))
        more, less = wanted - self._wanted, self._wanted - wanted
        self._wanted = wanted
        subscription = self._subscription
        if subscription:
            with contextlib.suppress(StateError):  # closed meanwhile
                for prefix in more:
                    subscription.subscribe(prefix)
                for prefix in less:
                    subscription.unsubscribe(prefix)

    # --- on the bus thread

    def _read(self) -> None:
        while not self._end.is_set():
            try:
                begun = {*ALWAYS, _LOG}
                with self._rig.subscribe(*begun, decode=False, depth_bytes=_DEPTH_BYTES) as subscription:
                    with self._lock:
                        self._subscription, self._wanted = subscription, begun
                        self._subscribe()
                    if self._end.is_set():
                        return
                    for parts in subscription:
                        self.take(parts)
            except LabwireError as error:
                _log.debug("the bus is not there: %s", error)
            self._end.wait(_RETRY_S)

    def take(self, parts: list[bytes]) -> None:
        """Take in a message; what is none is counted."""
        self.received += 1
        try:
            topic = parts[0].decode()
            readers = self._interested.get(topic)
            if readers is None:
                readers = self._find_readers(topic)
            watched = topic.startswith(ALWAYS)
            logged = topic.startswith(_LOG) and len(parts[1]) <= MAX_LOG_BYTES
            if not (readers or watched or logged):
                return
            item = _item(decode_message(parts), self._now())
        except (ProtocolError, UnicodeDecodeError, IndexError):
            self.malformed += 1
            return
        if watched and (topic in self.kept or len(self.kept) < MAX_TOPICS):
            self.kept[topic] = Item(topic, item.payload, [], item.time_s)
        if logged:
            with self._lock:  # a page that opens meanwhile has the line from the tail, or is among the readers
                self._log_tail.append(item.without_raw())
                readers = tuple(browser for browser in self._browsers if browser.wants(topic))
        for browser in readers:
            browser.put(item)

    def _deliver(self, item: Item) -> None:
        """On the threads of the previews."""
        for browser in self._interested.get(item.topic) or self._find_readers(item.topic):
            browser.put(item)

    def _find_readers(self, topic: str) -> tuple[Mailbox, ...]:
        with self._lock:
            readers = tuple(browser for browser in self._browsers if browser.wants(topic))
            if len(self._interested) < MAX_TOPICS:
                self._interested[topic] = readers
            return readers


def _item(message: BusMessage, time_s: float) -> Item:
    return Item(message.topic, message.payload, [bytes(part) for part in message.raw], time_s)
