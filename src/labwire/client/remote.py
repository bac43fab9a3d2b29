"""The Remote, from the caller's side: one question, one answer, from any thread, over any fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import zmq

from labwire.errors import PeerGoneError, StateError
from labwire.wire.bus_message import Part

_SLICE_MS = 100  # so that Ctrl-C is never far


class Remote:
    """A REQ socket that is made anew when an answer does not come, as REQ must after a fault.

    Args:
        url: Address of the Remote.
        timeout_s: How long to wait for an answer.
        context: ZeroMQ context.
    """

    def __init__(self, url: str, *, timeout_s: float, context: zmq.Context[Any]) -> None:
        self.url, self.timeout_s = url, timeout_s
        self._context = context
        self._lock = threading.Lock()
        self._socket: zmq.Socket[Any] | None = None
        self._closed = False

    def ask(self, parts: Sequence[Part], timeout_s: float | None = None) -> str:
        """Send a request and return the reply.

        Raises:
            PeerGoneError: No answer in time; the next request begins anew, and finds a rig that was started meanwhile.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        with self._lock:
            socket = self._open()
            try:
                socket.send_multipart(parts)
                if self._await(socket, limit_s):
                    return socket.recv().decode("utf-8", "replace")
            except BaseException:
                self._drop()  # asked and not answered: REQ cannot be used again
                raise
            self._drop()
        raise PeerGoneError(
            f"no rig answers at {self.url} within {limit_s:g} s; start one with `labwire run`", url=self.url
        )

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._closed = True
            self._drop()

    def _open(self) -> zmq.Socket[Any]:
        if self._closed:
            raise StateError(f"the connection to {self.url} is closed")
        socket = self._socket
        if socket is None:
            socket = self._socket = self._context.socket(zmq.REQ)
            socket.linger = 0
            socket.connect(self.url)
        return socket

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def _await(socket: zmq.Socket[Any], limit_s: float) -> bool:
        end = time.monotonic() + limit_s
        while (left_ms := int((end - time.monotonic()) * 1000) + 1) > 0:
            if socket.poll(min(left_ms, _SLICE_MS)):
                return True
        return False
