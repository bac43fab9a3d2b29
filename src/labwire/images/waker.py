"""Wakes a thread that waits in ``poll``."""

from __future__ import annotations

import contextlib
import os
import socket
import sys


class Waker:
    """A descriptor that becomes readable when somebody calls `wake`; any thread may.

    It counts nothing: many calls before `clear` are one.
    """

    def __init__(self) -> None:
        self._pair: tuple[socket.socket, socket.socket] | None = None
        if sys.platform == "linux":
            self._reads = self._writes = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)
            self._reads, self._writes = self._pair[0].fileno(), self._pair[1].fileno()
        self._open = True

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._reads

    def wake(self) -> None:
        """Make it readable."""
        with contextlib.suppress(BlockingIOError):  # it is, many times over
            os.write(self._writes, (1).to_bytes(8, sys.byteorder))

    def clear(self) -> None:
        """Make it unreadable again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reads, 4096)

    def close(self) -> None:
        """Let go of it; nobody may use it afterwards. Safe to call twice."""
        if not self._open:
            return
        self._open = False
        if self._pair is None:
            os.close(self._reads)
        else:
            for end in self._pair:
                end.close()
