"""Overhears everything on the bus, in bulk: for the one actor that reads all messages and must not disturb them.

A SUB socket wakes its I/O thread for every message, and on a small machine the message's own readers wait meanwhile
(docs/explanation/performance.md). A tap has no thread; what arrives waits in the system until it is drained.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from labwire.errors import PeerGoneError, ProtocolError
from labwire.wire.zmtp import Heard, Listener

_CHUNK_BYTES = 128 * 1024
_MAX_CHUNKS = 64  # then others get their turn


class Tap:
    """A connection to the bus that hears everything.

    Args:
        sub_url: Where subscribers connect: ``tcp://HOST:SUB_PORT``.
        on_message: Called with each message by `drain`.
        limit_s: How long the bus may take to let us in.

    Raises:
        PeerGoneError: No bus answers there.
        ProtocolError: What answers is no bus, or it refuses us.
    """

    def __init__(self, sub_url: str, on_message: Callable[[Heard], object], *, limit_s: float = 2.0) -> None:
        self._on_message, self._listener = on_message, Listener()
        address = urlsplit(sub_url)
        try:
            self._socket = socket.create_connection((address.hostname, address.port), limit_s)
        except OSError as error:
            raise PeerGoneError(f"no bus answers at {sub_url}: {error}") from error
        try:
            self._enter(time.monotonic() + limit_s)
        except OSError as error:
            self.close()
            raise PeerGoneError(f"the bus at {sub_url} did not let us in: {error}") from error
        except ProtocolError:
            self.close()
            raise
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that can be read when there is something to drain."""
        return self._socket.fileno()

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to drain; False if nothing came in time."""
        return bool(select.select([self._socket], [], [], timeout_s)[0])

    def drain(self) -> None:
        """Take what has arrived.

        Raises:
            PeerGoneError: The bus has closed the connection.
            ProtocolError: It sent what is not ZMTP.
        """
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MAX_CHUNKS):
                data = self._read()
                for heard in self._listener.receive(data):
                    self._on_message(heard)
                if len(data) < _CHUNK_BYTES:
                    return

    def close(self) -> None:
        """Close. Safe to call twice."""
        self._socket.close()

    def _enter(self, deadline: float) -> None:
        listener = self._listener
        while not listener.ready:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            self._socket.sendall(listener.take_outgoing())
            for heard in listener.receive(self._read()):
                self._on_message(heard)
        self._socket.sendall(listener.take_outgoing())

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(_CHUNK_BYTES)
        except ConnectionError as error:
            raise PeerGoneError(f"the bus has cut the connection: {error}") from error
        if not data:
            raise PeerGoneError("the bus has closed the connection")
        return data
