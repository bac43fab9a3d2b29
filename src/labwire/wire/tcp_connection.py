"""What both sides of a TCP image connection share: bytes and the time in, events and bytes out.

The order of frames stands in `labwire.wire.tcp_states`; `labwire.wire.tcp_sender` and `labwire.wire.tcp_writer` are the
two sides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

import msgspec

from labwire.errors import LabwireError, PeerGoneError, ProtocolError, StateError, TooLargeError
from labwire.wire.tcp_frame import (
    ACK,
    CBOR_FRAMES,
    FLAG_FATAL,
    FLAG_OK,
    FLAG_TEXT,
    FRAME_TYPES,
    MAX_PAYLOAD_BYTES,
    MAX_TEXT_BYTES,
    AckCode,
    FrameHeader,
    Readable,
    encode_text,
    frame_name,
)
from labwire.wire.tcp_states import CLOSED, TRANSITIONS, Role, State, Step
from labwire.wire.tcp_stream import Allocate, Frame, FrameReader, Outbox


class Counters(msgspec.Struct):
    """What a connection has counted since it was made."""

    frames: int = 0
    """Frames that came, whole ones."""
    stray: int = 0
    """Frames of another run, or answers to nothing; ignored."""
    unknown: int = 0
    """Frames of a type that the spec does not have; ignored, but a sign of life."""
    keepalives: int = 0
    late_answers: int = 0
    """Writer: answers of this side to a run that is over; not sent."""


EventT = TypeVar("EventT")

_WITHOUT_RUN = frozenset({State.IDLE, State.CLOSED})


class TcpConnection(ABC, Generic[EventT]):
    """What both sides share: bytes and the time in, events and bytes out.

    The one who owns it reads the socket and calls `receive_data` (or `next_buffer` and `received`), `receive_eof` when
    the socket ends; then, and after each call that says something to the peer, sends what `data_to_send` gives and
    reports with `bytes_sent`; and calls `tick` when `next_deadline` has come. Nothing here is safe for two threads at
    once; only the write of the gathered bytes and the read into the buffer may happen outside the owner's lock.

    Times are seconds of one clock that never goes back.

    Args:
        peer: The other side's address, for messages.
        now_s: The time.
        max_payload_bytes: A frame that announces more ends the connection before memory is taken.
        allocate: Gives the buffers of payloads, see `FrameReader`.
    """

    ROLE: ClassVar[Role]

    def __init__(
        self,
        peer: str,
        *,
        now_s: float,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        allocate: Allocate = bytearray,
    ) -> None:
        self.peer = peer
        self.state = State.IDLE
        self.run_number: int | None = None
        """The run that is on; None in IDLE and CLOSED."""
        self.socket_number = 0
        """Index of this connection in its run, or in the last one."""
        self.counters = Counters()
        self.error: LabwireError | None = None
        """Why the connection is CLOSED."""
        self._max_payload_bytes = max_payload_bytes
        self._transitions = TRANSITIONS[self.ROLE]
        self._reader = FrameReader(self._judge, allocate)
        self._outbox = Outbox()
        self._events: list[EventT] = []
        self._heard_s = now_s

    # --- bytes in

    def next_buffer(self) -> memoryview | None:
        """Return where the next bytes belong; None if there is no buffer for a payload at the moment."""
        return self._reader.next_buffer()

    def received(self, count: int, now_s: float) -> list[EventT]:
        """Note that the first `count` bytes of `next_buffer` are filled; nothing that a peer sends raises."""
        if self.state is not CLOSED and count:
            self._heard(now_s)
            try:
                frame = self._reader.received(count)
                if frame is not None:
                    self._take_frame(frame, now_s)
            except (ProtocolError, TooLargeError) as error:
                self._drop(error, now_s)
        return self._take_events()

    def receive_data(self, data: Readable, now_s: float) -> list[EventT]:
        """Take bytes that came; after the connection is CLOSED they are ignored. Nothing that a peer sends raises.

        Raises:
            StateError: `allocate` had no buffer; see `FrameReader.feed`.
        """
        if self.state is not CLOSED and len(data):
            self._heard(now_s)
            try:
                for frame in self._reader.feed(data):
                    self._take_frame(frame, now_s)
                    if self.error is not None:
                        break
            except (ProtocolError, TooLargeError) as error:
                self._drop(error, now_s)
        return self._take_events()

    def receive_eof(self, now_s: float, reason: str = "closed the connection") -> list[EventT]:
        """Note that the socket has ended.

        Args:
            now_s: The time.
            reason: What the peer did, for the message.
        """
        if self.state is not CLOSED:
            cut = " in the middle of a frame" if self._reader.in_frame else ""
            self._lose(PeerGoneError(f"{self.peer} {reason}{cut}{self._in_run()}"), now_s)
        return self._take_events()

    # --- bytes out

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._outbox.unsent_bytes

    def data_to_send(self) -> list[memoryview]:
        """Return what goes out next, for one gather write; empty if there is nothing. Then call `bytes_sent`."""
        return self._outbox.gather()

    def bytes_sent(self, count: int, now_s: float) -> None:
        """Note that a write is over and the socket took `count` bytes, maybe none."""
        self._outbox.sent(count)

    # --- time

    @abstractmethod
    def next_deadline(self) -> float | None:
        """Return when `tick` is due, None if only the peer can make something happen."""

    @abstractmethod
    def tick(self, now_s: float) -> list[EventT]:
        """Do what is due; harmless at any time."""

    # --- for the two sides

    @abstractmethod
    def _wants(self, header: FrameHeader) -> bool:
        """Say whether a frame's payload is wanted; raise ProtocolError if such a frame must not come."""

    @abstractmethod
    def _on_frame(self, frame: Frame, now_s: float) -> None: ...

    @abstractmethod
    def _on_lost(self, error: LabwireError, now_s: float) -> None: ...

    def _judge(self, header: FrameHeader) -> bool:
        known, size = header.type in FRAME_TYPES, header.payload_size
        if size > MAX_TEXT_BYTES or size > self._max_payload_bytes:
            limit = self._max_payload_bytes
            if header.type not in CBOR_FRAMES and known:
                limit = min(limit, MAX_TEXT_BYTES)
            if size > limit:
                raise TooLargeError(
                    f"{frame_name(header.type)} announces {size} bytes, and the limit is {limit}",
                    size_bytes=size,
                    limit_bytes=limit,
                )
        return known and self._wants(header)

    def _take_frame(self, frame: Frame, now_s: float) -> None:
        self.counters.frames += 1
        if frame.header.type in FRAME_TYPES:
            self._on_frame(frame, now_s)
        else:
            self.counters.unknown += 1

    def _heard(self, now_s: float) -> None:
        self._heard_s = now_s

    def _may(self, step: Step) -> bool:
        return (self.state, step) in self._transitions

    def check(self, step: Step) -> None:
        """Raise StateError if this step is not possible now."""
        if not self._may(step):
            raise StateError(
                f"{step.name} is not possible on the connection to {self.peer}, which is {self.state.name}"
            )

    def _move(self, step: Step) -> None:
        state = self._transitions[self.state, step]
        if state is not self.state:
            self.state = state
            if state in _WITHOUT_RUN:
                self.run_number = None

    def _ack(
        self,
        kind: int,
        processed: int,
        code: int = 0,
        text: str = "",
        *,
        image_number: int = 0,
        run_number: int | None = None,
        socket_number: int | None = None,
        fatal: bool = False,
    ) -> None:
        # The answer echoes image, run and socket number of what it answers: of this run, if nothing else is said.
        run = (self.run_number or 0) if run_number is None else run_number
        number = self.socket_number if socket_number is None else socket_number
        flags = (0 if code else FLAG_OK) | (FLAG_FATAL if fatal else 0) | (FLAG_TEXT if text else 0)
        header = (ACK, image_number, 0, number, flags, run, processed, code, kind)
        self._outbox.put(header, encode_text(text) if text else b"")

    def _drop(self, error: LabwireError, now_s: float) -> None:
        # This peer alone: it is told why, then the connection ends.
        self._outbox.take_back()
        self._ack(0, 0, AckCode.PROTOCOL_ERROR, str(error))
        self._lose(type(error)(f"{self.peer}: {error}{self._in_run()}", **error.data), now_s)

    def _lose(self, error: LabwireError, now_s: float) -> None:
        self.error = error
        self._on_lost(error, now_s)
        self._move(Step.LOST)

    def _in_run(self) -> str:
        return "" if self.run_number is None else f", in run {self.run_number} ({self.state.name})"

    def _take_events(self) -> list[EventT]:
        events, self._events = self._events, []
        return events
