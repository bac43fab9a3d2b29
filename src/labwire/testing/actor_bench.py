"""Try an actor inside a test: no process, no socket, and time passes only when the test says so."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar, cast

import zmq

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.bus.actor_runner import read_config
from labwire.bus.loop import Callback, Timer
from labwire.errors import NotFoundError
from labwire.names import NOTIFY
from labwire.operations.service import Operation
from labwire.testing.fake_clock import FakeClock
from labwire.wire.bus_message import Part, decode_payload, encode_payload, notification_topic

A = TypeVar("A", bound=Actor)


class Sent(NamedTuple):
    """A message that the actor has put on the bus, as a subscriber gets it."""

    topic: str
    payload: dict[Any, Any]
    raw: list[bytes]


class ActorBench(Generic[A]):
    """An actor in the hands of a test: a context manager that starts and stops it.

    >>> from labwire import Actor
    >>> class Beacon(Actor):
    ...     def on_start(self):
    ...         self.every(0.5, lambda: self.emit("beacon", {"timestamp": self.clock.now()}))
    >>> with ActorBench(Beacon) as bench:
    ...     bench.clock.set_now(7.0)
    ...     bench.advance(1.0)
    ...     [sent.payload["timestamp"] for sent in bench.emitted("beacon")]
    [7.5, 8.0]

    What the actor raises, the test sees. An actor that opens sockets or threads of its own, or asks other actors,
    wants `running_rig`.

    Args:
        actor_class: The class to try.
        name: Its name in the rig.
        rig_config: The whole configuration of the rig, if the actor looks at it.
        **options: Options of the actor, checked as those in a rig file are.

    Attributes:
        actor: The actor.
        clock: Its clock.
        sent: All that it has put on the bus, in order.
        has_left: True once it has ended itself by `Actor.leave`.
    """

    def __init__(
        self,
        actor_class: type[A],
        /,
        *,
        name: str = "bench",
        rig_config: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.clock = FakeClock()
        self.sent: list[Sent] = []
        self._loop = _BenchLoop(self.clock)
        self._class, self._name, self._rig_config = actor_class, name, rig_config or {}
        self._options = read_config(actor_class, options, name)
        self.actor: A

    def __enter__(self) -> Self:
        self._zmq_context: zmq.Context[Any] = zmq.Context()
        try:
            self.actor = self._class(self._actor_context())
            self.actor.on_start()
        except BaseException:
            self._zmq_context.destroy(linger=0)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.actor.on_stop()
        except Exception:
            if kind is None:  # what failed first is what the test wants to see
                raise
        finally:
            self._zmq_context.destroy(linger=0)

    def _actor_context(self) -> ActorContext:
        return ActorContext(
            self._name,
            self._options,
            self.clock,
            cast("Any", self._loop),
            cast("Any", _BenchPublisher(self._name, self.sent)),
            cast("Any", _NoRpc()),
            self._zmq_context,
            sub_url="inproc://nobody",
            rig_config=self._rig_config,
        )

    @property
    def has_left(self) -> bool:
        """Whether the actor has ended itself."""
        return self._loop.stopped

    def notify(self, subject: str, /, **fields: Any) -> None:
        """Let the actor receive a notification, if it hears such, and do what it posts."""
        notification: Notification = decode_payload(
            encode_payload({"subject": subject, "topic": NOTIFY + subject, **fields})
        )
        if subject.startswith(tuple(self.actor.hears)):
            self.actor.on_notify(notification)
        self._loop.run_posted()

    def advance(self, seconds: float) -> None:
        """Let time pass; timers fall due on the way, each at its moment. Zero only does what was posted."""
        self._loop.advance(seconds)

    def emitted(self, prefix: str = "") -> list[Sent]:
        """Return what the actor has emitted so far on topics that begin with `prefix`, without notifications."""
        return [sent for sent in self.sent if sent.topic.startswith(prefix) and not _is_notification(sent.topic)]

    def notified(self, subject: str = "") -> list[dict[Any, Any]]:
        """Return the notifications that the actor has sent so far whose subjects begin with `subject`."""
        return [
            sent.payload
            for sent in self.sent
            if _is_notification(sent.topic) and str(sent.payload["subject"]).startswith(subject)
        ]


def _is_notification(topic: str) -> bool:
    return topic.startswith((NOTIFY, f"delayed_{NOTIFY}"))


class _BenchLoop:
    """What actors use of `labwire.bus.loop.Loop`, on a clock that a test moves."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._posted: deque[Callback] = deque()
        self.stopped = False

    def call_later(self, delay_s: float, callback: Callback) -> Timer:
        return self._add(Timer(callback, None), self._clock.monotonic_s + max(0.0, delay_s))

    def every(self, interval_s: float, callback: Callback) -> Timer:
        return self._add(Timer(callback, interval_s), self._clock.monotonic_s + interval_s)

    def _add(self, timer: Timer, due_s: float) -> Timer:
        heapq.heappush(self._heap, (due_s, next(self._order), timer))
        return timer

    def post(self, callback: Callback) -> bool:
        self._posted.append(callback)
        return True

    def watch(self, source: object, callback: Callback) -> None:
        """Take note of nothing: nothing can be read on a bench."""

    def unwatch(self, source: object) -> None:
        """See `watch`."""

    def stop(self) -> None:
        self.stopped = True

    def run_posted(self) -> None:
        while self._posted:
            self._posted.popleft()()

    def advance(self, seconds: float) -> None:
        end_s = self._clock.monotonic_s + seconds
        self.run_posted()
        while self._heap and self._heap[0][0] <= end_s:
            due_s, _, timer = heapq.heappop(self._heap)
            if timer.cancelled:
                continue
            self._clock.advance(due_s - self._clock.monotonic_s)
            timer.callback()
            self.run_posted()
            if timer.interval_s is not None and not timer.cancelled:
                self._add(timer, due_s + timer.interval_s)
        self._clock.advance(end_s - self._clock.monotonic_s)


class _BenchPublisher:
    """What actors use of `labwire.bus.publisher.Publisher`; keeps what they send, encoded and decoded once."""

    def __init__(self, name: str, sent: list[Sent]) -> None:
        self._name, self._sent = name, sent
        self._numbers: dict[str, int] = {}

    def publish(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Part] = ()) -> bool:
        self._sent.append(Sent(topic, decode_payload(encode_payload(payload)), [bytes(part) for part in raw]))
        return True

    def publish_numbered(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Part] = ()) -> bool:
        seq = self._numbers[topic] = self._numbers.get(topic, -1) + 1
        return self.publish(topic, {**payload, "seq": seq, "emitter": self._name}, raw)

    def notify(self, notification: Mapping[str, Any]) -> bool:
        topic = notification_topic(notification)
        return self.publish(topic, {**notification, "topic": topic})


class _NoRpc:
    def call(self, operation: Operation, request: object, **_: object) -> Any:
        raise NotFoundError(f"{operation.name} was asked of another actor, and a bench has none: use running_rig")
