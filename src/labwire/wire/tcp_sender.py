"""The detector's side of one writer connection.

Source: image-stream, "TCP/IP image stream", "ACK handling", "Keepalive".
"""

from __future__ import annotations

import struct
from typing import ClassVar

from labwire.errors import DeadlineError, LabwireError, PeerGoneError, ProtocolError, StateError, UsageError
from labwire.wire.run_result import ImageAccount
from labwire.wire.tcp_connection import TcpConnection
from labwire.wire.tcp_events import (
    Cancelled,
    ConnectionLost,
    EndAcknowledged,
    EndFailed,
    ImageFailed,
    SenderEvent,
    StartAcknowledged,
    StartFailed,
)
from labwire.wire.tcp_frame import (
    ACK,
    DATA,
    FLAG_FATAL,
    FLAG_OK,
    HEADER_BYTES,
    MAGIC,
    VERSION,
    FrameHeader,
    FrameType,
    HeaderFields,
    Readable,
    ack_code_name,
    decode_text,
    error_of_ack,
    frame_name,
)
from labwire.wire.tcp_states import CLOSED, DATA_ACK_STEP, DATA_STEP, Role, State, Step
from labwire.wire.tcp_stream import Frame, Payload
from labwire.wire.tcp_timeouts import SENDER_TIMEOUTS, SenderTimeouts

MAX_UNACKNOWLEDGED = 8192
"""Images without an ACK, of one connection; above it the sender waits. Only their numbers are kept."""
MAX_UNSENT_BYTES = 8 << 20
"""Above it the sender waits; one image is always taken, however large."""


_ANSWER = struct.Struct("<8sQQ4xIQI2xH16x")
"""What is looked at of the header of an answer to an image."""
_ACK_BEGINS = struct.pack("<IHH", MAGIC, VERSION, ACK)
_RUN_STATES = frozenset({State.STARTED, State.RUNNING, State.FAILED})


class SenderConnection(TcpConnection[SenderEvent]):
    """One writer, seen from the detector.

    >>> writer = SenderConnection("10.0.0.5:41234", now_s=0.0)
    >>> writer.start(7, 0, b"a CBOR message", now_s=0.0)
    >>> [bytes(part) for part in writer.data_to_send()][1]
    b'a CBOR message'

    Args:
        peer: The writer's address, for messages.
        now_s: The time.
        timeouts: See `SenderTimeouts`.
        max_unacknowledged: See `MAX_UNACKNOWLEDGED`.
        max_unsent_bytes: See `MAX_UNSENT_BYTES`.
    """

    ROLE: ClassVar[Role] = Role.SENDER

    def __init__(
        self,
        peer: str,
        *,
        now_s: float,
        timeouts: SenderTimeouts = SENDER_TIMEOUTS,
        max_unacknowledged: int = MAX_UNACKNOWLEDGED,
        max_unsent_bytes: int = MAX_UNSENT_BYTES,
    ) -> None:
        super().__init__(peer, now_s=now_s)
        self.account = ImageAccount(0, peer)
        """The books of the current run, or of the last one."""
        self._timeouts = timeouts
        self._max_unacknowledged = max_unacknowledged
        self._max_unsent_bytes = max_unsent_bytes
        self._before_run = 0  # frames that were said before START
        self._unanswered_keepalives = 0
        self._keepalive_due_s = now_s + timeouts.keepalive_s
        self._asked_s = now_s  # when START, END or CANCEL was said
        self._waiting_since_s = now_s  # when something began to wait for the peer
        self._taken_s = now_s  # when the socket last took bytes
        self._progress_s = now_s  # when an image was last acknowledged, or the socket last took bytes

    # --- what the detector says

    def start(self, run_number: int, socket_number: int, payload: Payload, now_s: float) -> None:
        """Send START. Its answer is `StartAcknowledged` or `StartFailed`.

        Raises:
            StateError: A run is on, or the connection is closed.
            UsageError: A number does not fit into its field.
        """
        self.check(Step.START)
        self._before_run = self._outbox.put_count
        header = FrameHeader(FrameType.START, socket_number=socket_number, run_number=run_number)
        self._say(header, payload, now_s)
        self.account = ImageAccount(socket_number, self.peer)
        self._waiting_since_s = now_s
        self.run_number = run_number
        self.socket_number = socket_number
        self._move(Step.START)

    def send_calibration(self, payload: Payload, now_s: float) -> None:
        """Send CALIBRATION, which is not acknowledged.

        Raises:
            StateError: This is not connection 0 of a run that is accepted and has no image yet.
        """
        self.check(Step.CALIBRATION)
        if self.socket_number:
            raise StateError(f"CALIBRATION goes to connection 0 only, and {self.peer} is {self.socket_number}")
        self._put(self._header(FrameType.CALIBRATION), payload, now_s)
        self._move(Step.CALIBRATION)

    @property
    def ready_for_image(self) -> bool:
        """Whether an image may be sent now. False in a run: wait for ACKs, or for the socket to take bytes."""
        return (
            self.state in _RUN_STATES
            and self._outbox.unsent_bytes < self._max_unsent_bytes
            and len(self.account.unacknowledged) < self._max_unacknowledged
        )

    def send_image(self, image_number: int, payload: Payload, now_s: float) -> None:
        """Send DATA.

        Raises:
            StateError: Not `ready_for_image`.
            UsageError: The number does not fit into its field, or an image with it is on its way.
        """
        if not self.ready_for_image:
            raise StateError(
                f"{self.peer} is not ready for an image: {self.state.name}, {self.unsent_bytes} bytes unsent, "
                f"{len(self.account.unacknowledged)} images unacknowledged"
            )
        if image_number in self.account.unacknowledged:
            raise UsageError(f"image {image_number} is on its way already: an image number is used once in a run")
        self._put((DATA, image_number, 0, self.socket_number, 0, self.run_number or 0, 0, 0, 0), payload, now_s)
        self.account.note_sent(image_number)
        self._move(DATA_STEP)

    def end(self, payload: Payload, now_s: float) -> None:
        """Send END, behind the images. Its answer is `EndAcknowledged` or `EndFailed`.

        Raises:
            StateError: There is no accepted run.
        """
        self.check(Step.END)
        self._say(self._header(FrameType.END), payload, now_s)
        self._move(Step.END)

    def cancel(self, now_s: float) -> None:
        """Send CANCEL, in front of all of the run that has not begun to go out. Its answer is `Cancelled`.

        A writer to which START has not gone out yet hears of neither.

        Raises:
            StateError: There is no run.
        """
        self.check(Step.CANCEL)
        taken_back = self._outbox.take_back(self._before_run)
        if taken_back and self.state is State.STARTING:  # START is all that there is of the run
            self._move(Step.UNSAID)
            return
        self._say(self._header(FrameType.CANCEL), b"", now_s)
        self._move(Step.CANCEL)

    def close(self, now_s: float, error: LabwireError | None = None) -> list[SenderEvent]:
        """Give the connection up; send what is left, then close the socket. The writer is told the reason, if given."""
        if self.state is not CLOSED:
            if error is not None:
                self._drop(error, now_s)
            else:
                self._lose(
                    PeerGoneError(f"the connection to {self.peer} was closed by this side{self._in_run()}"), now_s
                )
        return self._take_events()

    # --- bytes out, time

    def bytes_sent(self, count: int, now_s: float) -> None:
        """Note that a write is over and the socket took `count` bytes, maybe none."""
        self._outbox.sent(count)
        if count:
            self._taken_s = self._progress_s = now_s

    def next_deadline(self) -> float | None:
        """Return when `tick` is due."""
        match self.state:
            case State.IDLE:
                return self._keepalive_due_s
            case State.STARTING:
                # Counted from when START is out: its mask may be large and the way narrow.
                latest_s = self._asked_s + max(self._timeouts.start_ack_s, self._timeouts.max_backpressure_s)
                return min(max(self._asked_s, self._taken_s) + self._timeouts.start_ack_s, latest_s)
            case State.CANCELLING:
                return self._asked_s + self._timeouts.cancel_ack_s
            case State.CLOSED:
                return None
            case State.ENDING if not self._waits_for_images:
                return max(self._asked_s, self._progress_s) + self._timeouts.end_ack_s
            case _:
                return min(self._dead_at(), self._stuck_at()) if self._waits_for_images else None

    def tick(self, now_s: float) -> list[SenderEvent]:
        """Do what is due: send a KEEPALIVE, end a wait that was too long."""
        due_s = self.next_deadline()
        if due_s is not None and now_s >= due_s:
            match self.state:
                case State.IDLE:
                    self._keep_alive(now_s)
                case State.STARTING:
                    error = self._too_late("START", self._timeouts.start_ack_s)
                    self._events.append(StartFailed(error))
                    self.cancel(now_s)  # it may have started all the same
                case State.CANCELLING:
                    self._idle(Step.CANCEL_LATE, now_s)
                    self._events.append(Cancelled(acknowledged=False))
                case State.ENDING if not self._waits_for_images:
                    error = self._too_late("END", self._timeouts.end_ack_s)
                    self._idle(Step.END_LATE, now_s)
                    self._events.append(EndFailed(error))
                case _:
                    self._lose(self._stalled(now_s), now_s)
        return self._take_events()

    @property
    def _waits_for_images(self) -> bool:
        return len(self.account.unacknowledged) > 0 or self._outbox.unsent_bytes > 0

    def _dead_at(self) -> float:
        # A byte that the socket takes shows that the peer reads, as one that comes shows that it speaks.
        return max(self._waiting_since_s, self._heard_s, self._taken_s) + self._timeouts.peer_liveness_s

    def _stuck_at(self) -> float:
        return max(self._waiting_since_s, self._progress_s) + self._timeouts.max_backpressure_s

    def _stalled(self, now_s: float) -> LabwireError:
        left = f"{len(self.account.unacknowledged)} images unacknowledged, {self.unsent_bytes} bytes unsent"
        if now_s >= self._dead_at():
            silent_s = self._timeouts.peer_liveness_s
            return PeerGoneError(f"{self.peer} gave no sign of life for {silent_s:g} s, {left}{self._in_run()}")
        stuck_s = self._timeouts.max_backpressure_s
        return DeadlineError(f"{self.peer} is alive but took nothing for {stuck_s:g} s, {left}{self._in_run()}")

    def _too_late(self, what: str, limit_s: float) -> LabwireError:
        error = DeadlineError(f"{self.peer} did not acknowledge {what} of run {self.run_number} within {limit_s:g} s")
        self.account.note_fault(self.account.fault(error))
        return error

    def _keep_alive(self, now_s: float) -> None:
        if self._unanswered_keepalives >= self._timeouts.missed_keepalives:
            count, every_s = self._unanswered_keepalives, self._timeouts.keepalive_s
            self._lose(PeerGoneError(f"{self.peer} did not answer {count} KEEPALIVEs, one every {every_s:g} s"), now_s)
            return
        self._outbox.put(FrameHeader(FrameType.KEEPALIVE))
        self._unanswered_keepalives += 1
        self._keepalive_due_s = now_s + self._timeouts.keepalive_s

    # --- what the writer says

    def receive_data(self, data: Readable, now_s: float) -> list[SenderEvent]:
        """Take bytes that came, see `TcpConnection.receive_data`."""
        taken = 0 if self._reader.in_frame else self._take_answers(data, now_s)
        return self._take_events() if taken == len(data) else super().receive_data(memoryview(data)[taken:], now_s)

    def _take_answers(self, data: Readable, now_s: float) -> int:
        """Take good answers to images, which is nearly all that comes, and return how many bytes they are.

        What `_on_frame` does for any frame takes four times as long, image after image.
        """
        if not self._may(DATA_ACK_STEP):
            return 0
        account, run, taken = self.account, self.run_number, 0
        whole = data if not len(data) % HEADER_BYTES else memoryview(data)[: len(data) // HEADER_BYTES * HEADER_BYTES]
        for begins, image_number, size, flags, of_run, processed, ack_for in _ANSWER.iter_unpack(whole):
            good = begins == _ACK_BEGINS and not size and flags == FLAG_OK and of_run == run and ack_for == DATA
            if not good or image_number not in account.unacknowledged:
                break
            account.note_acknowledged(image_number, processed)
            taken += HEADER_BYTES
        if taken:
            self._heard(now_s)
            self._progress_s = now_s
            self.counters.frames += taken // HEADER_BYTES
        return taken

    def _heard(self, now_s: float) -> None:
        self._heard_s = now_s
        self._unanswered_keepalives = 0

    def _wants(self, header: FrameHeader) -> bool:
        if header.type == ACK:
            return True
        if header.type == FrameType.KEEPALIVE:
            return False
        raise ProtocolError(f"a writer sends ACK and KEEPALIVE, and this one sent {frame_name(header.type)}")

    def _on_frame(self, frame: Frame, now_s: float) -> None:
        header = frame.header
        if header.type != ACK:
            self.counters.keepalives += 1
            return
        good = header.flags & (FLAG_OK | FLAG_FATAL) == FLAG_OK  # FATAL wins
        text = decode_text(header, frame.payload or b"")
        if not header.ack_for and not good:
            self._lose(error_of_ack(header, text, f"{self.peer} ends the connection{self._in_run()}"), now_s)
            return
        step = self._step_of(header, good=good)
        if step is None or header.run_number != self.run_number or not self._may(step):
            self.counters.stray += 1
            return
        match step:
            case Step.START_OK:
                self._move(step)
                self._events.append(StartAcknowledged())
            case Step.START_REFUSED:
                error = error_of_ack(header, text, f"{self.peer} refuses START of run {self.run_number}")
                self._refused(step, StartFailed(error), header, now_s)
            case Step.END_ACK:
                self._on_end_ack(header, text, now_s, good=good)
            case Step.CANCEL_ACK:
                self._idle(step, now_s)
                self._events.append(Cancelled(acknowledged=True))
            case _:
                self._on_data_ack(step, header, text, now_s, good=good)

    @staticmethod
    def _step_of(header: FrameHeader, *, good: bool) -> Step | None:
        match header.ack_for:
            case FrameType.DATA:
                return Step.FATAL if header.flags & FLAG_FATAL else Step.DATA_ACK
            case FrameType.START:
                return Step.START_OK if good else Step.START_REFUSED
            case FrameType.END:
                return Step.END_ACK
            case FrameType.CANCEL:
                return Step.CANCEL_ACK
            case _:
                return None

    def _on_data_ack(self, step: Step, header: FrameHeader, text: str, now_s: float, *, good: bool) -> None:
        image_number = header.image_number
        if image_number not in self.account.unacknowledged:
            self.counters.stray += 1
            return
        self._progress_s = now_s
        if good:
            self.account.note_acknowledged(image_number, header.ack_processed_images)
        else:
            what = f"{self.peer} could not store image {image_number} of run {self.run_number}"
            error = error_of_ack(header, text, what)
            fault = self.account.fault(error, code=ack_code_name(header.ack_code), image_number=image_number)
            self.account.note_failed(image_number, header.ack_processed_images, fault)
            self._events.append(ImageFailed(image_number, error, fatal=step is Step.FATAL))
        self._move(step)

    def _on_end_ack(self, header: FrameHeader, text: str, now_s: float, *, good: bool) -> None:
        if good:
            self.account.note_end(header.ack_processed_images)
            self._idle(Step.END_ACK, now_s)
            self._events.append(EndAcknowledged(header.ack_processed_images))
        else:
            self.account.processed = header.ack_processed_images
            error = error_of_ack(header, text, f"{self.peer} could not finish run {self.run_number}")
            self._refused(Step.END_ACK, EndFailed(error), header, now_s)

    def _refused(self, step: Step, event: StartFailed | EndFailed, header: FrameHeader, now_s: float) -> None:
        self.account.note_fault(self.account.fault(event.error, code=ack_code_name(header.ack_code)))
        self._idle(step, now_s)
        self._events.append(event)

    # --- inside

    def _header(self, kind: FrameType) -> FrameHeader:
        return FrameHeader(kind, socket_number=self.socket_number, run_number=self.run_number or 0)

    def _put(self, header: HeaderFields, payload: Payload, now_s: float) -> None:
        waiting = self._waits_for_images
        self._outbox.put(header, payload)
        if not waiting:
            self._waiting_since_s = now_s

    def _say(self, header: FrameHeader, payload: Payload, now_s: float) -> None:
        self._put(header, payload, now_s)
        self._asked_s = now_s

    def _idle(self, step: Step, now_s: float) -> None:
        self._move(step)
        self._unanswered_keepalives = 0
        self._keepalive_due_s = now_s + self._timeouts.keepalive_s

    def _on_lost(self, error: LabwireError, now_s: float) -> None:
        if self.run_number is not None:
            self.account.note_fault(self.account.fault(error))
        self._events.append(ConnectionLost(error))
