"""Queues over one AF_UNIX SEQPACKET socket pair: nothing to repair, and instant notice of death.

Messages travel without padding. A socket counts bytes, the spec counts messages (instrument-ipc, "Queue Full"), so both
ends share a page with the number of messages sent and received each way. It travels with the first message as a memfd,
so that a worker inherits one descriptor only. The work is done in C (``native/socket_queue.c``).
"""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Final, NoReturn

from labwire.errors import LabwireError, PeerGoneError, ProtocolError, ResourceError, UsageError
from labwire.instruments.queues import native_library as native
from labwire.instruments.queues.contract import DEPTH, QueuePair, QueueState, request_name, response_name
from labwire.instruments.queues.native_queue import NativeQueue
from labwire.wire.instrument_message import SPEC, Profile

KIND: Final = "socket"
_HELLO = b"labwire socket queues 1"
_HELLO_TIMEOUT_S = 5.0
_PAGE_BYTES = 4096
_BUFFER_BYTES = 4 << 20  # DEPTH full messages are charged about 1.7 MB; the kernel caps it at net.core.wmem_max
_MAX_PRIORITY = 2**32 - 1


class _Ends:
    """One side of a socket, in both directions; it lives as long as a queue of it does."""

    def __init__(self, sock: socket.socket, page_fd: int, profile: Profile, *, server: bool) -> None:
        self._library = library = native.library()
        self._memory = ctypes.create_string_buffer(library.lw_socket_handle_bytes())
        self.handle = ctypes.addressof(self._memory)
        self.size_bytes = profile.size_bytes
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        if code := library.lw_socket_open(self.handle, sock.fileno(), page_fd, server, profile.size_bytes, DEPTH):
            raise ResourceError(f"a socket queue cannot be made: {os.strerror(code)}")
        sock.detach()  # it is the handle's now

    def close(self) -> None:
        self._library.lw_socket_close(self.handle)


class SeqpacketQueue(NativeQueue):
    """One direction of a socket pair, seen from one side: it can only send, or only receive."""

    kind = KIND

    def __init__(self, name: str, ends: _Ends, *, sends: bool) -> None:
        self._library = library = native.library()
        self._ends = ends
        self._sends = sends
        super().__init__(
            name,
            ends.handle,
            size_bytes=ends.size_bytes,
            send=library.lw_socket_send if sends else self._refuse,
            receive=self._refuse if sends else library.lw_socket_receive,
            max_priority=_MAX_PRIORITY,
            extra_bytes=1,  # shows what is too long, for the decoder to refuse
        )

    def _refuse(self, *_arguments: object) -> NoReturn:
        raise UsageError(f"this side of queue {self.name} only {'sends' if self._sends else 'receives'}")

    def _waiting(self) -> int:
        return max(0, self._library.lw_socket_count(self._handle, self._sends))

    def _error(self, code: int, timeout_s: float) -> LabwireError:
        if code == native.GONE:
            return PeerGoneError(f"the other side of queue {self.name} is gone: end of file")
        if code == native.BROKEN:
            return PeerGoneError(f"the other side of queue {self.name} wrote nonsense into the counters of messages")
        return ResourceError(f"queue {self.name} failed: {os.strerror(native.ERRNO - code)}")

    def wake(self) -> None:
        """Let one `receive` return None at once."""
        if not self._sends:
            self._library.lw_socket_wake(self._handle)

    def state(self) -> QueueState:
        """Tell how many messages are on the way."""
        count = self._library.lw_socket_count(self._handle, self._sends)
        if count == native.CLOSED:
            return QueueState(self.name, KIND, DEPTH, None, note=f"queue {self.name} is closed")
        return QueueState(self.name, KIND, DEPTH, count)

    def close(self) -> None:
        """Let go of it, and of the other direction: both are one socket."""
        self._ends.close()


class SeqpacketPair(QueuePair):
    """Both directions of one socket, seen from one side."""

    def __init__(self, instrument: str, ends: _Ends, *, server: bool, worker_end: socket.socket | None) -> None:
        self.requests = SeqpacketQueue(request_name(instrument), ends, sends=server)
        self.responses = SeqpacketQueue(response_name(instrument), ends, sends=not server)
        self._ends = ends
        self._worker_end = worker_end
        self.worker_fd = worker_end.fileno() if worker_end else None

    @classmethod
    def create(cls, instrument: str, profile: Profile = SPEC) -> SeqpacketPair:
        """Make both ends; the worker's is `worker_fd`, for the worker process to inherit.

        Raises:
            ResourceError: Not on Linux, or the system gives no socket.
        """
        native.library()
        request_name(instrument)  # refuses a bad name before anything is made
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        page = _make_page()
        try:
            socket.send_fds(ours, [_HELLO], [page])
            return cls(instrument, _Ends(ours, page, profile, server=True), server=True, worker_end=theirs)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        finally:
            os.close(page)

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
            try:
                return cls(instrument, _Ends(sock, page, profile, server=False), server=False, worker_end=None)
            finally:
                os.close(page)
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


def _make_page() -> int:
    import fcntl  # not on every system, while this module is imported on all

    page = os.memfd_create("labwire-queue-counts", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(page, _PAGE_BYTES)
        # Whoever touches a page that is no more is ended by the system, so nobody may shorten it.
        fcntl.fcntl(page, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(page)
        raise
    return page


def _receive_page(sock: socket.socket, name: str) -> int:
    sock.settimeout(_HELLO_TIMEOUT_S)
    try:
        hello, fds, _flags, _address = socket.recv_fds(sock, len(_HELLO) + 1, 1)
    except TimeoutError as error:
        raise ProtocolError(f"the server sent no first message on queue {name} in {_HELLO_TIMEOUT_S:g} s") from error
    except OSError as error:
        raise PeerGoneError(f"the other side of queue {name} is gone: {error.strerror}") from error
    if hello == _HELLO and len(fds) == 1 and os.fstat(fds[0]).st_size == _PAGE_BYTES:
        return fds[0]
    for fd in fds:
        os.close(fd)
    if not hello:
        raise PeerGoneError(f"the other side of queue {name} is gone: end of file")
    raise ProtocolError(f"the first message on queue {name} is not a server's: {hello!r}, {len(fds)} descriptors")
