"""Knows whether a socket is connected: its monitor, asked when somebody wants to know."""

from __future__ import annotations

import contextlib
import itertools
import math
import struct
import threading
import time
from typing import Any

import zmq

from labwire.errors import UsageError

_EVENT = struct.Struct("=Hi")  # ZMQ_EVENT number and value: zmq_socket_monitor(3)
_SLICE_S = 0.1  # so that Ctrl-C and `close` are never far
_numbers = itertools.count()


class ConnectionWatch:
    """Counts the handshakes and breaks of a socket; make it before the socket connects.

    Costs nothing while nobody asks: libzmq puts a few bytes per connection into a queue without a bound, and asking
    empties it.

    Args:
        context: The context that the socket belongs to.
        socket: The socket to watch; its owner closes it.
    """

    def __init__(self, context: zmq.Context[Any], socket: zmq.Socket[Any]) -> None:
        address = f"inproc://connection-watch-{next(_numbers)}"
        self._socket = socket
        self._monitor = context.socket(zmq.PAIR)
        self._monitor.linger = 0
        self._monitor.rcvhwm = 0  # a full monitor would hold up the I/O thread of the whole context
        socket.monitor(address, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._monitor.connect(address)
        self._lock = threading.Lock()
        self._peers = self._handshakes = 0
        self._closed = False

    def connect(self, url: str) -> None:
        """Connect the socket. If that cannot be, both are closed: who made them in a constructor has nothing to do.

        Raises:
            UsageError: The URL is no address.
        """
        try:
            self._socket.connect(url)
        except BaseException as error:
            self.close()
            self._socket.close()
            if isinstance(error, zmq.ContextTerminated) or not isinstance(error, zmq.ZMQError):
                raise
            raise UsageError(f"{url!r} is no address: write tcp://HOST:PORT", url=url) from error

    @property
    def connected(self) -> bool:
        """Whether a peer is there now."""
        with self._lock:
            self._read()
            return self._peers > 0

    @property
    def reconnections(self) -> int:
        """Connections after the first: each may have cost messages."""
        with self._lock:
            self._read()
            return max(0, self._handshakes - 1)

    def wait(self, timeout_s: float) -> bool:
        """Wait until a peer is there; False if none came in time, or the watch was closed."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._lock:
                left_s = deadline - time.monotonic()
                self._read(max(0, math.ceil(min(left_s, _SLICE_S) * 1000)))
                if self._peers or self._closed:
                    return not self._closed
                if left_s <= 0:
                    return False

    def close(self) -> None:
        """Stop watching; call before the socket is closed. Safe to call twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                with contextlib.suppress(zmq.ZMQError):  # the context may have been ended under us
                    self._socket.disable_monitor()
                self._monitor.close()

    def _read(self, wait_ms: int = 0) -> None:
        try:
            while not self._closed and self._monitor.poll(0 if self._peers else wait_ms):
                event, _ = _EVENT.unpack_from(self._monitor.recv())
                self._monitor.recv()
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self._handshakes += 1
                    self._peers += 1
                elif self._peers:  # a handshake that failed ends in a break as well
                    self._peers -= 1
        except zmq.ZMQError:  # the context was ended under us
            self._closed = True
            self._monitor.close()
