"""What the queues written in C have in common on the Python side: slices, buffers, results turned into errors."""

from __future__ import annotations

import ctypes
import time
from abc import abstractmethod
from typing import Any, Final, NamedTuple

from labwire.errors import LabwireError, PeerGoneError
from labwire.instruments.queues import native_library as native
from labwire.instruments.queues.contract import SEND_TIMEOUT_S, SLICE_S, MessageQueue, queue_full, too_large

_NS = 1_000_000_000
_SLICE_NS = int(SLICE_S * _NS)
_AGAIN: Final = frozenset({native.TIMED_OUT, native.LOCKED})


class _Buffer(NamedTuple):
    memory: Any
    address: int
    view: memoryview


class NativeQueue(MessageQueue):
    """A queue whose messages are sent and received by one C function call each.

    Args:
        name: Of the queue.
        handle: Address of what the C functions take.
        size_bytes: Of a message.
        send: The C function that sends.
        receive: The C function that receives.
        max_priority: The highest that the queue can tell apart.
        extra_bytes: What the buffer of `receive` has above the size of a message.
    """

    def __init__(
        self,
        name: str,
        handle: int,
        *,
        size_bytes: int,
        send: Any,
        receive: Any,
        max_priority: int,
        extra_bytes: int = 0,
    ) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._handle = handle
        self._send, self._receive = send, receive
        self._max_priority = max_priority
        self._buffer_bytes = size_bytes + extra_bytes
        self._spare: list[_Buffer] = []

    def send(self, message: bytes, timeout_s: float = SEND_TIMEOUT_S, priority: int = 0) -> None:
        """Put a message in, at the fixed size that foreign readers demand."""
        if not 0 <= priority <= self._max_priority:
            priority = 0 if priority < 0 else self._max_priority
        slice_ns = _SLICE_NS if timeout_s >= SLICE_S else int(timeout_s * _NS)
        code = self._send(self._handle, message, len(message), priority, slice_ns)
        if code:
            self._send_slowly(code, message, timeout_s, priority)

    def _send_slowly(self, code: int, message: bytes, timeout_s: float, priority: int) -> None:
        until = time.monotonic() + timeout_s - SLICE_S
        while code in _AGAIN and (left := until - time.monotonic()) > 0:
            code = self._send(self._handle, message, len(message), priority, int(min(left, SLICE_S) * _NS))
        match code:
            case 0:
                return
            case native.TIMED_OUT:
                raise queue_full(self.name, timeout_s, self._waiting())
            case native.TOO_LARGE:
                raise too_large(self.name, len(message), self.size_bytes)
            case native.CLOSED:
                raise PeerGoneError(f"queue {self.name} is closed")
            case _:
                raise self._error(code, timeout_s)

    def receive(self, timeout_s: float) -> bytes | None:
        """Take a message out, without its padding; None if none came in time or `wake` was called."""
        slice_ns = _SLICE_NS if timeout_s >= SLICE_S else int(timeout_s * _NS)
        try:
            buffer = self._spare.pop()
        except IndexError:
            buffer = self._new_buffer()
        size = self._receive(self._handle, buffer.address, slice_ns)
        if size in _AGAIN and timeout_s > SLICE_S:
            size = self._receive_slowly(size, buffer.address, timeout_s)
        message = buffer.view[:size].tobytes() if size >= 0 else None
        self._spare.append(buffer)
        if size < native.WOKEN and size != native.LOCKED:
            if size == native.CLOSED:
                raise PeerGoneError(f"queue {self.name} is closed")
            raise self._error(size, timeout_s)
        return message

    def _receive_slowly(self, size: int, address: int, timeout_s: float) -> int:
        until = time.monotonic() + timeout_s - SLICE_S
        while size in _AGAIN and (left := until - time.monotonic()) > 0:
            size = self._receive(self._handle, address, int(min(left, SLICE_S) * _NS))
        return size

    def _new_buffer(self) -> _Buffer:
        memory = ctypes.create_string_buffer(self._buffer_bytes)
        return _Buffer(memory, ctypes.addressof(memory), memoryview(memory).cast("B"))

    @abstractmethod
    def _waiting(self) -> int:
        """Return the number of messages in it, for the text of an error."""

    @abstractmethod
    def _error(self, code: int, timeout_s: float) -> LabwireError:
        """Return the error for a result that only this kind has."""
