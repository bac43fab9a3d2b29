"""Bytes of a TCP stream to frames and back, without copying payloads: what is read next, what is sent next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from labwire.errors import StateError, UsageError
from labwire.wire.tcp_frame import HEADER_BYTES, FrameHeader, HeaderFields, Readable, decode_header, encode_header

Payload: TypeAlias = Readable | Sequence[Readable]
"""Bytes to send behind a header: one buffer or several, C-contiguous; they go out as they are, in one gather write."""

Allocate: TypeAlias = Callable[[int], bytearray | memoryview | None]
"""Gives a writable buffer of at least so many bytes, or None if there is none at the moment."""

_SKIP_BYTES = 64 << 10
_MAX_GATHERED = 64  # parts of one sendmsg; the system's limit is 1024
_BUFFERS = (bytes, bytearray, memoryview)
_NOTHING = memoryview(b"")


class Frame(msgspec.Struct, frozen=True):
    """One frame that has arrived."""

    header: FrameHeader
    payload: memoryview | None
    """A view of the buffer that was allocated for it; None if it was skipped."""


class FrameReader:
    """Cuts a stream into frames.

    Either bytes are fed to it::

        for frame in reader.feed(data): ...

    or it says where the next bytes belong, so that ``recv_into(..., MSG_WAITALL)`` fills the final buffer at once::

        count = sock.recv_into(buffer := reader.next_buffer(), 0, MSG_WAITALL)
        frame = reader.received(count)

    After an exception the stream has no frame borders any more and the reader is of no further use.

    Args:
        judge: Called with each header before memory is taken for its payload. True: the payload is wanted. False: it
            is skipped. It raises if the header cannot be accepted at all.
        allocate: Gives the buffer of a wanted payload.
    """

    def __init__(self, judge: Callable[[FrameHeader], bool], allocate: Allocate = bytearray) -> None:
        self._judge = judge
        self._allocate = allocate
        self._header_room = memoryview(bytearray(HEADER_BYTES))
        self._skip_room: memoryview | None = None
        self._header: FrameHeader | None = None  # of the frame whose payload is on its way
        self._payload: memoryview | None = None
        self._skipping = False
        self._got = 0

    @property
    def in_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return self._header is not None or self._got > 0

    def next_buffer(self) -> memoryview | None:
        """Return where the next bytes belong, never empty; None if `allocate` has no buffer at the moment."""
        if self._header is None:
            return self._header_room[self._got :] if self._got else self._header_room
        missing = self._header.payload_size - self._got
        if self._skipping:
            if self._skip_room is None:
                self._skip_room = memoryview(bytearray(_SKIP_BYTES))
            return self._skip_room[:missing]
        if self._payload is None:
            buffer = self._allocate(self._header.payload_size)
            if buffer is None:
                return None
            self._payload = memoryview(buffer)[: self._header.payload_size]
            if self._payload.nbytes != self._header.payload_size:
                raise UsageError(f"a buffer of {self._payload.nbytes} bytes for {self._header.payload_size}")
        return self._payload[self._got :] if self._got else self._payload

    def received(self, count: int) -> Frame | None:
        """Note that the first `count` bytes of `next_buffer` are filled; return the frame that this completes, if any.

        Raises:
            ProtocolError: The header is none.
            LabwireError: What the judge raises.
        """
        self._got = got = self._got + count
        header = self._header
        if header is None:
            return None if got < HEADER_BYTES else self._begin(decode_header(self._header_room))
        if got < header.payload_size:
            return None
        frame = Frame(header, self._payload)
        self._header = self._payload = None
        self._skipping = False
        self._got = 0
        return frame

    def feed(self, data: Readable) -> Iterator[Frame]:
        """Cut `data` into the frames that it completes; it must be consumed to the end.

        Each header is judged after the frame before it was yielded.

        Raises:
            ProtocolError: A header is none.
            LabwireError: What the judge raises.
            StateError: There is no buffer: an `allocate` that may return None needs `next_buffer`.
        """
        view = memoryview(data)
        at, end = 0, len(view)
        while at < end:
            if self._header is None and not self._got and end - at >= HEADER_BYTES:
                frame = self._begin(decode_header(view, at))
                at += HEADER_BYTES
            else:
                room = self.next_buffer()
                if room is None:
                    raise StateError(
                        "no buffer for a payload at the moment, and fed bytes cannot wait: use next_buffer"
                    )
                count = min(len(room), end - at)
                room[:count] = view[at : at + count]
                at += count
                frame = self.received(count)
            if frame is not None:
                yield frame

    def _begin(self, header: FrameHeader) -> Frame | None:
        self._got = 0
        wanted = self._judge(header)
        if not header.payload_size:
            return Frame(header, _NOTHING if wanted else None)
        self._header = header
        self._skipping = not wanted
        return None


class Outbox:
    """Frames on their way out. A payload is referred to until the socket has taken it, never copied."""

    def __init__(self) -> None:
        self._frames: deque[list[memoryview]] = deque()
        self._sizes: deque[int] = deque()  # what is left of each of them
        self._handed_out = 0  # frames that a gather write may be sending right now: they cannot be taken back
        self._first_begun = False  # nor can the first one, once a part of it is out
        self.unsent_bytes = 0
        self.put_count = 0
        """Frames that were appended and not taken back."""

    def put(self, header: HeaderFields, payload: Payload = b"") -> int:
        """Append a frame; return its payload's size.

        Args:
            header: Its `payload_size` is filled in.
            payload: The buffers must not change until they have been sent.

        Raises:
            UsageError: A number does not fit into its field, or a buffer is not contiguous.
        """
        views = views_of(payload) if payload else ()
        size = sum(map(len, views)) if views else 0
        self._frames.append([memoryview(encode_header(header, size)), *views])
        self._sizes.append(HEADER_BYTES + size)
        self.put_count += 1
        self.unsent_bytes += HEADER_BYTES + size
        return size

    def gather(self) -> list[memoryview]:
        """Return what goes out next, for one ``sendmsg``; empty if there is nothing.

        Call `sent` when the write is over, whatever came of it: till then these frames cannot be taken back.
        """
        if len(self._frames) == 1 and len(self._frames[0]) <= _MAX_GATHERED:
            self._handed_out = 1
            return self._frames[0].copy()
        gathered: list[memoryview] = []
        count = 0
        for frame in self._frames:
            if len(gathered) + len(frame) > _MAX_GATHERED and gathered:
                break
            gathered += frame
            count += 1
        self._handed_out = count
        return gathered if len(gathered) <= _MAX_GATHERED else gathered[:_MAX_GATHERED]

    def sent(self, count: int) -> None:
        """Note that a gather write is over and `count` bytes went out.

        Raises:
            UsageError: More than there was.
        """
        if not 0 <= count <= self.unsent_bytes:
            raise UsageError(f"{count} bytes sent, and only {self.unsent_bytes} were to be sent")
        self.unsent_bytes -= count
        self._handed_out = 0
        if not self.unsent_bytes:
            self._first_begun = False
            self._frames.clear()
            self._sizes.clear()
            return
        sizes = self._sizes
        while count:
            if count < sizes[0]:
                sizes[0] -= count
                self._frames[0] = _rest_of(self._frames[0], count)
                self._first_begun = True
                return
            count -= sizes.popleft()
            self._frames.popleft()
            self._first_begun = False

    def take_back(self, since: int = 0) -> int:
        """Drop the frames of which no byte may have gone out yet; return how many.

        Args:
            since: A `put_count`: only frames that were appended after it.
        """
        dropped = min(len(self._frames) - max(self._handed_out, self._first_begun), self.put_count - since)
        for _ in range(dropped):
            self._frames.pop()
            self.unsent_bytes -= self._sizes.pop()
        self.put_count -= max(dropped, 0)
        return max(dropped, 0)


def _rest_of(frame: list[memoryview], sent: int) -> list[memoryview]:
    for at, part in enumerate(frame):
        if sent < len(part):
            return [part[sent:], *frame[at + 1 :]]
        sent -= len(part)
    return []


def views_of(payload: Payload) -> list[memoryview]:
    """Return the non-empty buffers of a payload as views of bytes.

    Raises:
        UsageError: One is not C-contiguous, so that it cannot go out as it is.
    """
    parts = (payload,) if isinstance(payload, _BUFFERS) else payload
    views: list[memoryview] = []
    for part in parts:
        view = memoryview(part)
        if not view.nbytes:
            continue
        if not view.c_contiguous:
            raise UsageError(f"a payload of shape {view.shape} is not C-contiguous: make a contiguous copy of it")
        views.append(view if view.format == "B" and view.ndim == 1 else view.cast("B"))
    return views
