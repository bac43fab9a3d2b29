"""The receiving end of the bus: stays fresh, loses nothing unnoticed, and no input can end it.

Source: ipc-backbone, "Reading from the Backbone" and "Delivery Guarantees PUB-SUB" (the late joiner, the snail).
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, Literal, Self, TypeVar, Unpack, cast, overload

import msgspec
import zmq

from labwire.bounded import BoundedQueue
from labwire.bus.connection_watch import ConnectionWatch
from labwire.bus.far_peer import notice_loss
from labwire.bus.intake import Intake, TypedMessage
from labwire.bus.subscription_options import DEPTH, DEPTH_BYTES, Options, SubscriptionStatistics
from labwire.errors import DeadlineError, QueueFullError, StateError, UsageError
from labwire.wire.bus_message import BusMessage, encode_payload
from labwire.wire.gap_counter import Gap

M = TypeVar("M")
S = TypeVar("S", bound=msgspec.Struct)
_log = logging.getLogger(__name__)

READY_TOPIC = "bus.ready"
"""Carries the messages by which newcomers see that they are subscribed."""
_SHOWN_PREFIXES = 5
_READY = READY_TOPIC.encode()
_NOBLOCK = int(zmq.NOBLOCK)
_SLICE_S = 0.1  # longest wait without a look around: Ctrl-C, `close`, a further prefix
_AWAY_S = 0.05  # how long the socket's own queue may hide messages from the policy
_BUSY_S = 0.005  # the same while there is much to take over
_PASS_S = 0.0005
_MARK_S = 0.05
_LOST_S = 1.0
_BATCH = 512
_FAST = 2000  # a consumer that takes so many per `_AWAY_S` leaves nothing old in the socket's queue
_SMALL_DEPTH = 1000  # below, the socket's queue is emptied at every receive, because it holds more than the backlog may
_MAX_PART_BYTES = 128 * 1024 * 1024


class Subscription(Generic[M]):
    """Receives the messages whose topics begin with one of the prefixes; an iterator and a context manager.

    >>> with Subscription("tcp://127.0.0.1:50022", ["pupil."]) as subscription:  # doctest: +SKIP
    ...     for topic, payload, raw in subscription:
    ...         print(topic, payload["confidence"])

    Whoever receives reads the socket directly. What the socket's own queue has held for 50 ms, because the consumer is
    slow or away, a thread takes over into a bounded backlog with the chosen policy: what a slow consumer gets is never
    older than the backlog is deep. Iteration ends when the subscription is closed, from whichever thread.

    Args:
        sub_url: Where subscribers connect: ``tcp://HOST:SUB_PORT``.
        prefixes: First bytes of the wanted topics; an empty one means all topics.
        typed: Struct that payloads are decoded into; a message that does not fit counts as malformed.
        decode: False gives the parts as they are, a list of bytes.
        **options: See `Options`.
    """

    @overload
    def __init__(
        self: Subscription[BusMessage], sub_url: str, prefixes: Iterable[str | bytes], **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(
        self: Subscription[TypedMessage[S]],
        sub_url: str,
        prefixes: Iterable[str | bytes],
        *,
        typed: type[S],
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Subscription[list[bytes]],
        sub_url: str,
        prefixes: Iterable[str | bytes],
        *,
        decode: Literal[False],
        **options: Unpack[Options],
    ) -> None: ...
    def __init__(
        self,
        sub_url: str,
        prefixes: Iterable[str | bytes],
        *,
        typed: type[msgspec.Struct] | None = None,
        decode: bool = True,
        **options: Unpack[Options],
    ) -> None:
        if isinstance(prefixes, (str, bytes)):
            raise UsageError(f"prefixes is a list of prefixes: [{prefixes!r}]")
        self.name = options.get("name", "") or sub_url
        self._policy = options.get("policy", "drop_old")
        self._on_gap, self._on_malformed = options.get("on_gap"), options.get("on_malformed")
        depth, depth_bytes = options.get("depth", DEPTH), options.get("depth_bytes", DEPTH_BYTES)
        self._backlog = BoundedQueue[list[bytes]](
            DEPTH if self._policy == "block" else depth,
            self._policy,
            depth_bytes=depth_bytes,
            size_of=_size_bytes,
            key_of=_topic,
        )
        # Taking over at every receive instead of after a while: the attention flag then never goes down.
        self._eager = self._policy == "conflate" or (self._policy != "block" and depth < _SMALL_DEPTH)
        self._attention = self._eager
        self._lock = threading.Lock()
        self._gate = threading.Lock()
        self._wanted = False  # somebody waits for the lock, and whoever receives is to let him pass
        self._taken_over = 0
        self._overflown = self._closing = self._closed = False
        self._end = threading.Event()
        context = options.get("context") or cast("zmq.Context[Any]", zmq.Context.instance())
        self._socket = _open_sub(context, depth if self._policy == "block" else None)
        self._watch = ConnectionWatch(context, self._socket)
        self._intake = Intake(
            self._socket,
            typed=typed,
            decode=decode,
            count_gaps=options.get("count_gaps", self._on_gap is not None or (decode and typed is None)),
            keep_notices=self._on_gap is not None or self._on_malformed is not None,
        )
        self._notices = self._intake.notices
        self._prefixes: list[str | bytes] = []
        self._sub_url, self._find_again = sub_url, options.get("find_again")
        try:
            for prefix in prefixes:
                self._socket.subscribe(prefix)
                self._prefixes.append(prefix)
        except BaseException:  # one is no text
            self._watch.close()
            self._socket.close()
            raise
        self._watch.connect(sub_url)
        self._relief = None
        if self._policy != "block" or self._find_again:
            self._relief = threading.Thread(target=self._relieve, name=f"subscription {self.name}", daemon=True)
            self._relief.start()

    def recv(self, timeout_s: float | None = None) -> M:
        """Receive the next message, waiting for one if need be.

        Args:
            timeout_s: How long to wait; None means until one comes, 0 not at all.

        Raises:
            DeadlineError: None came in time.
            StateError: The subscription is closed.
            QueueFullError: With policy ``fail``: the backlog was full, and what it kept has been delivered.
        """
        message = self._take(None if timeout_s is None else time.monotonic() + timeout_s)
        if message is not None:
            return message
        if self._closing:
            raise StateError(f"the subscription {self.name} is closed")
        text = f"{self.name}: no message{self._that_is_wanted()} within {timeout_s} s"
        raise DeadlineError(text, timeout_s=timeout_s)

    def __iter__(self) -> Iterator[M]:
        """Yield messages until the subscription is closed."""
        take, read, lock, notices = self._take, self._intake.read, self._lock, self._notices
        while True:
            message = None
            with lock:  # what `_take` does where there is nothing else to do, in place: a stream feels each call
                if not self._attention:
                    try:
                        message = read(0)
                    except zmq.ZMQError:
                        message = None  # `_take` will meet it too
            if message is None:
                if (message := take(None)) is None:
                    return
            elif notices:
                self._tell()
            yield message

    def subscribe(self, *prefixes: str | bytes) -> None:
        """Add topics to receive, by their first bytes."""
        with self._exclusive():
            for prefix in prefixes:
                self._socket.subscribe(prefix)
                self._prefixes.append(prefix)

    def unsubscribe(self, *prefixes: str | bytes) -> None:
        """Receive these no longer; what is in the backlog stays there."""
        with self._exclusive():
            for prefix in prefixes:
                self._socket.unsubscribe(prefix)
                with contextlib.suppress(ValueError):
                    self._prefixes.remove(prefix)
                self._intake.gaps.forget(prefix if isinstance(prefix, str) else prefix.decode("utf-8", "replace"))

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the bus is there; False if it did not come in time.

        The bus learns the prefixes right after that; a message published in the same millisecond may still be missed.
        """
        return self._watch.wait(timeout_s)

    def wait_subscribed(self, send: Callable[[str, dict[str, Any]], object], timeout_s: float) -> bool:
        """Wait until the bus has taken the prefixes, so that nothing published from then on is missed.

        Nobody answers a subscription, but they are taken in order: once a message of the last prefix comes, all hold.
        What comes meanwhile waits in the backlog.

        Args:
            send: Puts a message on the bus, given topic and payload; called again if the message does not come.
            timeout_s: How long to wait; False if no message came in time.
        """
        payload = {"reader": uuid.uuid4().hex}
        mark = [READY_TOPIC.encode(), encode_payload(payload)]
        deadline = time.monotonic() + timeout_s
        came = False
        self.subscribe(READY_TOPIC)
        while not came and time.monotonic() < deadline:
            send(READY_TOPIC, payload)
            came = self._put_aside_until(mark, time.monotonic() + _MARK_S)
        self.unsubscribe(READY_TOPIC)
        return came

    @property
    def gaps(self) -> dict[tuple[str, str], int]:
        """Messages that did not arrive, by emitter and topic: known for labwire's own emitters, which number them."""
        return self._intake.gaps.missed

    def statistics(self) -> SubscriptionStatistics:
        """Return the counters."""
        intake, backlog = self._intake, self._backlog.statistics()
        return SubscriptionStatistics(
            received=intake.received,
            dropped=backlog.dropped + self._overflown,
            malformed=intake.malformed,
            missed=intake.missed,
            waiting=backlog.used,
            reconnections=self._watch.reconnections,
            connected=not self._closed and self._watch.connected,
        )

    def close(self) -> None:
        """Close; whoever receives is freed within 100 ms. Safe to call twice and from any thread."""
        self._closing = self._attention = True
        self._end.set()
        if self._relief and self._relief is not threading.current_thread():
            self._relief.join()
        with self._lock:
            if not self._closed:
                self._closed = True
                self._watch.close()
                self._socket.close(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _that_is_wanted(self) -> str:
        """Return what is waited for, for an error: nothing where that is everything."""
        if not all(self._prefixes):
            return ""
        shown = [repr(one if isinstance(one, str) else one.decode("utf-8", "replace")) for one in self._prefixes]
        more = f" or {len(shown) - _SHOWN_PREFIXES} more" if len(shown) > _SHOWN_PREFIXES else ""
        return f" that begins with {' or '.join(shown[:_SHOWN_PREFIXES])}{more}"

    def _take(self, deadline: float | None) -> M | None:
        """Return the next message; None if the time is up or the subscription is closed."""
        while True:
            message, empty = None, False
            with self._lock:
                try:
                    if self._attention:
                        message = self._take_waiting(deadline)
                    elif deadline is None:
                        message = self._intake.read(0)
                    else:
                        message = self._read_until(deadline)
                except zmq.Again:
                    empty = True
                except zmq.ZMQError:  # the context was ended under us
                    self._closing = True
            if self._notices:
                self._tell()
            if message is not None:
                return message
            if self._is_over(deadline, empty=empty):
                return None

    def _is_over(self, deadline: float | None, *, empty: bool) -> bool:
        if self._closing:
            self.close()
            return True
        while self._wanted:
            time.sleep(_PASS_S)
        # A malformed message has not used up the caller's time, unless they come without end.
        return deadline is not None and time.monotonic() >= (deadline if empty else deadline + _SLICE_S)

    # The methods below are called with the lock held.

    def _take_waiting(self, deadline: float | None) -> Any:
        if self._closing:
            return None
        if self._eager:
            self._take_over(DEPTH)
        if len(self._backlog):
            return self._intake.convert(self._backlog.get(0))
        if self._overflown:
            raise QueueFullError(f"{self.name}: messages came faster than they were taken; the backlog was full")
        self._attention = self._eager
        if self._wanted or self._closing:  # asked again after the flag went down, so that nobody is overlooked
            self._attention = True
            return None
        return self._intake.read(0) if deadline is None else self._read_until(deadline)

    def _read_until(self, deadline: float) -> Any:
        left_s = deadline - time.monotonic()
        if left_s >= _SLICE_S:
            return self._intake.read(0)  # waits for one slice
        if left_s > 0:
            self._socket.poll(math.ceil(left_s * 1000))
        return self._intake.read(_NOBLOCK)

    def _take_over(self, limit: int) -> int:
        count = 0
        try:
            while count < limit and not self._overflown:
                self._put_aside(self._intake.read_parts(_NOBLOCK))
                count += 1
        except zmq.Again:
            pass
        return count

    def _put_aside(self, parts: list[bytes]) -> None:
        self._taken_over += 1
        if parts[0] == _READY:  # we, or somebody else, waited to be subscribed
            return
        self._intake.look_at(parts)
        try:
            self._backlog.put(parts, timeout_s=0)
        except (QueueFullError, DeadlineError):
            self._overflown = True
        self._attention = True

    # The methods above are called with the lock held.

    def _put_aside_until(self, mark: list[bytes], deadline: float) -> bool:
        with self._exclusive():
            while (left_s := deadline - time.monotonic()) > 0:
                if self._socket.poll(math.ceil(left_s * 1000)):
                    parts = self._intake.read_parts(_NOBLOCK)
                    if parts == mark:
                        return True
                    self._put_aside(parts)
            return False

    def _relieve(self) -> None:
        """Take over what the socket's queue has held too long; look for the bus when it is gone. Has its own thread."""
        pause_s, taken, look_s = _AWAY_S, 0, time.monotonic() + _LOST_S
        while not self._end.wait(pause_s):
            before, taken = taken, self._intake.received - self._taken_over
            pause_s = _AWAY_S
            if self._policy != "block" and taken - before < _FAST and self._take_over_if_idle():
                pause_s = _BUSY_S
            if self._find_again and time.monotonic() > look_s:
                if not self._watch.connected:
                    self._move(self._find_again())
                look_s = time.monotonic() + _LOST_S
        if self._closing:
            self.close()

    def _take_over_if_idle(self) -> bool:
        # A lock that is taken means that the consumer reads the socket at this moment.
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return not self._closing and self._take_over(_BATCH) == _BATCH
        except zmq.ZMQError:  # the context was ended under us
            self._closing = self._attention = True
            self._end.set()
            return False
        finally:
            self._lock.release()

    def _move(self, sub_url: str | None) -> None:
        if sub_url and sub_url != self._sub_url:
            with contextlib.suppress(StateError), self._exclusive():
                self._socket.disconnect(self._sub_url)
                self._socket.connect(sub_url)
                self._sub_url = sub_url

    @contextlib.contextmanager
    def _exclusive(self) -> Generator[None]:
        # A lock alone is not fair: who receives would take it again before anybody else wakes up.
        with self._gate:
            self._wanted = self._attention = True
            with self._lock:
                self._wanted = False
                if self._closing:
                    raise StateError(f"the subscription {self.name} is closed")
                yield

    def _tell(self) -> None:
        while self._notices:
            notice = self._notices.popleft()
            try:
                if isinstance(notice, Gap):
                    if self._on_gap:
                        self._on_gap(notice)
                elif self._on_malformed:
                    self._on_malformed(notice.parts, notice.error)
            except Exception:  # a mistake in a callback must not cost the message that is about to be returned
                _log.exception("%s: a callback failed on %r", self.name, notice)


def _open_sub(context: zmq.Context[Any], hwm: int | None) -> zmq.Socket[Any]:
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.maxmsgsize = _MAX_PART_BYTES
    notice_loss(socket)  # it sends nothing: what does not get through is not its to notice
    socket.rcvtimeo = int(_SLICE_S * 1000)
    if hwm is not None:
        socket.rcvhwm = hwm
    return socket


def _topic(parts: list[bytes]) -> bytes:
    return parts[0]


def _size_bytes(parts: list[bytes]) -> int:
    return sum(map(len, parts))
