"""The RPC port: one thread that runs the broker behind a ROUTER."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from socket import gethostname
from typing import Any

import zmq

from labwire.bus.backbone import bind
from labwire.bus.far_peer import notice_loss
from labwire.bus.peer_watch import PeerWatch
from labwire.bus.rpc_broker import Outgoing, RpcBroker
from labwire.errors import LabwireError
from labwire.wire.rpc_message import Hello

RPC_INPROC = "inproc://rpc"
_STOP_INPROC = "inproc://rpc-stop"
_TICK_MS = 1000


class RpcPort:
    """Serves the RPC port.

    Args:
        context: The hub's context.
        host: Address to listen on.
        port: 0 for any.
        max_message_bytes: A peer that sends a larger part is cut by ZeroMQ.
        peers: Tells who was cut; None if nobody wants to know.
        on_change: Called on the port's thread when an actor came or went.
        on_fault: Called with a mistake of our own; the port goes on.

    Raises:
        PortTakenError: The port is in use.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        *,
        host: str,
        port: int,
        max_message_bytes: int,
        peers: PeerWatch | None = None,
        on_change: Callable[[], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.broker = RpcBroker(on_change)
        self.unsent = 0
        """Replies that nobody was there to take."""
        self._on_fault = on_fault
        self._router = context.socket(zmq.ROUTER)
        self._router.linger = 200
        notice_loss(self._router)
        self._router.maxmsgsize = max_message_bytes
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            self.port = bind(self._router, host, port, "[bus] rpc_port", peers)
        except LabwireError:
            self._router.close()
            raise
        self._stop_end, self._stop = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        self._stop_end.linger = self._stop.linger = 0
        self._router.bind(RPC_INPROC)
        self._stop_end.bind(_STOP_INPROC)
        self._stop.connect(_STOP_INPROC)
        self._lock = threading.Lock()
        self._dead: list[tuple[str, str]] = []
        self._thread = threading.Thread(target=self._run, name="rpc port", daemon=True)

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def actor_died(self, name: str, why: str) -> None:
        """Answer the open requests of an actor that the supervisor saw die. Call from one thread only."""
        with self._lock:
            self._dead.append((name, why))
        self._stop.send(b"died")

    def stop(self) -> None:
        """Stop serving and close the port."""
        if self._thread.is_alive():
            self._stop.send(b"stop")
            self._thread.join(timeout=2)
        for socket in (self._router, self._stop_end, self._stop):
            socket.close()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._stop_end, zmq.POLLIN)
        while True:
            try:
                ready = dict(poller.poll(_TICK_MS))
                if self._stop_end in ready and self._stop_end.recv() == b"stop":
                    return
                self._forget_dead()
                if self._router in ready:
                    identity, *parts = self._router.recv_multipart()
                    self._send_all(self.broker.receive(identity, parts))
                self._send_all(self.broker.expire(time.monotonic(), _lives))
            except zmq.ContextTerminated:
                return
            except Exception as error:  # never let an input end this thread
                self._on_fault(error)

    def _forget_dead(self) -> None:
        with self._lock:
            dead, self._dead = self._dead, []
        for name, why in dead:
            self._send_all(self.broker.forget(name, why))

    def _send_all(self, outgoing: Outgoing) -> None:
        gone: list[bytes] = []
        for identity, parts in outgoing:
            try:
                self._router.send_multipart([identity, *parts], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                self.unsent += 1  # the peer has gone, or does not read
                if error.errno == zmq.EHOSTUNREACH and identity not in gone:
                    gone.append(identity)
        for identity in gone:  # after the loop: the broker was in the middle of something
            self._tell_gone(identity)

    def _tell_gone(self, client: bytes) -> None:
        for identity, parts in self.broker.client_gone(client):
            with contextlib.suppress(zmq.ZMQError):
                self._router.send_multipart([identity, *parts], zmq.NOBLOCK)


def _lives(hello: Hello) -> bool:
    """Tell whether the process of an actor on this computer lives; of another computer nothing is known."""
    if hello.host != gethostname() or hello.pid <= 0:
        return False
    try:
        os.kill(hello.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(hello.pid)


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has died and its parent does not care; False where the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] in (["Z"], ["X"])
