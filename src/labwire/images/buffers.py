"""Buffers for what comes from a socket, used again and again, with a bound on their memory."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Final

_SMALLEST_BITS: Final = 12
_STEP_BITS: Final = 4
"""Sizes are rounded up by at most an eighth, so that images of almost the same size share buffers."""


class BufferPool:
    """Buffers between the thread that receives and the one that stores.

    Args:
        limit_bytes: Most memory; one buffer is always given, however large.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._free: dict[int, list[bytearray]] = {}
        self._held_bytes = 0
        self._out_bytes = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting = False

    @property
    def used_bytes(self) -> int:
        """Memory that is in use right now."""
        return self._out_bytes

    def take(self, size: int) -> bytearray | None:
        """Return a buffer of at least so many bytes, the one that was last given back if it fits; None: no room."""
        capacity = _capacity(size)
        with self._lock:
            free = self._free.get(capacity)
            if free:
                self._out_bytes += capacity
                return free.pop()
            if not self._make_room(capacity):
                return None
            self._held_bytes += capacity
            self._out_bytes += capacity
        return bytearray(capacity)

    def give_back(self, payload: memoryview) -> None:
        """Take a buffer back, by any view of it; nothing may refer to its content any more."""
        buffer = payload.obj
        if not isinstance(buffer, bytearray):
            return  # an empty payload has no buffer
        with self._lock:
            capacity = len(buffer)
            self._out_bytes -= capacity
            if self._held_bytes > self._limit_bytes:
                self._held_bytes -= capacity
            else:
                self._free.setdefault(capacity, []).append(buffer)
            if self._waiting:
                self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Wait till a buffer was given back, or `wake` was called, or the time is over."""
        with self._lock:
            self._waiting = True
            self._changed.wait(timeout_s)
            self._waiting = False

    def wake(self) -> None:
        """Wake whoever waits."""
        with self._lock:
            self._changed.notify_all()

    def _make_room(self, capacity: int) -> bool:
        for size, free in list(self._free.items()):
            while free and self._held_bytes + capacity > self._limit_bytes:
                free.pop()
                self._held_bytes -= size
        return self._held_bytes + capacity <= self._limit_bytes or not self._out_bytes


@lru_cache(maxsize=64)
def _capacity(size: int) -> int:
    bits = max(_SMALLEST_BITS, (size - 1).bit_length() - _STEP_BITS)
    return max(1, -(-size // (1 << bits))) << bits
