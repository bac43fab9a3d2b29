"""What waits for one browser: bounded, each kind with its own policy, and what is dropped is counted.

The thread that reads the bus puts in, the browser's task takes out.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import msgspec

from labwire.web.series import Series, read_path, value_at

MAX_TAIL = 500
"""Messages that wait to be shown one by one; older ones are dropped."""
MAX_NEWEST = 2000
"""Topics of which the newest message waits."""
IN_FLIGHT = 2
"""Pictures of a topic that are on their way to a browser; it says when it has shown one."""

_Prefix = Annotated[str, msgspec.Meta(max_length=255)]
_Prefixes = Annotated[list[_Prefix], msgspec.Meta(max_length=64)]


class SeriesWish(msgspec.Struct, frozen=True):
    """A series that a browser draws."""

    id: Annotated[str, msgspec.Meta(max_length=64)]
    topic: _Prefix
    field: _Prefix
    bucket_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0


class Wish(msgspec.Struct, frozen=True):
    """All that a browser wants to see now; it replaces what it wanted before."""

    newest: _Prefixes = []
    """Prefixes of topics of which the newest message is enough."""
    all: _Prefixes = []
    """Prefixes of topics whose messages are wanted one by one."""
    pictures: Annotated[list[_Prefix], msgspec.Meta(max_length=16)] = []
    """Topics with a picture in their first raw part."""
    series: Annotated[list[SeriesWish], msgspec.Meta(max_length=64)] = []

    @property
    def prefixes(self) -> set[str]:
        """What has to be subscribed to."""
        return {*self.newest, *self.all, *self.pictures, *(series.topic for series in self.series)}


class FromBrowser(msgspec.Struct, frozen=True):
    """What a browser says."""

    wish: Wish | None = None
    shown: _Prefix = ""
    """Topic of a picture that it has drawn."""


class Item(msgspec.Struct, frozen=True):
    """A message as it waits: decoded at most once, however many want it."""

    topic: str
    payload: dict[Any, Any]
    raw: list[bytes]
    time_s: float
    """Rig time of its arrival."""
    raw_bytes: int = 0
    """Bytes of raw parts that were let go."""

    def without_raw(self) -> Item:
        """Return the same without its raw parts: hundreds may wait."""
        return Item(self.topic, self.payload, [], self.time_s, sum(map(len, self.raw))) if self.raw else self


class Mailbox:
    """What waits for one browser.

    Args:
        wake: Called, on the bus thread, when a picture or the first of other things has come.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self.wish = Wish()
        self._newest: dict[str, Item] = {}
        self._tail: deque[Item] = deque(maxlen=MAX_TAIL)
        self._pictures: dict[str, Item] = {}
        self._in_flight: dict[str, int] = {}
        self._series: dict[str, tuple[SeriesWish, tuple[str, ...], Series]] = {}
        self._by_topic: dict[str, list[tuple[tuple[str, ...], Series]]] = {}
        self.dropped: dict[str, int] = {}
        """Messages and pictures that this browser was not sent, by topic."""

    def set_wish(self, wish: Wish) -> None:
        """Want something else from now on.

        Raises:
            UsageError: A field has no name.
        """
        wanted = {series.id: (series, read_path(series.field)) for series in wish.series}
        with self._lock:
            self.wish = wish
            self._pictures = {topic: item for topic, item in self._pictures.items() if topic in wish.pictures}
            self._in_flight = {topic: self._in_flight.get(topic, 0) for topic in wish.pictures}
            kept: dict[str, tuple[SeriesWish, tuple[str, ...], Series]] = {}
            self._by_topic = {}
            for key, (series, steps) in wanted.items():
                old = self._series.get(key)
                kept[key] = old if old and old[0] == series else (series, steps, Series(series.bucket_s))
                self._by_topic.setdefault(series.topic, []).append((steps, kept[key][2]))
            self._series = kept

    def wants(self, topic: str) -> bool:
        """Whether messages of a topic are for this browser; asked once per topic and wish."""
        wish = self.wish
        return topic in wish.pictures or topic in self._by_topic or topic.startswith((*wish.newest, *wish.all))

    def put(self, item: Item) -> None:
        """Take a message in; on the bus thread."""
        topic, wish, wake = item.topic, self.wish, False
        with self._lock:
            if topic in self._in_flight and item.raw:
                wake = self._put_picture(item)
            if fields := self._by_topic.get(topic):
                time_s = _time_of(item)
                for steps, series in fields:
                    if (value := value_at(item.payload, steps)) is not None:
                        series.add(time_s, value)
            if topic.startswith(tuple(wish.all)):
                if len(self._tail) == MAX_TAIL:
                    self._count(self._tail[0].topic)
                self._tail.append(item.without_raw())
            elif topic.startswith(tuple(wish.newest)):
                if topic not in self._newest and len(self._newest) >= MAX_NEWEST:
                    self._count(topic)
                else:
                    self._newest[topic] = item.without_raw()
        if wake:
            self._wake()

    def _put_picture(self, item: Item) -> bool:
        if item.topic in self._pictures:
            self._count(item.topic)  # conflated: it shows the newest
        self._pictures[item.topic] = item
        return self._in_flight[item.topic] < IN_FLIGHT

    def _count(self, topic: str) -> None:
        if topic in self.dropped or len(self.dropped) < MAX_NEWEST:
            self.dropped[topic] = self.dropped.get(topic, 0) + 1

    def shown(self, topic: str) -> bool:
        """Note that the browser has drawn a picture; True if another one waits."""
        with self._lock:
            if self._in_flight.get(topic, 0) > 0:
                self._in_flight[topic] -= 1
            return topic in self._pictures

    def take_picture(self) -> Item | None:
        """Return a picture that may be sent now."""
        with self._lock:
            for topic in self._pictures:
                if self._in_flight.get(topic, 0) < IN_FLIGHT:
                    self._in_flight[topic] = self._in_flight.get(topic, 0) + 1
                    return self._pictures.pop(topic)
        return None

    def take_messages(self) -> tuple[list[Item], list[Item]]:
        """Return the newest message of each topic, and the messages that are wanted one by one."""
        with self._lock:
            newest, tail = list(self._newest.values()), list(self._tail)
            self._newest = {}
            self._tail.clear()
        return newest, tail

    def take_series(self) -> tuple[list[tuple[str, int, int]], list[bytes]]:
        """Return ``[id, points, dropped]`` of each series that has points, and their times and values."""
        rows: list[tuple[str, int, int]] = []
        columns: list[bytes] = []
        with self._lock:
            for key, (_, _, series) in self._series.items():
                times, values, count = series.take()
                if count:
                    rows.append((key, count, series.dropped))
                    columns += [times, values]
        return rows, columns

    def begin_with(self, kept: Mapping[str, Item]) -> None:
        """Deliver what the rig kept of these topics, unless something newer waits; before anything live."""
        with self._lock:
            for topic, item in kept.items():
                self._newest.setdefault(topic, item)

    def begin_tail(self, kept: Iterable[Item]) -> None:
        """Deliver messages of before, in front of those that wait already; what waits is not delivered twice."""
        with self._lock:
            waiting = {id(item.payload) for item in self._tail}
            earlier = [item for item in kept if id(item.payload) not in waiting]
            room = MAX_TAIL - len(self._tail)
            self._tail.extendleft(reversed(earlier[-room:] if room else []))


def _time_of(item: Item) -> float:
    time_s = item.payload.get("timestamp")
    return float(time_s) if isinstance(time_s, (int, float)) else item.time_s
