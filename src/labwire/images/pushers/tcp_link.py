"""One writer's socket and the thread that serves it; and what all of them share."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import struct
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

from labwire.clock import monotonic_s
from labwire.errors import InternalError
from labwire.images.pusher import OnEvent
from labwire.images.pushers.zero_copy import ZeroCopySender
from labwire.images.waker import Waker
from labwire.wire.tcp_events import ConnectionLost, ImageFailed, SenderEvent
from labwire.wire.tcp_pool import SenderPool
from labwire.wire.tcp_sender import SenderConnection
from labwire.wire.tcp_states import State

_log = logging.getLogger(__name__)

SEND_SLICE_S: Final = 0.1
"""Longest that one write blocks: so often the thread looks at what the writer says and what it shall do itself."""
CHUNK_BYTES: Final = 8 << 20
"""From here on a write takes no further piece: the next images find room while these are on their way.

A piece is not cut, and small images go together: what this thread does in between takes longer than usual, because the
pixels drove it out of the cache."""
_READ_BYTES: Final = 64 << 10
_GOODBYE_S: Final = 0.25
_GOODBYE_BYTES: Final = 1 << 20


class LinkGroup:
    """What the threads of a pusher share: one lock around the machines, and who waits for what.

    Args:
        pool: The machines.
        on_event: Told of writers that come and go, and of images that fail; never called under the lock.
    """

    def __init__(self, pool: SenderPool, on_event: OnEvent | None) -> None:
        self.pool = pool
        self.links: dict[SenderConnection, TcpLink] = {}
        self.lock = threading.Lock()
        self.listener = Waker()
        self._changed = threading.Condition(self.lock)
        self._waiting: list[Callable[[], bool]] = []
        self._on_event = on_event
        self._reports: list[tuple[str, dict[str, Any]]] = []
        self._failing: set[str] = set()

    def wait_until(self, true: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait under the lock until something is true of the machines; return whether it is."""
        if true():
            return True
        self._waiting.append(true)
        try:
            return self._changed.wait_for(true, timeout_s)
        finally:
            self._waiting.remove(true)

    def changed(self, connection: SenderConnection | None = None, events: Sequence[SenderEvent] = ()) -> None:
        """Follow up, under the lock, what has been done to the machines."""
        for event in events:
            self._note(connection, event)
        if events or connection is None:
            self.wake_links()
        if any(true() for true in self._waiting):
            self._changed.notify_all()

    def wake_links(self) -> None:
        """Wake each thread that has something to do and sleeps."""
        for link in self.links.values():
            link.wake_if_due()

    def _note(self, connection: SenderConnection | None, event: SenderEvent) -> None:
        writer = "" if connection is None else connection.peer
        match event:
            case ConnectionLost(error=error):
                self.note("writer_lost", writer=writer, reason=error.message)
            case ImageFailed(image_number=number, error=error, fatal=fatal) if writer not in self._failing:
                self._failing.add(writer)  # once in a run: the result counts the others
                self.note("image_failed", writer=writer, image_number=number, reason=error.message, fatal=fatal)
            case _:
                pass

    def forget_failures(self) -> None:
        """Note that a new run begins."""
        self._failing.clear()

    def note(self, kind: str, **data: Any) -> None:
        """Keep something to report, under the lock."""
        if self._on_event is not None:
            self._reports.append((kind, data))

    def report(self) -> None:
        """Report what was noted; not under the lock."""
        if self._on_event is None:
            return
        while self._reports:
            with self.lock:
                reports, self._reports = self._reports, []
            for kind, data in reports:
                try:
                    self._on_event(kind, data)
                except Exception:  # a listener must not end a writer's thread
                    _log.exception("telling of %s %r failed", kind, data)

    @contextlib.contextmanager
    def act(self) -> Generator[None]:
        """Do something to the machines from outside: take the lock, and follow it up."""
        try:
            with self.lock:
                yield
                self.changed()
                self.listener.wake()  # deadlines may have come nearer
        finally:
            self.report()


class TcpLink:
    """Serves one writer's socket in a thread of its own, until its connection is CLOSED.

    The thread blocks in the gather write, at most `SEND_SLICE_S` at a time, and takes what the writer said in between.

    Args:
        sock: The writer's; blocking. The link closes it.
        connection: Its machine.
        group: What it shares with the others.
        zero_copy: Send large pieces from where they are, if the system can.
    """

    def __init__(
        self, sock: socket.socket, connection: SenderConnection, group: LinkGroup, *, zero_copy: bool = False
    ) -> None:
        # Whole seconds and microseconds of a timeval, as the C library has it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, int(SEND_SLICE_S * 1e6)))
        self.connection = connection
        self.bytes_sent = 0
        self.zero_copy = ZeroCopySender(sock) if zero_copy else None
        self._sock = sock
        self._group = group
        self._waker = Waker()
        self._asleep = True  # the thread begins with it
        self._ended = ""
        """How the socket ended; empty: it did not."""
        self._room = memoryview(bytearray(_READ_BYTES))
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self._poller.register(self._waker, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name=f"labwire-writer-{connection.peer}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; return whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake_if_due(self) -> None:
        """Wake the thread, under the lock, if it sleeps and there is something to do."""
        if self._asleep and (self.connection.unsent_bytes or self.connection.state is State.CLOSED):
            self._asleep = False
            self._waker.wake()

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:
            _log.exception("serving the writer %s failed in a way that was not foreseen", self.connection.peer)
            with self._group.lock:
                gone = InternalError(f"{type(error).__name__}: {error}")
                self._group.changed(self.connection, self._group.pool.close(self.connection, monotonic_s(), gone))
        finally:
            self._say_goodbye()
            with self._group.lock:
                self._group.links.pop(self.connection, None)
                self._group.changed()
                self._waker.close()
            self._group.report()

    def _serve(self) -> None:
        group, pool, connection = self._group, self._group.pool, self.connection
        parts: list[memoryview] = []
        while True:
            sent = None
            if parts:
                sent = self._send(parts)
            else:
                self._sleep()
            data = self._receive()
            with group.lock:
                now_s = monotonic_s()
                if sent is not None:
                    pool.bytes_sent(connection, sent, now_s)
                    self.bytes_sent += sent
                events: list[SenderEvent] = []
                if data is not None:
                    events = pool.receive_data(connection, data, now_s)
                elif self._ended:
                    events = pool.receive_eof(connection, now_s, self._ended)
                group.changed(connection, events)
                if connection.state is State.CLOSED:
                    return
                parts = connection.data_to_send()
                self._asleep = not parts
            group.report()

    def _sleep(self) -> None:
        for descriptor, _ in self._poller.poll():
            if descriptor == self._waker.fileno():
                self._waker.clear()
        self._asleep = False
        if self.zero_copy is not None:
            self.zero_copy.collect()

    def _send(self, parts: Sequence[memoryview]) -> int:
        chunk = _chunk_of(parts)
        try:
            return self._sock.sendmsg(chunk) if self.zero_copy is None else self.zero_copy.send(chunk)
        except BlockingIOError:  # nothing went out for SEND_SLICE_S
            return 0
        except OSError as error:
            self._ended = error.strerror or str(error)
            return 0

    def _receive(self) -> memoryview | None:
        """Return what the writer said; None if nothing, or if the socket has ended, as `_ended` then tells."""
        try:
            count = self._sock.recv_into(self._room, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            self._ended = (error.strerror or str(error)).lower()
            return None
        if not count:
            self._ended = self._ended or "closed the connection"
            return None
        return self._room[:count]

    def _say_goodbye(self) -> None:
        # What was said last, such as why a peer is dropped, must not be lost: a socket that is closed while something
        # waits in it to be read is reset, and the other side then forgets what it has not read.
        if self.zero_copy is not None:
            self.zero_copy.close()
        try:
            with self._group.lock:
                parts = self.connection.data_to_send()
            if not self._ended:
                if parts:
                    self._sock.sendmsg(parts, [], socket.MSG_DONTWAIT)
                self._sock.shutdown(socket.SHUT_WR)
                if self.connection.error is not None and parts:
                    self._read_to_the_end()
        except OSError:  # it is gone already
            pass
        finally:
            self._sock.close()

    def _read_to_the_end(self) -> None:
        until_s, left = monotonic_s() + _GOODBYE_S, _GOODBYE_BYTES
        while left > 0 and (wait_s := until_s - monotonic_s()) > 0:
            self._sock.settimeout(wait_s)
            count = self._sock.recv_into(self._room)
            if not count:
                return
            left -= count


def _chunk_of(parts: Sequence[memoryview]) -> Sequence[memoryview]:
    total = 0
    for count, part in enumerate(parts, 1):
        total += len(part)
        if total >= CHUNK_BYTES:
            return parts[:count]
    return parts
