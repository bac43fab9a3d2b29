"""A rig, seen from a program that uses it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar, Unpack, cast, overload
from weakref import WeakSet

import msgspec

from labwire.bus.intake import TypedMessage
from labwire.bus.publisher import Publisher
from labwire.bus.subscription import Subscription
from labwire.bus.subscription_options import Options
from labwire.client.connections import Connections
from labwire.client.instrument import Instrument, RigInstruments, rig_instruments
from labwire.client.latecomer import LatecomerSubscription
from labwire.client.ports import Ports
from labwire.clock_offset import ClockOffset, measure_offset
from labwire.errors import DeadlineError, LabwireError, PeerGoneError, ProtocolError, StateError, UsageError
from labwire.names import check_subject
from labwire.operations.actors import Actors
from labwire.operations.bus import BusOperations
from labwire.operations.recording import Recording
from labwire.operations.replay import Replay
from labwire.operations.rig import RigOperations, RigStatus
from labwire.operations.service import Operation, Service, client_of
from labwire.wire.bus_message import BusMessage, Part, encode_message, notification_topic
from labwire.wire.gap_counter import Gap
from labwire.wire.remote_command import CONFIRMATIONS, NOT_CONFIRMED

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50020
_OFFSET_HOLDS_S = 60.0
_REPORT_EVERY_S = 1.0

S = TypeVar("S", bound=Service)
P = TypeVar("P", bound=msgspec.Struct)
D = TypeVar("D")


def connect(host: str | None = None, port: int | None = None, *, timeout_s: float = 2.0) -> Rig:
    """Connect to a rig, or to Pupil Core.

    >>> with connect() as rig:  # doctest: +SKIP
    ...     rig.record.start("pilot")
    ...     for topic, payload, raw in rig.subscribe("pupil."):
    ...         print(topic, payload["confidence"])

    Args:
        host: Computer that the rig runs on; default: LABWIRE_HOST, or this one.
        port: Port of its Remote; default: LABWIRE_PORT, or 50020.
        timeout_s: How long to wait for answers of the Remote.

    Raises:
        PeerGoneError: No rig answers there.
        UsageError: The host is no name of a computer.
    """
    host = host or os.environ.get("LABWIRE_HOST") or DEFAULT_HOST
    port = port or int(os.environ.get("LABWIRE_PORT") or DEFAULT_PORT)
    rig = Rig(host, port, timeout_s=timeout_s)
    try:
        rig.refresh()
    except BaseException:
        rig.close()
        raise
    return rig


class Rig:
    """A rig that runs. Made by `connect`; a context manager. Safe to use from many threads.

    A rig that is started again, with other ports too, is found again: by requests, operations and `publish` at their
    next use, by open subscriptions within about a second. What was published meanwhile is lost; a request that was
    under way fails.

    Attributes:
        record: Start, stop, list, check and repair sessions; put marks.
        replay: Pause, seek, speed of a replay.
        actors: List, restart and stop the actors.
        bus: Last values and statistics of the bus.
        rig: Status and configuration.
        instruments: List, describe, command, restart the instruments.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float) -> None:
        self.host, self.remote_port = host, port
        self._connections = Connections(host, port, timeout_s=timeout_s)
        self._remote = self._connections.remote
        self._lock = threading.RLock()
        self._subscriptions: WeakSet[Subscription[Any]] = WeakSet()
        self._offset: tuple[float, int, ClockOffset] | None = None  # when, of which generation, what
        self._reported_s = 0.0
        self.record: Recording = self.service(Recording)
        self.actors: Actors = self.service(Actors)
        self.bus: BusOperations = self.service(BusOperations)
        self.rig: RigOperations = self.service(RigOperations)
        self.replay: Replay = self.service(Replay)
        self.instruments: RigInstruments = rig_instruments(self._connections.rpc)

    def __repr__(self) -> str:
        return f"<Rig at {self.host}:{self.remote_port}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- where it is

    @property
    def ports(self) -> Ports:
        """Ports of the bus; asked anew when the connection to the Remote was made anew."""
        return self._connections.ports

    def refresh(self) -> Ports:
        """Ask the Remote for the ports; after a restart with other ones, connect anew.

        Raises:
            PeerGoneError: No rig answers.
            DeadlineError: A rig is there, but it does not answer in time.
        """
        return self._connections.refresh()

    def status(self) -> RigStatus:
        """Tell how the rig is."""
        return self.rig.status()

    # --- Remote

    def request(self, command: str | Sequence[Part], timeout_s: float | None = None) -> str:
        """Send a command to the Remote, ``t`` for instance, and return its reply.

        Args:
            command: A text, or the parts of a message.
            timeout_s: Overrides that of `connect`.

        Raises:
            PeerGoneError: No rig is there, or it went away before it answered.
            DeadlineError: No answer in time.
        """
        parts = [command.encode()] if isinstance(command, str) else command
        if parts and bytes(parts[0][:1]) == b"T":
            self._offset = None
        return self._remote.ask(parts, timeout_s)

    def send(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Part] = ()) -> str:
        """Put a message on the bus through the Remote; return its confirmation.

        Raises:
            PeerGoneError: No rig is there, or it went away before it answered.
            DeadlineError: No answer in time, or the Remote could not confirm the message in time.
            ProtocolError: The Remote refused the message.
        """
        reply = self.request(encode_message(topic, payload, raw))
        if reply in CONFIRMATIONS:
            return reply
        error = DeadlineError if reply.startswith(NOT_CONFIRMED.partition(":")[0]) else ProtocolError
        raise error(f"{self._remote.url} did not take {topic!r}: {reply}", reply=reply)

    def notify(self, subject: str, /, **fields: Any) -> str:
        """Send a notification through the Remote, which confirms it; ``delay`` (seconds) sends it later.

        Raises:
            UsageError: The subject is no text, or breaks the grammar of subjects.
        """
        if not isinstance(subject, str):  # pyright: ignore[reportUnnecessaryIsInstance] (a dict, as others take it)
            raise UsageError('write the subject, then the fields: notify("recording.should_start", session_name="a")')
        notification = {"subject": check_subject(subject), **fields}
        topic = notification_topic(notification)
        return self.send(topic, {**notification, "topic": topic})

    # --- bus

    def publish(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Part] = ()) -> bool:
        """Publish data directly: fast, many a second, unconfirmed. False if it is known to be lost.

        Raises:
            PeerGoneError: At the first use: the bus is not there.
        """
        publisher = self._connections.publisher or self._connections.connected_publisher()
        try:
            if publisher.publish(topic, payload, raw):
                return True
        except StateError:
            pass  # another thread has just found that the rig moved
        return self._publish_again(publisher, topic, payload, raw)

    @overload
    def subscribe(
        self, *prefixes: str | bytes, last: bool = False, **options: Unpack[Options]
    ) -> Subscription[BusMessage]: ...
    @overload
    def subscribe(
        self, *prefixes: str | bytes, typed: type[P], **options: Unpack[Options]
    ) -> Subscription[TypedMessage[P]]: ...
    @overload
    def subscribe(
        self, *prefixes: str | bytes, decode: Literal[False], **options: Unpack[Options]
    ) -> Subscription[list[bytes]]: ...
    def subscribe(
        self,
        *prefixes: str | bytes,
        last: bool = False,
        typed: type[msgspec.Struct] | None = None,
        decode: bool = True,
        **options: Unpack[Options],
    ) -> Subscription[Any]:
        """Receive the messages whose topics begin with one of the prefixes; nothing published from now on is missed.

        Args:
            *prefixes: First bytes of the topics; none means all.
            last: Deliver the newest message of each topic first, without its raw parts. labwire only.
            typed: Struct that payloads are decoded into.
            decode: False gives the parts as they are.
            **options: See `labwire.bus.subscription_options.Options`.

        Raises:
            PeerGoneError: The bus is not there.
        """
        usual: dict[str, Any] = {
            "context": self._connections.context,
            "find_again": self._connections.sub_url_again,
        }
        # Gaps are reported in any case, but looked for only where that is cheap or asked for.
        usual["count_gaps"] = options.get("on_gap") is not None or (decode and typed is None)
        options = cast("Options", {**usual, **options, "on_gap": self._telling(options.get("on_gap"))})
        url, wanted = self._connections.sub_url, prefixes or ("",)
        if last:
            subscription = LatecomerSubscription(url, wanted, **options)
        elif typed is not None:
            subscription = Subscription(url, wanted, typed=typed, **options)
        elif decode:
            subscription = Subscription(url, wanted, **options)
        else:
            subscription = Subscription(url, wanted, decode=False, **options)
        try:
            self._await(subscription)
            if isinstance(subscription, LatecomerSubscription):
                kept = [value for prefix in wanted for value in self.bus.last(_text(prefix))]
                self._await(subscription)  # what was on its way while the steward answered has come then
                subscription.begin_with(kept)
        except BaseException:
            subscription.close()
            raise
        with self._lock:
            self._subscriptions.add(subscription)
        return subscription

    # --- clock

    def clock_offset(self, count: int = 10) -> ClockOffset:
        """Measure rig time minus this computer's monotonic clock, with its uncertainty.

        Args:
            count: How often to ask; what all answers agree on counts.
        """
        return measure_offset(self._ask_time, count)

    def now(self) -> float:
        """Return rig time in seconds, by an offset that is at most a minute old.

        A ``T`` that somebody else sends is noticed a minute later at most; `clock_offset` always asks.
        """
        with self._lock:
            now_s, generation = time.monotonic(), self._remote.generation
            if self._offset is None or self._offset[1] != generation or now_s - self._offset[0] > _OFFSET_HOLDS_S:
                self._offset = now_s, generation, self.clock_offset()
            return self._offset[2].now()

    # --- operations

    def service(self, service: type[S], *, target: str = "", timeout_s: float | None = None) -> S:
        """Return a typed proxy of a service.

        Args:
            service: Its abstract class, from `labwire.operations`.
            target: Name of the actor to ask; empty means whoever offers the service.
            timeout_s: How long to wait for replies; default 10 s.
        """

        def call(operation: Operation, request: msgspec.Struct) -> Any:
            return self._connections.rpc().call(operation, request, target=target, timeout_s=timeout_s)

        return client_of(service, call)

    @overload
    def instrument(self, name: str) -> Instrument: ...
    @overload
    def instrument(self, name: str, driver: type[D]) -> D: ...
    def instrument(self, name: str, driver: type[Any] | None = None) -> Any:
        """Return an instrument, whose verbs are methods: ``rig.instrument("DMM1").measure_voltage(range=10.0)``.

        Args:
            name: Its name in the rig.
            driver: Class of its driver, so that type checkers and editors know its verbs.
        """
        return self.instruments[name]

    def close(self) -> None:
        """Close everything, subscriptions too. Safe to call twice."""
        self._connections.close()
        with self._lock:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()
        self._connections.context.term()

    # --- inside

    def _ask_time(self) -> float:
        reply = self.request("t")
        try:
            return float(reply)
        except ValueError:
            raise ProtocolError(f"{self._remote.url} does not tell its time: {reply[:80]!r}") from None

    def _await(self, subscription: Subscription[Any]) -> None:
        try:
            if not subscription.wait_subscribed(self.send, self._remote.timeout_s):
                raise PeerGoneError(f"the bus at {subscription.name} does not answer")
        except ProtocolError:
            pass  # a Pupil Capture before 1.10 forwards notifications only: there is no way to know

    def _publish_again(self, publisher: Publisher, topic: str, payload: Mapping[str, Any], raw: Sequence[Part]) -> bool:
        """Publish what the publisher could not: it may be connected to ports that are no more."""
        if publisher.statistics().connected or not (self._remote.connected or self._connections.closed):
            return False
        try:
            again = self._connections.connected_publisher()
        except (PeerGoneError, DeadlineError):
            return False
        return again is not publisher and again.publish(topic, payload, raw)

    def _telling(self, on_gap: Callable[[Gap], None] | None) -> Callable[[Gap], None]:
        """Report gaps to the bus, where ``bus.stats`` shows them, besides telling the caller."""

        def tell(gap: Gap) -> None:
            if on_gap is not None:
                on_gap(gap)
            self._report_gaps()

        return tell

    def _report_gaps(self) -> None:
        now_s = time.monotonic()
        if now_s - self._reported_s < _REPORT_EVERY_S:
            return  # the counts are totals: the next report has this gap too
        self._reported_s = now_s
        with self._lock:
            gaps: dict[str, int] = {}
            for subscription in self._subscriptions:
                for (_, topic), missed in subscription.gaps.items():
                    gaps[topic] = gaps.get(topic, 0) + missed
        with contextlib.suppress(LabwireError):  # a report that fails is made again with the next gap
            report = {"actor": f"client-{os.getpid()}", "gaps": gaps}
            self._connections.connected_publisher().notify_raw("bus.report", report)


def _text(prefix: str | bytes) -> str:
    return prefix if isinstance(prefix, str) else prefix.decode("utf-8", "replace")
