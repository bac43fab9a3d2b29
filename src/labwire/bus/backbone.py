"""The backbone: an XSUB/XPUB proxy in C code, off the GIL, with every publisher subscribed for good.

Source: ipc-backbone, "IPC Backbone used by Pupil Capture and Service". Publishers connect to the pub port (XSUB),
subscribers to the sub port (XPUB).

Three things differ from a plain proxy. Before it starts, the XSUB sends one blanket subscription, so no publisher
filters and no message races the subscription it needs. The XPUB cuts a reader whose window stays closed (TCP_MAXRT), so
a stalled reader costs neither memory nor stale data. The proxy is steerable, so its counters can be read.
"""

from __future__ import annotations

import struct
import threading
from typing import Any, NamedTuple

import zmq

from labwire.bus.access import AccessGuard
from labwire.bus.far_peer import notice_loss
from labwire.bus.peer_watch import PeerWatch
from labwire.bus.ports import owner_of
from labwire.errors import PortTakenError, ResourceError

XSUB_INPROC = "inproc://backbone-in"
XPUB_INPROC = "inproc://backbone-out"
MONITOR_INPROC = "inproc://backbone-readers"
_CONTROL_INPROC = "inproc://backbone-control"
_SUBSCRIBE_TO_ALL = b"\x01"
# A burst of 1,000 reaches a healthy reader whole. libzmq learns what a reader has taken only after half of the bound,
# so it must be twice as large. What lies here for a reader that stalls is freed with the cut.
_READER_MESSAGES = 2000
_READER_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED


class ProxyCounters(NamedTuple):
    """What went through the proxy since it started; libzmq counts parts, not messages."""

    parts_in: int
    bytes_in: int
    parts_out: int
    bytes_out: int


class Backbone:
    """Binds the pub and the sub port and runs the proxy on a thread of its own.

    Args:
        context: Context for all sockets of the hub; the inlet joins by inproc.
        host: Address to listen on.
        pub_port: Port for publishers, 0 for any.
        sub_port: Port for subscribers, 0 for any.
        slow_subscriber_s: A reader whose window has been closed for so long is cut.
        max_message_bytes: A publisher that sends a larger part is cut.
        peers: Tells who was cut; None if nobody wants to know.

    Raises:
        PortTakenError: A port is in use; the error names it and, where it can be known, its owner.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        *,
        host: str,
        pub_port: int,
        sub_port: int,
        slow_subscriber_s: float,
        max_message_bytes: int,
        peers: PeerWatch | None = None,
    ) -> None:
        self._xsub = context.socket(zmq.XSUB)
        self._xpub = context.socket(zmq.XPUB)
        self._control = context.socket(zmq.REQ)
        self._control_lock = threading.Lock()
        self._proxy_end = context.socket(zmq.REP)
        for socket in self._sockets:
            socket.linger = 0
        notice_loss(self._xsub)
        notice_loss(self._xpub)
        self._xsub.maxmsgsize = max_message_bytes
        self._xpub.maxmsgsize = 64 * 1024  # readers send subscriptions only
        # The inlet wants to see every subscription, and the XSUB counts them: it must see every end as well.
        self._xpub.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._xpub.sndhwm = _READER_MESSAGES
        self._xpub.setsockopt(zmq.TCP_MAXRT, int(slow_subscriber_s * 1000))
        self._xpub.monitor(MONITOR_INPROC, _READER_EVENTS)
        try:
            self.pub_port = bind(self._xsub, host, pub_port, "[bus] pub_port", peers)
            self.sub_port = bind(self._xpub, host, sub_port, "[bus] sub_port")
        except ResourceError:
            self._close_sockets()
            raise
        self._xsub.bind(XSUB_INPROC)
        self._xpub.bind(XPUB_INPROC)
        self._proxy_end.bind(_CONTROL_INPROC)
        self._control.connect(_CONTROL_INPROC)
        self._control.rcvtimeo = 1000
        # After an answer that did not come, the next question may be asked all the same.
        self._control.setsockopt(zmq.REQ_RELAXED, 1)
        self._control.setsockopt(zmq.REQ_CORRELATE, 1)
        self._xsub.send(_SUBSCRIBE_TO_ALL)
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def _sockets(self) -> tuple[zmq.Socket[Any], ...]:
        return self._xsub, self._xpub, self._control, self._proxy_end

    def start(self) -> None:
        """Start the proxy. Connect the inlet by inproc before, so that nothing is published past it."""
        self._thread.start()

    def counters(self) -> ProxyCounters:
        """Return what went through the proxy since it started; zeros once it has stopped."""
        with self._control_lock:
            try:
                self._control.send(b"STATISTICS")
                # Eight numbers: frontend received and sent, then backend; parts before bytes in each.
                values = [struct.unpack("=Q", part)[0] for part in self._control.recv_multipart()]
            except zmq.ZMQError:
                return ProxyCounters(0, 0, 0, 0)
        return ProxyCounters(values[0], values[1], values[6], values[7])

    def forget_readers(self) -> None:
        """Report readers no longer; call before whoever reads the reports at `MONITOR_INPROC` closes.

        ZeroMQ reports from its I/O thread, which would wait for ever for somebody to read.
        """
        self._xpub.disable_monitor()

    def stop(self) -> None:
        """End the proxy and close the ports."""
        if self._thread.is_alive():
            with self._control_lock:
                self._control.send(b"TERMINATE")
                self._thread.join(timeout=2)
        self.forget_readers()
        self._close_sockets()

    def _run(self) -> None:
        try:
            zmq.proxy_steerable(self._xsub, self._xpub, None, self._proxy_end)
        except zmq.ZMQError:
            pass  # the context was ended under it: the hub is going down the hard way

    def _close_sockets(self) -> None:
        for socket in self._sockets:
            socket.close()


def bind(socket: zmq.Socket[Any], host: str, port: int, option: str, peers: PeerWatch | None = None) -> int:
    """Bind a guarded TCP listener; return its port.

    Args:
        socket: The socket to bind.
        host: Address to listen on.
        port: 0 for any.
        option: Where the user sets this port, for the error.
        peers: Watches the peers of this listener, if somebody wants to know.

    Raises:
        PortTakenError: Somebody listens there already.
        ResourceError: The system refuses for another reason.
    """
    AccessGuard.protect(socket)
    if peers:
        peers.add(socket, option)
    try:
        socket.bind(f"tcp://{host}:{port or '*'}")
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            owner = owner_of(port)
            raise PortTakenError(
                f"port {port} is taken by {owner or 'another program'}: stop it, or choose another port with {option} "
                "(0 takes any free one)",
                port=port,
                owner_pid=owner.pid if owner else None,
            ) from error
        raise ResourceError(f"cannot listen on {host}:{port}: {error} (set by {option})", port=port) from error
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return int(endpoint.rstrip(b"\0").rpartition(b":")[2])
