"""One connection of a writer to a TCP image stream: the socket and the protocol's machine, shared by two threads.

Source: image-stream, "TCP/IP image stream".
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final

from labwire.clock import monotonic_s
from labwire.errors import StateError
from labwire.images.buffers import BufferPool
from labwire.wire.tcp_events import WriterEvent
from labwire.wire.tcp_states import CLOSED
from labwire.wire.tcp_writer import WriterConnection

_SLICE_S: Final = 0.25
"""Longest wait before a deadline is looked at again."""
# image-stream, "Keepalive": the system's own, beside the stream's
_KEEPALIVE_OPTIONS: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class WriterLink:
    """One thread reads, any thread answers.

    Args:
        sock: Not connected yet.
        peer: Address of the detector, for messages.
        pool: Where images are put.
        max_unanswered: Most images that wait for an answer; then nothing more is read.
    """

    def __init__(self, sock: socket.socket, peer: str, pool: BufferPool, max_unanswered: int) -> None:
        self.cancelled_run: int | None = None
        self.failed_run: int | None = None
        self.failed_by_image = False
        """It was given up because of an image."""
        self._sock = sock
        self._pool = pool
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._broken = False
        self._room: memoryview | None = None
        self._connection = WriterConnection(
            peer, now_s=monotonic_s(), max_unanswered=max_unanswered, allocate=pool.take
        )

    @property
    def stray(self) -> int:
        """Frames that belonged to no run that was on."""
        return self._connection.counters.stray

    def prepare(self) -> None:
        """Set the options of a socket that is connected."""
        sock = self._sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE_OPTIONS:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        # A read that waits for all of its bytes ends with what there is after a while, so that deadlines are kept.
        sock.settimeout(None)
        whole = int(_SLICE_S)
        wait = struct.pack("@ll", whole, round((_SLICE_S - whole) * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)

    def interrupt(self) -> None:
        """Wake the thread that reads, or that waits for the connection."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def receive(self) -> list[WriterEvent]:
        """Read a frame, or let time pass."""
        connection, room = self._connection, self._room
        if room is None:
            with self._lock:
                room = self._next_room()
        events: list[WriterEvent] = []
        while not events:
            if room is None:
                self.flush()
                self._pool.wait(_SLICE_S)
                return self._tick()
            try:
                count = self._sock.recv_into(room, 0, socket.MSG_WAITALL)
            except (BlockingIOError, InterruptedError):
                self.flush()
                return self._tick()
            except OSError as error:
                return self._lost(f"ended the connection ({error.strerror or error})")
            if not count:
                return self._lost("closed the connection")
            with self._lock:
                events = connection.received(count, monotonic_s())
                room = self._room = self._next_room()
                unsent = connection.unsent_bytes
            if unsent:
                self.flush()
        return events

    def _next_room(self) -> memoryview | None:
        # Where the next bytes belong; None: too much waits for an answer, or there is no buffer.
        return None if self._connection.paused else self._connection.next_buffer()

    def _lost(self, reason: str) -> list[WriterEvent]:
        with self._lock:
            return self._connection.receive_eof(monotonic_s(), reason)

    def _tick(self) -> list[WriterEvent]:
        now_s = monotonic_s()
        with self._lock:
            events = self._connection.tick(now_s)
            unsent = self._connection.unsent_bytes
        if unsent:
            self.flush()
        return events

    def close(self) -> list[WriterEvent]:
        """Give the connection up."""
        with self._lock:
            return self._connection.close(monotonic_s())

    def is_over(self, run: int) -> bool:
        """Whether what belongs to a run is no longer wanted: it was taken back, or given up."""
        return run == self.cancelled_run or run == self.failed_run  # noqa: PLR1714  no set for each image

    def answer(self, say: Callable[[WriterConnection, float], bool], *, later: bool = False) -> bool:
        """Say something to the detector, or have it said with what follows; False if the run is over."""
        if later:
            with self._lock:
                return self._say(say)
        with self._sending:
            with self._lock:
                done = self._say(say)
                parts = self._connection.data_to_send() if done else []
            self._send(parts)
        return done

    def _say(self, say: Callable[[WriterConnection, float], bool]) -> bool:
        return self._connection.state is not CLOSED and say(self._connection, monotonic_s())

    def fail_run(self, say: Callable[[WriterConnection, float], list[WriterEvent]]) -> list[WriterEvent]:
        """Give the run up."""
        with self._lock:
            try:
                events = say(self._connection, monotonic_s())
            except StateError:
                events = []
        self.flush()
        return events

    def flush(self) -> None:
        """Send what there is, as far as the socket takes it at once."""
        with self._sending:
            with self._lock:
                parts = self._connection.data_to_send()
            self._send(parts)

    def _send(self, parts: list[memoryview]) -> None:
        connection = self._connection
        while parts and not self._broken:
            try:
                count = self._sock.sendmsg(parts, [], socket.MSG_DONTWAIT)
            except OSError as error:
                # A connection that is broken is found by the thread that reads.
                self._broken = error.errno not in {errno.EAGAIN, errno.EINTR}
                count = 0
            with self._lock:
                connection.bytes_sent(count, monotonic_s())
                parts = connection.data_to_send() if count and connection.unsent_bytes else []
