"""A rig, seen from a program that uses it."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar, Unpack, cast, overload
from weakref import WeakSet

import msgspec
import zmq

from labwire.bus.gap_counter import Gap
from labwire.bus.intake import TypedMessage
from labwire.bus.publisher import Publisher
from labwire.bus.rpc_client import RpcClient
from labwire.bus.subscription import Subscription
from labwire.bus.subscription_options import Options
from labwire.client.clock_offset import ClockOffset, measure_offset
from labwire.client.latecomer import LatecomerSubscription
from labwire.client.remote import Remote
from labwire.errors import DeadlineError, PeerGoneError, ProtocolError, StateError
from labwire.names import NOTIFY, check_subject
from labwire.operations.actors import Actors
from labwire.operations.bus import BusOperations
from labwire.operations.recording import Recording
from labwire.operations.rig import RigOperations, RigStatus
from labwire.operations.service import Operation, Service, client_of
from labwire.wire.bus_message import BusMessage, Part, encode_message

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50020
_OFFSET_HOLDS_S = 60.0
_REPORT_EVERY_S = 1.0
_MARK_STEP_S = 0.05

S = TypeVar("S", bound=Service)
P = TypeVar("P", bound=msgspec.Struct)


class Ports(msgspec.Struct, frozen=True):
    """Ports of a rig, as its Remote tells them."""

    pub: int
    sub: int
    push: int | None
    """Reliable sends; None at a real Pupil Core, which does not tell."""
    rpc: int | None
    """Operations; None at a real Pupil Core, which has none."""


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

    When the rig is started again with other ports, `refresh` finds them; a request to the Remote that fails once does
    so by itself at the next one. Subscriptions that are open keep their port.

    Attributes:
        record: Start, stop, list and repair sessions.
        actors: List, restart and stop the actors.
        bus: Last values and statistics of the bus.
        rig: Status and configuration.
    """

    def __init__(self, host: str, port: int, *, timeout_s: float) -> None:
        self.host, self.remote_port = host, port
        self._context: zmq.Context[Any] = zmq.Context()
        self._remote = Remote(f"tcp://{host}:{port}", timeout_s=timeout_s, context=self._context)
        self._lock = threading.RLock()
        self._ports: Ports | None = None
        self._publisher: Publisher | None = None
        self._rpc: RpcClient | None = None
        self._subscriptions: WeakSet[Subscription[Any]] = WeakSet()
        self._offset: tuple[float, ClockOffset] | None = None
        self._reported_s = 0.0
        self.record: Recording = self.service(Recording)
        self.actors: Actors = self.service(Actors)
        self.bus: BusOperations = self.service(BusOperations)
        self.rig: RigOperations = self.service(RigOperations)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- where it is

    @property
    def ports(self) -> Ports:
        """Ports of the bus."""
        with self._lock:
            return self._ports or self.refresh()

    def refresh(self) -> Ports:
        """Ask the Remote for the ports; after a restart with other ones, connect anew.

        Raises:
            PeerGoneError: No rig answers.
        """
        ports = Ports(
            self._ask_port("PUB_PORT"),
            self._ask_port("SUB_PORT"),
            self._ask_port_or_none("PUSH_PORT"),
            self._ask_port_or_none("RPC_PORT"),
        )
        with self._lock:
            if self._ports not in {None, ports}:
                self._forget_connections()
            self._ports = ports
        return ports

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
            PeerGoneError: No answer in time.
        """
        parts = [command.encode()] if isinstance(command, str) else command
        try:
            return self._remote.ask(parts, timeout_s)
        except PeerGoneError:
            with self._lock:
                self._forget_connections()  # what answers next may be another rig with other ports
            raise

    def send(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Part] = ()) -> str:
        """Put a message on the bus through the Remote, which confirms it; return the confirmation."""
        return self.request(encode_message(topic, payload, raw))

    def notify(self, subject: str, /, **fields: Any) -> str:
        """Send a notification through the Remote, which confirms it; ``delay`` (seconds) sends it later."""
        topic = ("delayed_" if fields.get("delay") else "") + NOTIFY + check_subject(subject)
        return self.send(topic, {"subject": subject, "topic": topic, **fields})

    # --- bus

    def publish(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Part] = ()) -> bool:
        """Publish data directly: fast, many a second, unconfirmed. False, and counted, if the bus did not take it."""
        return self._connected_publisher().publish(topic, payload, raw)

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
        """Receive the messages whose topics begin with one of the prefixes.

        Args:
            *prefixes: First bytes of the topics; none means all.
            last: Deliver the newest message of each topic first, without its raw parts. labwire only.
            typed: Struct that payloads are decoded into.
            decode: False gives the parts as they are.
            **options: See `labwire.bus.subscription_options.Options`.

        Raises:
            PeerGoneError: The bus is not there.
        """
        options = cast("Options", {"context": self._context, **options, "on_gap": self._telling(options.get("on_gap"))})
        url, wanted = f"tcp://{self.host}:{self.ports.sub}", prefixes or ("",)
        if last:
            subscription = self._subscribe_late(url, wanted, options)
        elif typed is not None:
            subscription = Subscription(url, wanted, typed=typed, **options)
        elif decode:
            subscription = Subscription(url, wanted, **options)
        else:
            subscription = Subscription(url, wanted, decode=False, **options)
        with self._lock:
            self._subscriptions.add(subscription)
        return subscription

    # --- clock

    def clock_offset(self, count: int = 10) -> ClockOffset:
        """Measure rig time minus this computer's monotonic clock, with its uncertainty.

        Args:
            count: How often to ask; the fastest answer counts.
        """
        return measure_offset(lambda: float(self.request("t")), count)

    def now(self) -> float:
        """Return rig time in seconds, by an offset that is at most a minute old.

        After a ``T`` the offset is up to a minute out of date; `clock_offset` always asks.
        """
        with self._lock:
            if self._offset is None or time.monotonic() - self._offset[0] > _OFFSET_HOLDS_S:
                self._offset = time.monotonic(), self.clock_offset()
            return self._offset[1].now()

    # --- operations

    def service(self, service: type[S], *, target: str = "", timeout_s: float | None = None) -> S:
        """Return a typed proxy of a service.

        Args:
            service: Its abstract class, from `labwire.operations`.
            target: Name of the actor to ask; empty means whoever offers the service.
            timeout_s: How long to wait for replies; default 10 s.
        """

        def call(operation: Operation, request: msgspec.Struct) -> Any:
            return self._rpc_client().call(operation, request, target=target, timeout_s=timeout_s)

        return client_of(service, call)

    def close(self) -> None:
        """Close everything, subscriptions too. Safe to call twice."""
        with self._lock:
            subscriptions = list(self._subscriptions)
            self._forget_connections()
        for subscription in subscriptions:
            subscription.close()
        self._remote.close()
        self._context.term()

    # --- inside

    def _ask_port(self, command: str) -> int:
        port = self._ask_port_or_none(command)
        if port is None:
            raise ProtocolError(f"{self._remote.url} does not tell its {command}: is it a rig?", url=self._remote.url)
        return port

    def _ask_port_or_none(self, command: str) -> int | None:
        reply = self._remote.ask([command.encode()])
        return int(reply) if reply.isascii() and reply.isdecimal() else None

    def _rpc_client(self) -> RpcClient:
        with self._lock:
            port = self.ports.rpc
            if port is None:
                raise StateError(f"{self._remote.url} is not a labwire rig: it has no operations", url=self._remote.url)
            if self._rpc is None:
                self._rpc = RpcClient(f"tcp://{self.host}:{port}", context=self._context)
            return self._rpc

    def _connected_publisher(self) -> Publisher:
        with self._lock:
            if self._publisher is None:
                ports = self.ports
                push = f"tcp://{self.host}:{ports.push}" if ports.push else None
                publisher = Publisher(f"tcp://{self.host}:{ports.pub}", push, context=self._context)
                if not publisher.wait_connected(self._remote.timeout_s):
                    publisher.close()
                    raise PeerGoneError(f"the bus at {self.host}:{ports.pub} does not answer")
                self._publisher = publisher
            return self._publisher

    def _subscribe_late(self, url: str, prefixes: Sequence[str | bytes], options: Options) -> LatecomerSubscription:
        mark = f"bus.ready.{uuid.uuid4().hex}"
        subscription = LatecomerSubscription(url, [*prefixes, mark], **options)
        try:
            early = self._await_mark(subscription, mark)
            kept = [value for prefix in prefixes for value in self.bus.last(_text(prefix))]
        except BaseException:
            subscription.close()
            raise
        subscription.unsubscribe(mark)
        wanted = {value.topic: value for value in kept if not value.topic.startswith(mark)}
        subscription.begin_with(list(wanted.values()), [message for message in early if message.topic != mark])
        return subscription

    def _await_mark(self, subscription: Subscription[BusMessage], mark: str) -> list[BusMessage]:
        """Send a mark until it comes: from then on nothing that is published is missed. Return what came before."""
        early: list[BusMessage] = []
        deadline = time.monotonic() + self._remote.timeout_s
        while time.monotonic() < deadline:
            self.send(mark, {})
            try:
                while (message := subscription.recv(_MARK_STEP_S)).topic != mark:
                    early.append(message)
            except DeadlineError:
                continue
            return early
        raise PeerGoneError(f"the bus at {subscription.name} does not answer")

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
        publisher = self._connected_publisher()
        publisher.notify_raw("bus.report", {"actor": f"client-{os.getpid()}", "gaps": gaps})

    def _forget_connections(self) -> None:
        publisher, self._publisher = self._publisher, None
        rpc, self._rpc = self._rpc, None
        self._ports = self._offset = None
        if publisher:
            publisher.close()
        if rpc:
            rpc.close()


def _text(prefix: str | bytes) -> str:
    return prefix if isinstance(prefix, str) else prefix.decode("utf-8", "replace")
