"""The time service of Pupil Time Sync v1: answers ``sync`` with the time, on many connections."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Self

from labwire.wire.time_sync import SYNC, encode_time

MAX_CONNECTIONS = 64
_MAX_READ_BYTES = 4096
_SLICE_S = 0.2


class TimeService:
    """Tells the time to who asks. A context manager.

    Args:
        now: Reads the clock, in seconds.
        host: Address to listen on.
        allows: Tells whether an address may connect.
    """

    def __init__(
        self, now: Callable[[], float], host: str = "127.0.0.1", allows: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._now, self._allows = now, allows
        self._listener = socket.create_server((host, 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        """Where it listens."""
        self.refused = 0
        """Connections of strangers, and beyond `MAX_CONNECTIONS`."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connections: set[socket.socket] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="time service", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections. Safe to call twice."""
        self._end.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._end.is_set():
            for key, _ in self._selector.select(_SLICE_S):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._answer(key.fileobj)
        for connection in (*self._connections, self._listener):
            connection.close()
        self._selector.close()

    def _accept(self) -> None:
        try:
            connection, (host, *_) = self._listener.accept()
        except OSError:  # it has gone already, or the system has no descriptor left
            return
        if len(self._connections) >= MAX_CONNECTIONS or not self._allows(host):
            self.refused += 1
            connection.close()
            return
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _answer(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_MAX_READ_BYTES)
            if data == SYNC:  # anything else is left without an answer, as Pupil Time Sync has it
                connection.send(encode_time(self._now()))
            if data:
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._connections.discard(connection)
        self._selector.unregister(connection)
        connection.close()
