"""A node of ZRE: finds the other nodes of the local network, joins groups, shouts to them."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import zmq

from labwire.errors import ProtocolError, ResourceError, UsageError
from labwire.time_sync.interfaces import EVERYWHERE, BeaconRoad, address_towards, beacon_roads
from labwire.time_sync.zre_peers import Peer, Peers
from labwire.wire.zre_message import BEACON_PORT, Beacon, Kind, ZreMessage, decode_beacon, decode_zre, encode_beacon

BEACON_EVERY_S = 1.0
MAX_MESSAGE_BYTES = 1 << 20
_MAX_WAITING = 1000
_BATCH = 100
_GOODBYES = 2  # a datagram may be lost
_log = logging.getLogger(__name__)


class NodeEvent(NamedTuple):
    """Something that another node did; told on the node's thread."""

    what: str
    """``joined`` or ``left`` a group, ``shouted`` to one, or ``gone`` altogether."""
    uuid: bytes
    name: str
    address: str
    """Of its computer."""
    group: str = ""
    content: Sequence[bytes] = ()


class ZreNode:
    """A node that runs on a thread of its own. A context manager.

    Args:
        name: What others see.
        groups: What it is in.
        on_event: Called on the node's thread.
        listen: Address that others reach it at: 127.0.0.1 is this computer only, 0.0.0.0 every network it is on.
        allows: Tells whether an address may talk to it.
        beacon_port: UDP port of the beacons.

    Raises:
        ResourceError: The beacons' port cannot be used, or the address to listen on; nothing stays open.
    """

    def __init__(
        self,
        name: str,
        groups: Sequence[str],
        on_event: Callable[[NodeEvent], None],
        *,
        listen: str = "127.0.0.1",
        allows: Callable[[str], bool] = lambda _: True,
        beacon_port: int = BEACON_PORT,
    ) -> None:
        self.uuid = uuid.uuid4().bytes
        self.malformed = 0
        """Messages that could not be read, and messages of nodes that had not said HELLO."""
        self._name, self._groups, self._on_event, self._allows = name, list(groups), on_event, allows
        self._beacon_port, self._roads = beacon_port, beacon_roads(listen)
        self._waiting: deque[tuple[str, list[bytes]]] = deque(maxlen=_MAX_WAITING)
        self._end = threading.Event()
        with contextlib.ExitStack() as opened:
            self._wake, self._waker = map(opened.enter_context, socket.socketpair())
            self._context: zmq.Context[Any] = zmq.Context()
            opened.callback(self._context.destroy, linger=0)
            self._router = self._open_router(listen)
            self.port = int(str(self._router.getsockopt_string(zmq.LAST_ENDPOINT)).rpartition(":")[2])
            self._peers = Peers(self._context, self.uuid, self._hello_to)
            try:
                self._ears = opened.enter_context(_open_ears(listen, beacon_port))
                self._mouths = [opened.enter_context(_open_mouth(road)) for road in self._roads]
            except OSError as error:
                raise ResourceError(
                    f"no beacon on UDP port {beacon_port} at {listen}: {error.strerror or error}"
                ) from error
            self._opened = opened.pop_all()
        self._thread = threading.Thread(target=self._run, name=f"ZRE {name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def shout(self, group: str, content: Sequence[bytes]) -> None:
        """Send frames to all that are in a group now; safe from any thread.

        Raises:
            UsageError: The node itself is not in that group.
        """
        if group not in self._groups:
            raise UsageError(f"the node {self._name!r} is not in the group {group!r}")
        self._waiting.append((group, list(content)))
        with contextlib.suppress(OSError):  # it is closed, or woken already
            self._waker.send(b"\0", socket.MSG_DONTWAIT)

    def close(self) -> None:
        """Say goodbye and end. Safe to call twice."""
        if self._end.is_set():
            return
        self._end.set()
        with contextlib.suppress(OSError):
            self._waker.send(b"\0", socket.MSG_DONTWAIT)
        self._thread.join()
        self._opened.close()

    def _open_router(self, listen: str) -> zmq.Socket[Any]:
        router = self._context.socket(zmq.ROUTER)
        router.linger, router.maxmsgsize, router.rcvhwm = 0, MAX_MESSAGE_BYTES, _MAX_WAITING
        router.setsockopt(zmq.ROUTER_HANDOVER, 1)
        try:
            router.bind(f"tcp://{listen}:*")
        except zmq.ZMQError as error:
            raise ResourceError(f"nothing can listen at {listen}: {error.strerror}") from error
        return router

    # --- on the node's thread

    def _run(self) -> None:
        poller = zmq.Poller()
        for source in (self._router, self._ears.fileno(), self._wake.fileno()):
            poller.register(source, zmq.POLLIN)
        beacon_s = 0.0
        while not self._end.is_set():
            now_s = time.monotonic()
            if now_s >= beacon_s:
                beacon_s = now_s + BEACON_EVERY_S
                self._beacon(self.port)
                for peer in self._peers.silent(now_s):
                    self._forget(peer)
            ready = dict(poller.poll(max(1, int((beacon_s - now_s) * 1000))))
            if self._router in ready:
                self._take_messages()
            if self._ears.fileno() in ready:
                self._hear()
            self._shout_waiting()
        for _ in range(_GOODBYES):
            self._beacon(0)
        self._peers.close()

    def _beacon(self, port: int) -> None:
        data = encode_beacon(Beacon(self.uuid, port))
        for road, mouth in zip(self._roads, self._mouths, strict=True):
            with contextlib.suppress(OSError):  # this network is down: the next beacon is a second away
                mouth.sendto(data, (road.broadcast, self._beacon_port))

    def _hear(self) -> None:
        for _ in range(_BATCH):
            try:
                data, (host, _) = self._ears.recvfrom(64)
            except OSError:  # all heard
                return
            beacon = decode_beacon(data)
            if beacon is None or beacon.uuid == self.uuid or not self._allows(host):
                continue
            if beacon.port:
                self._peers.meet(beacon.uuid, host, beacon.port)
            elif peer := self._peers.find(beacon.uuid):
                self._forget(peer)

    def _take_messages(self) -> None:
        for _ in range(_BATCH):
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            address = str(frames[-1].get("Peer-Address"))
            if self._allows(address):
                self._take(frames[0].bytes[1:], address, [frame.bytes for frame in frames[1:]])

    def _take(self, sender: bytes, address: str, frames: list[bytes]) -> None:
        try:
            message = decode_zre(frames)
        except ProtocolError:
            self.malformed += 1
            return
        peer = self._peers.find(sender)
        if message.kind is Kind.HELLO:
            peer = self._greet(peer, sender, address, message)
        elif peer is None or not peer.accepts(message.sequence):
            self.malformed += 1  # its HELLO was lost, or something since: begin anew with its next beacon
            if peer:
                self._forget(peer)
            return
        if peer:
            peer.heard_s, peer.pinged = time.monotonic(), False
            self._act(peer, message)

    def _greet(self, peer: Peer | None, sender: bytes, address: str, message: ZreMessage) -> Peer | None:
        port = message.endpoint.rpartition(":")[2]
        if len(sender) != len(self.uuid) or not port.isdecimal():
            self.malformed += 1
            return None
        if peer and peer.ready:  # it has forgotten us, and begins anew
            self._forget(peer)
        peer = self._peers.meet(sender, address, int(port))
        if peer:
            peer.ready, peer.name, peer.received = True, message.name, message.sequence
        return peer

    def _act(self, peer: Peer, message: ZreMessage) -> None:
        match message.kind:
            case Kind.HELLO:
                for group in message.groups:
                    peer.groups.add(group)
                    self._tell("joined", peer, group)
            case Kind.JOIN:
                peer.groups.add(message.group)
                self._tell("joined", peer, message.group)
            case Kind.LEAVE:
                peer.groups.discard(message.group)
                self._tell("left", peer, message.group)
            case Kind.SHOUT:
                self._tell("shouted", peer, message.group, message.content)
            case Kind.PING:
                self._send(peer, ZreMessage(kind=Kind.PING_OK))
            case Kind.WHISPER | Kind.PING_OK:
                pass

    def _shout_waiting(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096, socket.MSG_DONTWAIT)
        while self._waiting:
            group, content = self._waiting.popleft()
            for peer in self._peers.in_group(group):
                self._send(peer, ZreMessage(kind=Kind.SHOUT, group=group, content=content))

    def _send(self, peer: Peer, message: ZreMessage) -> None:
        if not peer.send(message):
            self._forget(peer)

    def _forget(self, peer: Peer) -> None:
        self._peers.drop(peer)
        self._tell("gone", peer)

    def _hello_to(self, host: str) -> ZreMessage:
        endpoint = f"tcp://{address_towards(host)}:{self.port}"
        status = len(self._groups) % 256
        return ZreMessage(kind=Kind.HELLO, endpoint=endpoint, groups=self._groups, status=status, name=self._name)

    def _tell(self, what: str, peer: Peer, group: str = "", content: Sequence[bytes] = ()) -> None:
        try:
            self._on_event(NodeEvent(what, peer.uuid, peer.name, peer.address, group, content))
        except Exception:  # a mistake of the caller's must not end the node
            _log.exception("%s: %s by %s", self._name, what, peer.name)


def _open_ears(listen: str, port: int) -> socket.socket:
    ears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        ears.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # all nodes of a computer hear on one port
        roads = beacon_roads(listen)
        # Bound to a broadcast address it hears broadcasts of that network only, which Linux alone can do.
        at = roads[0].broadcast if len(roads) == 1 and listen != EVERYWHERE and os.name == "posix" else ""
        ears.bind((at, port))
        ears.setblocking(False)
    except OSError:
        ears.close()
        raise
    return ears


def _open_mouth(road: BeaconRoad) -> socket.socket:
    mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        mouth.bind((road.own, 0))
        mouth.setblocking(False)
    except OSError:
        mouth.close()
        raise
    return mouth
