"""Kernel zero-copy: the network card reads an image from where it is; till then its memory must stay.

Source: image-stream, "Zero-copy transmission"; Linux, ``MSG_ZEROCOPY``. The kernel numbers the writes of a socket and
tells on its error queue which of them it needs no longer.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

# From <asm-generic/socket.h>, <bits/socket.h> and <linux/errqueue.h>; Python names none of them.
_SO_ZEROCOPY: Final = 60
_MSG_ZEROCOPY: Final = 0x4000000
_MSG_ERRQUEUE: Final = 0x2000
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_ORIGIN_ZEROCOPY: Final = 5
_CODE_COPIED: Final = 1
_ANCILLARY_BYTES: Final = 256
_COUNTER_MASK: Final = 0xFFFFFFFF

MIN_BYTES: Final = 64 << 10
"""Below it the book-keeping costs more than the copy."""
_POLL_MS: Final = 100
_PATIENCE_MS: Final = 2000


class _Write(NamedTuple):
    number: int
    parts: list[memoryview]


class ZeroCopySender:
    """Writes to a socket without copying what is large, and keeps it in memory until the kernel is done with it.

    A thread of its own takes the kernel's notes. If the system cannot do it, or has no room for more notes, everything
    goes out the usual way.

    Args:
        sock: A connected TCP socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.writes = 0
        """Writes that went out without a copy, as far as this side knows."""
        self.copied = 0
        """Those of which the kernel says that it had to copy after all, as it always does on loopback."""
        self.enabled = _enable(sock)
        self._lock = threading.Lock()
        self._kept: deque[_Write] = deque()
        self._done: set[int] = set()
        self._closing = False
        self._thread: threading.Thread | None = None
        if self.enabled:
            self._thread = threading.Thread(target=self._serve, name="labwire-zero-copy", daemon=True)
            self._thread.start()

    @property
    def kept_writes(self) -> int:
        """Writes whose memory the kernel still needs."""
        return len(self._kept)

    def send(self, parts: Sequence[memoryview]) -> int:
        """Do one gather write; return how many bytes it took.

        Raises:
            BlockingIOError: It took none in the socket's time.
            OSError: The connection is over.
        """
        if not self.enabled or sum(map(len, parts)) < MIN_BYTES:
            return self._sock.sendmsg(parts)
        with self._lock:  # before the write: its note may come at once
            number = self.writes & _COUNTER_MASK
            self._kept.append(_Write(number, list(parts)))
        try:
            count = self._sock.sendmsg(parts, [], _MSG_ZEROCOPY)
        except OSError as error:
            with self._lock:
                self._kept.remove(self._kept[-1])
            if error.errno == errno.ENOBUFS:  # as many notes wait as the system allows
                return self._sock.sendmsg(parts)
            raise
        self.writes += 1
        return count

    def collect(self) -> bool:
        """Take the notes that are there; return whether there were any."""
        found = False
        while self.enabled:
            try:
                _, ancillary, _, _ = self._sock.recvmsg(1, _ANCILLARY_BYTES, _MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            except OSError:
                break
            for _, _, data in ancillary:
                if len(data) >= _EXTENDED_ERROR.size:
                    found = True
                    self._note(*_EXTENDED_ERROR.unpack_from(data))
        return found

    def _note(self, number: int, origin: int, _kind: int, code: int, _pad: int, first: int, last: int) -> None:
        if number or origin != _ORIGIN_ZEROCOPY:
            return
        count = (last - first & _COUNTER_MASK) + 1
        with self._lock:
            if code & _CODE_COPIED:
                self.copied += count
            if count > len(self._kept):  # not ours
                return
            self._done.update((first + step) & _COUNTER_MASK for step in range(count))
            while self._kept and self._kept[0].number in self._done:
                self._done.discard(self._kept.popleft().number)

    def _serve(self) -> None:
        poller = select.poll()
        poller.register(self._sock, 0)  # errors only
        while not self._closing:
            try:
                if poller.poll(_POLL_MS) and not self.collect() and not self._closing:
                    threading.Event().wait(_POLL_MS / 1000)  # the socket has ended: there is nothing more to be told
            except (OSError, ValueError):
                return

    def close(self) -> None:
        """Stop; what the kernel still needs is kept until it is done with it, at most two seconds."""
        self._closing = True
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None
        poller = select.poll()
        with contextlib.suppress(OSError, ValueError):
            poller.register(self._sock, 0)
            for _ in range(_PATIENCE_MS // _POLL_MS):
                self.collect()
                if not self._kept:
                    break
                poller.poll(_POLL_MS)


def _enable(sock: socket.socket) -> bool:
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ZEROCOPY, 1)
    except OSError:
        return False
    return True
