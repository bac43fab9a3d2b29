"""The Remote, from the caller's side: one question, one answer, from any thread, over any fault."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Any

import zmq

from labwire.bus.connection_watch import ConnectionWatch
from labwire.bus.far_peer import notice_loss
from labwire.errors import DeadlineError, PeerGoneError, StateError, UsageError
from labwire.wire.bus_message import Part

_SLICE_S = 0.1  # so that Ctrl-C, `close` and the end of the rig are never far
_SHOWN_BYTES = 40
_NOBLOCK = int(zmq.NOBLOCK)


class Remote:
    """Asks a Remote. A question is sent only while the Remote is there, so that none reaches a later rig as old news.

    Args:
        url: Address of the Remote.
        timeout_s: How long to wait for an answer.
        context: ZeroMQ context.
    """

    def __init__(self, url: str, *, timeout_s: float, context: zmq.Context[Any]) -> None:
        self.url, self.timeout_s = url, timeout_s
        self._context = context
        self._lock = threading.Lock()
        self._made = self._reconnections = 0
        self._closed = False
        self._open()

    @property
    def generation(self) -> int:
        """A number that changes when the connection was made anew: there may be another rig now, with other ports."""
        return self._made + self._reconnections + self._watch.reconnections

    @property
    def connected(self) -> bool:
        """Whether the Remote is there now."""
        return self._watch.connected

    def ask(self, parts: Sequence[Part], timeout_s: float | None = None) -> str:
        """Send a request and return the reply.

        Args:
            parts: The parts of the request, at least one.
            timeout_s: Overrides that of the constructor.

        Raises:
            PeerGoneError: Nobody is there, or he went away before he answered.
            DeadlineError: No answer in time.
            StateError: The connection is closed.
        """
        if not parts:
            raise UsageError("a request to the Remote has at least one part")
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise DeadlineError(f"{self.url}: {_show(parts)} had to wait too long for the requests of other threads")
        try:
            return self._ask(parts, deadline)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection; whoever waits for an answer is freed within 100 ms. Safe to call twice."""
        self._closed = True
        with self._lock:
            self._drop()

    def _ask(self, parts: Sequence[Part], deadline: float) -> str:
        try:
            self._send(parts, deadline)
            return self._recv(parts, deadline).decode("utf-8", "replace")
        except BaseException:
            # A REQ that has asked and got no answer is of no use any more.
            self._drop()
            if not self._closed:
                self._open()
            raise

    def _send(self, parts: Sequence[Part], deadline: float) -> None:
        while True:
            left_s = self._time_left(deadline)
            try:
                self._socket.send_multipart(parts, _NOBLOCK)
            except zmq.Again:
                if left_s <= 0:
                    raise PeerGoneError(
                        f"no rig answers at {self.url}; start one with `labwire run`", url=self.url
                    ) from None
                self._socket.poll(math.ceil(min(left_s, _SLICE_S) * 1000), zmq.POLLOUT)
            else:
                return

    def _recv(self, parts: Sequence[Part], deadline: float) -> bytes:
        asked_s, connections = time.monotonic(), None
        while True:
            left_s = self._time_left(deadline)
            try:
                # A plain recv ends by itself after a slice and is the quickest way to an answer.
                if left_s >= _SLICE_S or self._socket.poll(math.ceil(max(0, left_s) * 1000)):
                    return self._socket.recv()
            except zmq.Again:
                pass
            if not self._watch.connected or connections not in {None, self._watch.reconnections}:
                raise PeerGoneError(f"the rig at {self.url} went away before it answered {_show(parts)}", url=self.url)
            connections = self._watch.reconnections
            if self._time_left(deadline) <= 0:
                waited_s = time.monotonic() - asked_s
                raise DeadlineError(
                    f"the rig at {self.url} is there but did not answer {_show(parts)} within {waited_s:.3g} s",
                    url=self.url,
                )

    def _time_left(self, deadline: float) -> float:
        if self._closed:
            raise StateError(f"the connection to {self.url} is closed")
        return deadline - time.monotonic()

    def _open(self) -> None:
        self._socket = self._context.socket(zmq.REQ)
        self._socket.linger = 0
        self._socket.immediate = 1
        notice_loss(self._socket, self.url)
        self._socket.rcvtimeo = int(_SLICE_S * 1000)
        self._watch = ConnectionWatch(self._context, self._socket)
        self._watch.connect(self.url)
        self._made += 1

    def _drop(self) -> None:
        self._reconnections += self._watch.reconnections
        self._watch.close()
        self._socket.close()


def _show(parts: Sequence[Part]) -> str:
    return repr(bytes(parts[0][:_SHOWN_BYTES]).decode("utf-8", "replace"))
