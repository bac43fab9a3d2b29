"""The RPC broker, without its socket: who offers which service, and which request belongs to whom."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from labwire.errors import (
    LabwireError,
    NotFoundError,
    PeerGoneError,
    ProtocolError,
    QueueFullError,
    StateError,
)
from labwire.names import check_actor_name
from labwire.wire.rpc_message import Hello, Kind, RpcMessage, decode_rpc, encode_rpc, report_error

MAX_PENDING = 10_000
MAX_ACTORS = 1_000
SILENCE_S = 5.0
"""An actor that says nothing for so long is taken for gone, unless its process is seen to live; it says HELLO every
second, so that it is known again as soon as it can be heard again."""
ENDED = "ended"
"""Why an actor went that said BYE."""

Outgoing: TypeAlias = Iterator[tuple[bytes, list[bytes]]]


@dataclass
class _Peer:
    hello: Hello
    identity: bytes
    last_seen_s: float
    since_s: float
    """When it said its first hello, on the monotonic clock."""


@dataclass
class _Request:
    client: bytes
    number: int
    actor: str


@dataclass
class RpcBroker:
    """Routes requests to actors and replies to clients.

    ``receive`` takes the parts of one message and yields (identity, parts) to send. It never raises on what peers send.
    """

    on_change: Callable[[], None] = lambda: None
    """Called when an actor came or went."""
    is_supervised: Callable[[Hello], bool] = lambda _: False
    """Tells whether this actor is one that the rig itself started; nobody else may take its name."""
    starting: Callable[[], list[str]] = list
    """Returns the names of the rig's actors that are about to say hello; called on the broker's thread."""
    malformed: int = 0
    gone: deque[tuple[Hello, str]] = field(default_factory=lambda: deque[tuple[Hello, str]](maxlen=MAX_ACTORS))
    """Actors that went, with the reason, the oldest first; for another thread to take out."""
    peers: dict[str, _Peer] = field(default_factory=dict[str, _Peer])
    _names: dict[bytes, str] = field(default_factory=dict[bytes, str])
    _requests: dict[int, _Request] = field(default_factory=dict[int, _Request])
    _numbers: dict[tuple[bytes, int], int] = field(default_factory=dict[tuple[bytes, int], int])
    _replaced: deque[bytes] = field(default_factory=lambda: deque[bytes](maxlen=MAX_ACTORS))
    _last_number: int = 0

    def receive(self, identity: bytes, parts: list[bytes]) -> Outgoing:
        """Take one message from `identity`; yield what is to be sent."""
        try:
            message = decode_rpc(parts)
        except ProtocolError as error:
            self.malformed += 1
            yield identity, _error(0, error)
            return
        match message.kind:
            case Kind.CALL:
                yield from self._call(identity, message)
            case Kind.CANCEL:
                yield from self._cancel(identity, message.number)
            case Kind.OK | Kind.ERROR | Kind.PROGRESS:
                yield from self._answer(identity, message)
            case Kind.HELLO:
                yield from self._hello(identity, message)
            case Kind.BYE:
                yield from self.forget(self._names.get(identity, ""), ENDED)
            case Kind.GONE:
                self.malformed += 1  # only we say that

    def hellos(self) -> list[Hello]:
        """Return all actors that are known now."""
        return [peer.hello for peer in list(self.peers.values())]

    def ages(self, now_s: float) -> list[tuple[Hello, float]]:
        """Return all actors that are known now, each with how long it has been, in seconds; safe from any thread.

        Args:
            now_s: The monotonic clock.
        """
        return [(peer.hello, now_s - peer.since_s) for peer in list(self.peers.values())]

    def silent(self, now_s: float) -> set[str]:
        """Return the names of actors that have said nothing for `SILENCE_S`; safe from any thread.

        Args:
            now_s: The monotonic clock.
        """
        return {name for name, peer in list(self.peers.items()) if now_s - peer.last_seen_s > SILENCE_S}

    def expire(self, now_s: float, lives: Callable[[Hello], bool]) -> Outgoing:
        """Forget actors that have been silent for `SILENCE_S`.

        Args:
            now_s: The monotonic clock.
            lives: Tells whether the process of an actor is seen to live, busy with something long.
        """
        for name in self.silent(now_s):
            if not lives(self.peers[name].hello):
                yield from self.forget(name, f"has been silent for {SILENCE_S:g} s")

    def forget(self, name: str, why: str) -> Outgoing:
        """Forget an actor; its open requests are answered with `PeerGoneError`."""
        peer = self.peers.pop(name, None)
        if peer is None:
            return
        self._names.pop(peer.identity, None)
        for number in [number for number, request in self._requests.items() if request.actor == name]:
            request = self._requests.pop(number)
            self._numbers.pop((request.client, request.number), None)
            gone = PeerGoneError(f"actor {name!r} {why} before it answered", actor=name)
            yield request.client, _error(request.number, gone)
        self.gone.append((peer.hello, why))
        self.on_change()

    def client_gone(self, client: bytes) -> Outgoing:
        """Tell the actors that work for a client that it is not there any more."""
        for number, request in self._requests.items():
            if request.client == client and (peer := self.peers.get(request.actor)):
                yield peer.identity, encode_rpc(RpcMessage(Kind.GONE, number))

    def _call(self, client: bytes, message: RpcMessage) -> Outgoing:
        try:
            peer = self._find(message.parts[0], message.parts[1])
            if len(self._requests) >= MAX_PENDING:
                raise QueueFullError(f"{MAX_PENDING} requests are waiting already; try again later")
            if (client, message.number) in self._numbers:
                raise ProtocolError(f"request {message.number} of this connection is still open; count on")
        except LabwireError as error:
            yield client, _error(message.number, error)
            return
        self._last_number += 1
        self._requests[self._last_number] = _Request(client, message.number, peer.hello.actor)
        self._numbers[client, message.number] = self._last_number
        yield peer.identity, encode_rpc(RpcMessage(Kind.CALL, self._last_number, message.parts))

    def _find(self, target: bytes, operation: bytes) -> _Peer:
        name, service = target.decode("utf-8", "replace"), operation.decode("utf-8", "replace").partition(".")[0]
        if name:
            if peer := self.peers.get(name):
                return peer
            if name in self.starting():
                raise NotFoundError(f"actor {name!r} is still starting; try again in a moment", actor=name)
            raise NotFoundError(f"no actor {name!r} in this rig; there are: {', '.join(self.peers) or 'none'}")
        for peer in self.peers.values():
            if service in peer.hello.services:
                return peer
        if starting := self.starting():
            text = f"no actor of this rig offers {service!r} yet; these are still starting: {', '.join(starting)}"
            raise NotFoundError(
                text, hint="try again in a moment; `labwire status` tells when they run", starting=starting
            )
        offered = sorted({service for peer in self.peers.values() for service in peer.hello.services})
        raise NotFoundError(
            f"no actor of this rig offers {service!r}; offered are: {', '.join(offered) or 'none'}",
            hint="`labwire status` tells whether one that could does not run, and why",
        )

    def _cancel(self, client: bytes, number: int) -> Outgoing:
        ours = self._numbers.get((client, number))
        if ours is not None and (peer := self.peers.get(self._requests[ours].actor)):
            yield peer.identity, encode_rpc(RpcMessage(Kind.CANCEL, ours))

    def _answer(self, identity: bytes, message: RpcMessage) -> Outgoing:
        name = self._names.get(identity)
        request = self._requests.get(message.number)
        if name is None or request is None or request.actor != name:
            self.malformed += 1  # nobody asked, or somebody else was asked
            return
        self.peers[name].last_seen_s = time.monotonic()
        if message.kind is not Kind.PROGRESS:
            del self._requests[message.number]
            self._numbers.pop((request.client, request.number), None)
        yield request.client, encode_rpc(RpcMessage(message.kind, request.number, message.parts))

    def _hello(self, identity: bytes, message: RpcMessage) -> Outgoing:
        try:
            hello = msgspec.msgpack.decode(message.parts[0], type=Hello)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            self.malformed += 1
            yield identity, _error(message.number, ProtocolError(f"HELLO cannot be read: {error}"))
            return
        known = self.peers.get(hello.actor)
        if known is not None and known.identity == identity and known.hello == hello:
            known.last_seen_s = time.monotonic()
            return
        try:
            self._check_newcomer(identity, hello, known)
        except LabwireError as error:
            yield identity, _error(message.number, error)
            return
        if (before := self._names.get(identity, hello.actor)) != hello.actor:
            yield from self.forget(before, "has another name now")
        if known is not None and known.identity != identity:
            yield from self.forget(hello.actor, "was replaced")
            self._replaced.append(known.identity)
        self.peers[hello.actor] = _Peer(hello, identity, now_s := time.monotonic(), now_s)
        self._names[identity] = hello.actor
        self.on_change()

    def _check_newcomer(self, identity: bytes, hello: Hello, known: _Peer | None) -> None:
        check_actor_name(hello.actor)
        if identity in self._replaced:  # it says hello every second: the two would take turns for ever
            raise StateError(f"another actor has taken the name {hello.actor!r}", name=hello.actor)
        if known is None and len(self.peers) >= MAX_ACTORS:
            raise QueueFullError(f"actor {hello.actor!r}: {MAX_ACTORS} actors are here already")
        if known is not None and self.is_supervised(known.hello) and not self.is_supervised(hello):
            raise StateError(f"the rig has an actor {hello.actor!r} of its own: choose another name", name=hello.actor)


def _error(number: int, error: LabwireError) -> list[bytes]:
    return encode_rpc(RpcMessage(Kind.ERROR, number, [report_error(error)]))
