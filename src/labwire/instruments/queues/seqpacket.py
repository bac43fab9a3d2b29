"""Queues over one AF_UNIX SEQPACKET socket pair: the fastest kind, with nothing to repair and instant notice of death.

Messages travel without padding. A socket counts bytes, the spec counts messages (instrument-ipc, "Queue Full"), so both
ends share a page with the number of messages sent and received each way. It travels with the first message as a memfd,
so that a worker inherits one descriptor only.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import socket
import sys
import threading
import time
from typing import Final

from labwire.errors import PeerGoneError, ProtocolError, ResourceError, UsageError
from labwire.instruments.queues.contract import (
    DEPTH,
    SEND_TIMEOUT_S,
    SLICE_S,
    MessageQueue,
    QueuePair,
    QueueState,
    queue_full,
    request_name,
    response_name,
    too_large,
)
from labwire.wire.instrument_message import SPEC, Profile

KIND: Final = "socket"
_HELLO = b"labwire socket queues 1"
_HELLO_TIMEOUT_S = 5.0
_PAGE_BYTES = 4096
_BUFFER_BYTES = 4 << 20  # DEPTH full messages are charged about 1.7 MB; the kernel caps it at net.core.wmem_max
_FULL_STEP_MS = 1  # how often a full queue is looked at again
_WAKE_ALL = 1 << 20
_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNREFUSED})
_SIDES = {"requests": (0, 1), "responses": (2, 3)}  # places of (sent, received) in the page


class _Ends:
    """What both directions of one side share; its descriptors close when the last call has left."""

    def __init__(self, sock: socket.socket, page: mmap.mmap, profile: Profile) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self.sock = sock
        self.page = page
        self.counts = memoryview(page).cast("Q")
        self.profile = profile
        self.closed = False
        self.wakes = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
        self.events = select.epoll()
        self.events.register(sock, select.EPOLLIN | select.EPOLLRDHUP)
        self.events.register(self.wakes, select.EPOLLIN)
        self.only_readable = [(sock.fileno(), select.EPOLLIN)]
        self.send_lock = threading.Lock()
        self.lock = threading.Lock()
        self._users = 0

    def enter(self) -> None:
        with self.lock:
            if self.closed:
                raise PeerGoneError("this socket queue is closed")
            self._users += 1

    def leave(self) -> None:
        with self.lock:
            self._users -= 1
            if self.closed and not self._users:
                self._release()

    def close(self) -> None:
        with self.send_lock, self.lock:
            if self.closed:
                return
            self.closed = True
            try:
                self.sock.shutdown(socket.SHUT_RDWR)  # the peer is to know it now, not when our last call has left
            except OSError:
                pass  # the peer was gone first
            if self._users:
                os.eventfd_write(self.wakes, _WAKE_ALL)
            else:
                self._release()

    def _release(self) -> None:
        self.events.close()
        os.close(self.wakes)
        self.sock.close()
        self.counts.release()
        self.page.close()


class SeqpacketQueue(MessageQueue):
    """One direction of a socket pair, seen from one side: it can only send, or only receive."""

    kind = KIND

    def __init__(self, name: str, ends: _Ends, *, direction: str, sends: bool) -> None:
        self.name = name
        self._ends = ends
        self._sends = sends
        self._at_sent, self._at_received = _SIDES[direction]
        self._size_bytes = ends.profile.size_bytes
        self._count = 0  # of what this side has sent or received: the page may be scribbled over by the peer

    def send(self, message: bytes, timeout_s: float = SEND_TIMEOUT_S, priority: int = 0) -> None:
        """Put a message in; a socket is first in, first out, so the priority changes nothing."""
        if not self._sends:
            raise UsageError(f"this side of queue {self.name} only receives")
        if len(message) > self._size_bytes:
            raise too_large(self.name, len(message), self._size_bytes)
        if not self._try_send(message):
            self._ends.enter()
            try:
                self._send_when_there_is_room(message, timeout_s)
            finally:
                self._ends.leave()

    def _try_send(self, message: bytes) -> bool:
        ends = self._ends
        with ends.send_lock:  # keeps the socket open as well
            if ends.closed:
                raise PeerGoneError(f"queue {self.name} is closed")
            count = self._count
            if not 0 <= count - ends.counts[self._at_received] < DEPTH and self._is_full():
                return False
            ends.counts[self._at_sent] = count + 1  # first, so that nobody sees more received than sent
            try:
                ends.sock.send(message)
            except OSError as error:
                ends.counts[self._at_sent] = count
                if isinstance(error, BlockingIOError):  # the buffer is smaller than we asked for
                    return False
                if error.errno in _GONE:
                    raise PeerGoneError(f"the other side of queue {self.name} is gone: {error.strerror}") from error
                raise
            self._count = count + 1
            return True

    def _is_full(self) -> bool:
        received = self._ends.counts[self._at_received]
        if not 0 <= self._count - received <= DEPTH:
            raise PeerGoneError(
                f"the other side of queue {self.name} wrote nonsense into the shared counters: "
                f"{received} messages received of {self._count} sent"
            )
        return self._count - received == DEPTH

    def _send_when_there_is_room(self, message: bytes, timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        hangup = select.poll()
        hangup.register(self._ends.sock, 0)  # tells of a hang-up only
        while not self._try_send(message):
            if self._ends.closed:
                raise PeerGoneError(f"queue {self.name} is closed")
            if hangup.poll(0):
                raise PeerGoneError(f"the other side of queue {self.name} is gone")
            if time.monotonic() >= until:
                raise queue_full(self.name, timeout_s, self._waiting())
            hangup.poll(_FULL_STEP_MS)

    def receive(self, timeout_s: float) -> bytes | None:
        """Take a message out; None if none came in time or `wake` was called."""
        if self._sends:
            raise UsageError(f"this side of queue {self.name} only sends")
        ends = self._ends
        ends.enter()
        try:
            events = ends.events.poll(SLICE_S if timeout_s > SLICE_S else max(timeout_s, 0))
            if events == ends.only_readable and (message := self._take(hangup=False)) is not None:
                return message
            return self._receive(events, timeout_s)
        finally:
            ends.leave()

    def _receive(self, events: list[tuple[int, int]], timeout_s: float) -> bytes | None:
        ends = self._ends
        until = time.monotonic() + timeout_s - (0 if events else SLICE_S)
        while True:
            if ends.closed:
                raise PeerGoneError(f"queue {self.name} is closed")
            hangup = woken = False
            for fd, flags in events:
                if fd == ends.wakes:
                    woken = self._take_wake()
                else:
                    hangup = bool(flags & (select.EPOLLHUP | select.EPOLLRDHUP))
            if events and (message := self._take(hangup=hangup)) is not None:
                if woken:
                    self.wake()  # it was not used: the message goes first
                return message
            if woken or (left := until - time.monotonic()) <= 0:
                return None
            events = ends.events.poll(min(left, SLICE_S))

    def _take(self, *, hangup: bool) -> bytes | None:
        ends = self._ends
        try:
            message = ends.sock.recv(self._size_bytes + 1)  # one more shows what is too long
        except BlockingIOError:  # another thread was faster
            return None
        except ConnectionResetError:  # told once, before what the dead peer sent: that is still to be read
            return None
        if not message and hangup:
            raise PeerGoneError(f"the other side of queue {self.name} is gone: end of file")
        with ends.lock:
            self._count += 1
            ends.counts[self._at_received] = self._count
        return message

    def _take_wake(self) -> bool:
        try:
            os.eventfd_read(self._ends.wakes)
        except BlockingIOError:  # another thread was woken by it
            return False
        return True

    def wake(self) -> None:
        """Let one `receive` return None at once."""
        if self._sends:
            return
        try:
            self._ends.enter()
        except PeerGoneError:  # closed: nobody waits
            return
        try:
            os.eventfd_write(self._ends.wakes, 1)
        finally:
            self._ends.leave()

    def _waiting(self) -> int:
        return max(0, self._ends.counts[self._at_sent] - self._ends.counts[self._at_received])

    def state(self) -> QueueState:
        """Tell how many messages are on the way."""
        try:
            self._ends.enter()
        except PeerGoneError as error:
            return QueueState(self.name, KIND, DEPTH, None, note=str(error))
        try:
            return QueueState(self.name, KIND, DEPTH, self._waiting())
        finally:
            self._ends.leave()

    def close(self) -> None:
        """Let go of it, and of the other direction: both are one socket."""
        self._ends.close()


class SeqpacketPair(QueuePair):
    """Both directions of one socket, seen from one side."""

    def __init__(self, instrument: str, ends: _Ends, *, server: bool, worker_end: socket.socket | None) -> None:
        self.requests = SeqpacketQueue(request_name(instrument), ends, direction="requests", sends=server)
        self.responses = SeqpacketQueue(response_name(instrument), ends, direction="responses", sends=not server)
        self._ends = ends
        self._worker_end = worker_end
        self.worker_fd = worker_end.fileno() if worker_end else None

    @classmethod
    def create(cls, instrument: str, profile: Profile = SPEC) -> SeqpacketPair:
        """Make both ends; the worker's is `worker_fd`, for the worker process to inherit.

        Raises:
            ResourceError: Not on Linux, or the system gives no socket.
        """
        if sys.platform != "linux":
            raise ResourceError(f"socket queues need Linux (SEQPACKET, memfd, eventfd), not {sys.platform}")
        request_name(instrument)  # refuses a bad name before anything is made
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = os.memfd_create("labwire-queue-counts")
        try:
            os.ftruncate(memory, _PAGE_BYTES)
            socket.send_fds(ours, [_HELLO], [memory])
            return cls(instrument, _Ends(ours, mmap.mmap(memory, _PAGE_BYTES), profile), server=True, worker_end=theirs)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        finally:
            os.close(memory)

    @classmethod
    def open(cls, instrument: str, fd: int, profile: Profile = SPEC) -> SeqpacketPair:
        """Take over the worker's end, a descriptor that this process has inherited.

        Raises:
            UsageError: It is no such descriptor.
            PeerGoneError: The server is gone already.
            ProtocolError: Its first message is not what a server sends.
        """
        name = request_name(instrument)
        try:
            sock = socket.socket(fileno=fd)
        except OSError as error:
            raise UsageError(f"descriptor {fd} is no socket of queue {name}: {error.strerror}") from error
        try:
            page = _receive_page(sock, name)
            return cls(instrument, _Ends(sock, page, profile), server=False, worker_end=None)
        except BaseException:
            sock.close()
            raise

    def release_worker_fd(self) -> None:
        """Close our copy of `worker_fd`, right after the worker has been started."""
        if self._worker_end:
            self._worker_end.close()
            self._worker_end = None
            self.worker_fd = None

    def close(self) -> None:
        """Close the socket."""
        self.release_worker_fd()
        self._ends.close()


def _receive_page(sock: socket.socket, name: str) -> mmap.mmap:
    sock.settimeout(_HELLO_TIMEOUT_S)
    try:
        hello, fds, _flags, _address = socket.recv_fds(sock, len(_HELLO) + 1, 1)
    except TimeoutError as error:
        raise ProtocolError(f"the server sent no first message on queue {name} in {_HELLO_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise PeerGoneError(f"the other side of queue {name} is gone: {error.strerror}") from error
    try:
        if not hello:
            raise PeerGoneError(f"the other side of queue {name} is gone: end of file")
        if hello != _HELLO or not fds:
            raise ProtocolError(
                f"the first message on queue {name} is not a server's: {hello!r}, {len(fds)} descriptors"
            )
        return mmap.mmap(fds[0], _PAGE_BYTES)
    except (OSError, ValueError) as error:
        raise ProtocolError(f"the counters of queue {name} cannot be mapped: {error}") from error
    finally:
        for fd in fds:
            os.close(fd)
