"""The other nodes that a ZRE node knows, with a connection to each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import zmq

from labwire.wire.zre_message import Kind, ZreMessage, encode_zre

MAX_PEERS = 256
EVASIVE_S = 5.0
"""A peer that has been silent for so long is asked whether it is there."""
EXPIRED_S = 15.0
"""A peer that has been silent for so long is gone."""
_SEQUENCES = 1 << 16
_NOBLOCK = int(zmq.NOBLOCK)


@dataclass(eq=False)
class Peer:
    """Another node."""

    uuid: bytes
    address: str
    """Of its computer."""
    socket: zmq.Socket[Any]
    name: str = ""
    ready: bool = False
    """It has said HELLO."""
    groups: set[str] = field(default_factory=set[str])
    sent: int = 0
    received: int = 0
    heard_s: float = field(default_factory=time.monotonic)
    pinged: bool = False

    def send(self, message: ZreMessage) -> bool:
        """Send a message; False if too many wait already."""
        self.sent = (self.sent + 1) % _SEQUENCES
        try:
            self.socket.send_multipart(encode_zre(msgspec.structs.replace(message, sequence=self.sent)), _NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def accepts(self, sequence: int) -> bool:
        """Tell whether a message is the next one of this peer."""
        self.received = (self.received + 1) % _SEQUENCES
        return self.ready and sequence == self.received


class Peers:
    """All peers of a node; used on its thread.

    Args:
        context: ZeroMQ context.
        uuid: Of the node itself, 16 bytes.
        hello_to: Makes the HELLO for a peer, given the address of its computer.
    """

    def __init__(self, context: zmq.Context[Any], uuid: bytes, hello_to: Callable[[str], ZreMessage]) -> None:
        self._context, self._uuid, self._hello_to = context, uuid, hello_to
        self._peers: dict[bytes, Peer] = {}

    def find(self, uuid: bytes) -> Peer | None:
        """Return a peer that is known."""
        return self._peers.get(uuid)

    def in_group(self, group: str) -> list[Peer]:
        """Return the peers that are in a group."""
        return [peer for peer in self._peers.values() if group in peer.groups]

    def meet(self, uuid: bytes, address: str, port: int) -> Peer | None:
        """Return the peer at an address, which is greeted if it is new; None if there are too many."""
        if peer := self._peers.get(uuid):
            peer.heard_s = time.monotonic()
            return peer
        if len(self._peers) >= MAX_PEERS or not 0 < port < 1 << 16:
            return None
        socket = self._context.socket(zmq.DEALER)
        socket.linger, socket.sndhwm = 0, 1000
        socket.setsockopt(zmq.IDENTITY, b"\x01" + self._uuid)
        socket.connect(f"tcp://{address}:{port}")
        peer = self._peers[uuid] = Peer(uuid, address, socket)
        peer.send(self._hello_to(address))
        return peer

    def silent(self, now_s: float) -> Iterator[Peer]:
        """Yield the peers that are gone; ask those that may be."""
        for peer in list(self._peers.values()):
            silence_s = now_s - peer.heard_s
            if silence_s > EXPIRED_S:
                yield peer
            elif silence_s > EVASIVE_S and not peer.pinged:
                peer.pinged = True
                peer.send(ZreMessage(kind=Kind.PING))

    def drop(self, peer: Peer) -> None:
        """Forget a peer."""
        self._peers.pop(peer.uuid, None)
        peer.socket.close()

    def close(self) -> None:
        """Forget all."""
        for peer in list(self._peers.values()):
            self.drop(peer)
