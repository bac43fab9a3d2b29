"""One bounded queue for all rooms: what happens when it is full is data, and what is dropped is counted."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args

import msgspec

from labwire.errors import DeadlineError, QueueFullError, StateError, UsageError

T = TypeVar("T")

Policy: TypeAlias = Literal["block", "drop_new", "drop_old", "conflate", "fail"]
"""What a full queue does.

``block``: the producer waits. ``drop_new``: the arriving item is dropped. ``drop_old``: the oldest items make room.
``conflate``: only the newest item of each key is kept. ``fail``: the producer gets `QueueFullError`.
"""
POLICIES: tuple[Policy, ...] = get_args(Policy)


class QueueStatistics(msgspec.Struct, frozen=True):
    """A queue at one moment, and what it has counted since it was made."""

    policy: Policy
    depth: int
    """Most items it holds."""
    depth_bytes: int | None
    """Most bytes it holds; None means items alone are bounded."""
    used: int
    used_bytes: int
    most_used: int
    """The most items it ever held."""
    received: int
    """Items that producers offered, dropped ones included."""
    delivered: int
    dropped: int
    """Items that were received and will never be delivered, because of the policy or because the queue was closed."""
    dropped_bytes: int


class BoundedQueue(Generic[T]):
    """A queue between threads with a bound and a policy.

    >>> queue = BoundedQueue[str](2, "drop_old")
    >>> [queue.put(item) for item in ("a", "b", "c")]
    [True, True, False]
    >>> queue.get(), queue.get(), queue.statistics().dropped
    ('b', 'c', 1)

    Iterating yields items until the queue is closed and empty. Safe for any number of producers and consumers.

    Args:
        depth: Most items it holds, at least 1. With ``conflate``: most keys.
        policy: What happens when it is full, see `Policy`.
        depth_bytes: Most bytes it holds as `size_of` tells; None for no bound. One item is always let into an empty
            queue, however large, so that nothing waits for ever.
        size_of: Bytes of an item; only called when `depth_bytes` is given. Default: ``len``.
        key_of: What ``conflate`` compares; by default all items are alike, so only the newest is kept.

    Raises:
        UsageError: A bound below 1, or an unknown policy.
    """

    def __init__(
        self,
        depth: int,
        policy: Policy,
        *,
        depth_bytes: int | None = None,
        size_of: Callable[[T], int] | None = None,
        key_of: Callable[[T], Hashable] | None = None,
    ) -> None:
        if depth < 1 or (depth_bytes is not None and depth_bytes < 1):
            raise UsageError(f"a queue needs room for at least one item: depth={depth}, depth_bytes={depth_bytes}")
        if policy not in POLICIES:
            raise UsageError(f"{policy!r} is not a policy: use one of {', '.join(POLICIES)}")
        self._depth, self._depth_bytes = depth, depth_bytes
        self._policy: Policy = policy
        self._size_of: Callable[[Any], int] = (size_of or len) if depth_bytes is not None else _no_size
        self._key_of = key_of
        self._items: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._used_bytes = self._most_used = 0
        self._received = self._delivered = self._dropped = self._dropped_bytes = 0
        self._closed = False
        self._lock = threading.Lock()
        self._not_empty = threading.Condition(self._lock)
        self._not_full = threading.Condition(self._lock)

    def put(self, item: T, timeout_s: float | None = None) -> bool:
        """Offer an item; return False if it, or older items in its stead, had to be dropped.

        Only ``block`` ever waits. On a closed queue the item is dropped and counted, so that a producer that is a
        moment late needs no special care.

        Args:
            item: What to put in.
            timeout_s: How long ``block`` waits for room; None means as long as it takes.

        Raises:
            DeadlineError: Policy ``block`` and no room within `timeout_s`; the item is not in the queue.
            QueueFullError: Policy ``fail`` and no room.
        """
        size = self._size_of(item)
        with self._lock:
            if not self._closed and not self._has_room(size):
                if self._policy == "block":
                    self._wait_for_room(size, timeout_s)
                elif self._policy == "fail":
                    raise QueueFullError(f"the queue is full: {len(self._items)} items, {self._used_bytes} bytes")
            self._received += 1
            dropped = self._dropped
            if self._closed or (self._policy == "drop_new" and not self._has_room(size)):
                self._count_drop(size)
            else:
                self._insert(item, size)
                self._not_empty.notify()
            return self._dropped == dropped

    def get(self, timeout_s: float | None = None) -> T:
        """Take the oldest item, waiting for one if need be.

        Args:
            timeout_s: How long to wait; None means until there is one, 0 not at all.

        Raises:
            DeadlineError: Nothing came within `timeout_s`.
            StateError: The queue is closed and empty.
        """
        with self._lock:
            if not self._items and not self._closed:
                self._not_empty.wait_for(lambda: self._items or self._closed, timeout_s)
            if not self._items:
                if self._closed:
                    raise StateError("the queue is closed and empty")
                raise DeadlineError(f"nothing came into the queue within {timeout_s} s", timeout_s=timeout_s)
            _, (item, size) = self._items.popitem(last=False)
            self._used_bytes -= size
            self._delivered += 1
            self._not_full.notify_all()  # all, because one big item may leave room for several small ones
            return item

    def close(self) -> None:
        """Take nothing more; what is inside can still be taken out, and whoever waits is woken. Safe to call twice."""
        with self._lock:
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def statistics(self) -> QueueStatistics:
        """Return fill and counters, all of one moment."""
        with self._lock:
            return QueueStatistics(
                self._policy,
                self._depth,
                self._depth_bytes,
                len(self._items),
                self._used_bytes,
                self._most_used,
                self._received,
                self._delivered,
                self._dropped,
                self._dropped_bytes,
            )

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return True  # an empty queue is still a queue: `queue or default` must not replace it

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                yield self.get()
            except StateError:
                return

    # The methods below are called with the lock held.

    def _has_room(self, size: int) -> bool:
        if len(self._items) >= self._depth:
            return False
        return self._depth_bytes is None or not self._items or self._used_bytes + size <= self._depth_bytes

    def _wait_for_room(self, size: int, timeout_s: float | None) -> None:
        started = time.monotonic()
        if not self._not_full.wait_for(lambda: self._closed or self._has_room(size), timeout_s):
            waited = time.monotonic() - started
            raise DeadlineError(f"the queue of {self._depth} items stayed full for {waited:.3g} s", timeout_s=timeout_s)

    def _insert(self, item: T, size: int) -> None:
        key: Hashable = self._received
        if self._policy == "conflate":
            key = (self._key_of(item),) if self._key_of else ()
            if replaced := self._items.get(key):
                # In its place: an item that is renewed all the time must not wait at the end of the queue for ever.
                self._items[key] = item, 0
                self._used_bytes -= replaced[1]
                self._count_drop(replaced[1])
        while key not in self._items and not self._has_room(size):
            _, (_, oldest_size) = self._items.popitem(last=False)
            self._used_bytes -= oldest_size
            self._count_drop(oldest_size)
        self._items[key] = item, size
        self._used_bytes += size
        self._most_used = max(self._most_used, len(self._items))

    def _count_drop(self, size: int) -> None:
        self._dropped += 1
        self._dropped_bytes += size


def _no_size(_item: object) -> int:
    return 0
