"""The writer's side of its connection to a detector.

Source: image-stream, "TCP/IP image stream", "ACK handling", "Keepalive".
"""

from __future__ import annotations

from typing import ClassVar

from labwire.errors import (
    LabwireError,
    PeerGoneError,
    ProtocolError,
    RefusedError,
    StateError,
)
from labwire.wire.tcp_answers import AnswerBook, check_bad
from labwire.wire.tcp_connection import TcpConnection
from labwire.wire.tcp_events import (
    CalibrationReceived,
    ConnectionLost,
    EndReceived,
    FailedRunEnded,
    ImageReceived,
    RunCancelled,
    RunLost,
    StartReceived,
    WriterEvent,
)
from labwire.wire.tcp_frame import (
    ACK,
    DATA,
    FLAG_OK,
    MAX_PAYLOAD_BYTES,
    MAX_UINT32,
    AckCode,
    AckFlags,
    FrameHeader,
    FrameType,
    decode_text,
    error_of_ack,
    frame_name,
)
from labwire.wire.tcp_states import CLOSED, DATA_ACK_STEP, DATA_STEP, FAILED, RUNNING, Role, State, Step
from labwire.wire.tcp_stream import Allocate, Frame
from labwire.wire.tcp_timeouts import WRITER_TIMEOUTS, WriterTimeouts

MAX_UNANSWERED = 1024
"""Images that were handed over and not answered; above it nothing more should be read."""
MAX_UNSENT_BYTES = 1 << 20
"""ACKs that the sender does not read; above it nothing more should be read from it."""


class WriterConnection(TcpConnection[WriterEvent]):
    """A detector, seen from one writer.

    >>> detector = WriterConnection("10.0.0.1:9100", now_s=0.0)
    >>> detector.receive_data(frames_from_the_socket, now_s=0.1)  # doctest: +SKIP
    [StartReceived(run_number=7, socket_number=0, payload=<memory at 0x7f4c4aa3b940>)]
    >>> detector.accept_start(7, now_s=0.2)  # doctest: +SKIP
    True

    Each answer returns False, and nothing is sent, if its run is over: cancelled, lost, or given up by `fail_run`.

    Args:
        peer: The detector's address, for messages.
        now_s: The time.
        timeouts: See `WriterTimeouts`.
        max_unanswered: See `MAX_UNANSWERED`.
        max_payload_bytes: A frame that announces more ends the connection before memory is taken.
        allocate: Gives the buffers of payloads; asked only for those that are wanted, see `FrameReader`.
    """

    ROLE: ClassVar[Role] = Role.WRITER

    def __init__(
        self,
        peer: str,
        *,
        now_s: float,
        timeouts: WriterTimeouts = WRITER_TIMEOUTS,
        max_unanswered: int = MAX_UNANSWERED,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        allocate: Allocate = bytearray,
    ) -> None:
        super().__init__(peer, now_s=now_s, max_payload_bytes=max_payload_bytes, allocate=allocate)
        self._timeouts = timeouts
        self._max_unanswered = max_unanswered
        self._book = AnswerBook()
        self._spoke_s = now_s
        self._busy_since_s = now_s

    # --- what the writer says

    @property
    def paused(self) -> bool:
        """Whether to stop reading the socket for now: too much waits to be answered, or to be sent."""
        return self._book.waiting_count >= self._max_unanswered or self.unsent_bytes >= MAX_UNSENT_BYTES

    @property
    def unanswered_images(self) -> int:
        """Images of the current run that wait for an answer."""
        return self._book.waiting_count

    @property
    def processed_images(self) -> int:
        """Images of the current run, or of the last one, that were acknowledged as good."""
        return self._book.processed_images

    def accept_start(self, run_number: int, now_s: float) -> bool:
        """Acknowledge START.

        Raises:
            StateError: START of this run has been answered already.
        """
        if self._is_over(run_number):
            return False
        self.check(Step.START_OK)
        self._answer(FrameType.START, now_s)
        self._move(Step.START_OK)
        return True

    def refuse_start(self, run_number: int, code: AckCode, text: str, now_s: float) -> bool:
        """Say that this writer cannot take the run, and why.

        Raises:
            StateError: START of this run has been answered already.
            UsageError: The code says that all is well.
        """
        check_bad(code)
        if self._is_over(run_number):
            return False
        self.check(Step.START_REFUSED)
        self._answer(FrameType.START, now_s, code=code, text=text)
        self._move(Step.START_REFUSED)
        return True

    def acknowledge_image(self, run_number: int, image_number: int, now_s: float) -> bool:
        """Say that an image is stored.

        Raises:
            UsageError: No such image waits for an answer.
        """
        if self._is_over(run_number):
            return False
        book = self._book
        book.note_answered(image_number)
        book.processed_images += 1
        processed = book.processed_images & MAX_UINT32
        self._outbox.put((ACK, image_number, 0, self.socket_number, FLAG_OK, run_number, processed, 0, DATA))
        self._spoke_s = now_s
        self._move(DATA_ACK_STEP)
        return True

    def fail_image(self, run_number: int, image_number: int, code: AckCode, text: str, now_s: float) -> bool:
        """Say that this one image could not be stored; the following may be.

        Raises:
            UsageError: No such image waits for an answer, or the code says that all is well.
        """
        check_bad(code)
        if self._is_over(run_number):
            return False
        self._book.note_answered(image_number)
        self._answer(DATA, now_s, image_number, code, text)
        self._move(DATA_ACK_STEP)
        return True

    def fail_run(self, run_number: int, code: AckCode, text: str, now_s: float) -> list[WriterEvent]:
        """Give the run up, for example because the disk is full; the connection stays.

        All images that wait, all that will come and END are answered with this code and text, FATAL, without memory
        being taken for them. `FailedRunEnded` follows, at once if END has come already.

        Raises:
            StateError: The run has not been accepted: use `refuse_start`.
            UsageError: The code says that all is well.
        """
        check_bad(code)
        if not self._is_over(run_number):
            self.check(Step.FATAL)
            for image_number in self._book.give_up(code, text):
                self._answer(DATA, now_s, image_number, code, text, fatal=True)
            self._move(Step.FATAL)
            if self.state is State.ENDING:
                self._end_failed_run(now_s)
        return self._take_events()

    def accept_end(self, run_number: int, now_s: float) -> bool:
        """Say that the run is stored.

        Raises:
            StateError: END has not come, or images wait for an answer.
        """
        return self._finish(run_number, now_s, AckCode.NONE, "")

    def refuse_end(self, run_number: int, code: AckCode, text: str, now_s: float) -> bool:
        """Say that the run could not be finished, and why.

        Raises:
            StateError: END has not come, or images wait for an answer.
            UsageError: The code says that all is well.
        """
        check_bad(code)
        return self._finish(run_number, now_s, code, text)

    def close(self, now_s: float) -> list[WriterEvent]:
        """Give the connection up; send what is left, then close the socket."""
        if self.state is not CLOSED:
            self._lose(PeerGoneError(f"the connection to {self.peer} was closed by this side{self._in_run()}"), now_s)
        return self._take_events()

    def _finish(self, run_number: int, now_s: float, code: AckCode, text: str) -> bool:
        if self._is_over(run_number):
            return False
        self.check(Step.END_ACK)
        if self._book.waiting_count:
            raise StateError(f"{self._book.waiting_count} images of run {run_number} wait for an answer before its END")
        self._answer(FrameType.END, now_s, code=code, text=text)
        self._move(Step.END_ACK)
        return True

    def _is_over(self, run_number: int) -> bool:
        if run_number == self.run_number and self.state is not FAILED:
            return False
        self.counters.late_answers += 1
        return True

    def _answer(
        self,
        kind: FrameType,
        now_s: float,
        image_number: int = 0,
        code: int = 0,
        text: str = "",
        *,
        fatal: bool = False,
    ) -> None:
        self._ack(kind, self._processed, code, text, image_number=image_number, fatal=fatal)
        self._spoke_s = now_s

    @property
    def _processed(self) -> int:
        return self._book.processed_images & MAX_UINT32

    # --- time

    @property
    def _is_busy(self) -> bool:
        # Something of the run waits for this writer, so that its silence could be taken for its death.
        if self.run_number is None:
            return False
        return self._book.waiting_count > 0 or self._reader.in_frame or self.state in _OWES_ANSWER

    def _heard(self, now_s: float) -> None:
        self._heard_s = now_s
        if not self._book.waiting_count and not self._is_busy:
            self._busy_since_s = now_s  # if these bytes make it busy

    def next_deadline(self) -> float | None:
        """Return when `tick` is due."""
        if self.state is State.IDLE:
            silence_s = self._timeouts.silence_s
            return None if silence_s is None else max(self._heard_s, self._spoke_s) + silence_s
        if self._timeouts.busy_keepalive_s is None or self.unsent_bytes or not self._is_busy:
            return None
        return max(self._spoke_s, self._busy_since_s) + self._timeouts.busy_keepalive_s

    def tick(self, now_s: float) -> list[WriterEvent]:
        """Do what is due: say that this writer lives, or find that the detector does not."""
        due_s = self.next_deadline()
        if due_s is not None and now_s >= due_s:
            if self.state is State.IDLE:
                silent_s = self._timeouts.silence_s
                self._lose(
                    PeerGoneError(f"{self.peer} has sent nothing for {silent_s:g} s, not even a KEEPALIVE"), now_s
                )
            else:
                self._keep_alive(now_s)
        return self._take_events()

    def _keep_alive(self, now_s: float) -> None:
        self._outbox.put(FrameHeader(FrameType.KEEPALIVE))
        self._spoke_s = now_s

    # --- what the detector says

    def _wants(self, header: FrameHeader) -> bool:
        if self._is_next_image(header):
            return True
        step = _STEPS.get(header.type)
        if step is None:
            return header.type in _ALWAYS_WANTED
        if self._is_stray(header):
            return False
        if not self._may(step):
            raise ProtocolError(f"{frame_name(header.type)} must not come in state {self.state.name}")
        return self.state is not FAILED

    def _is_next_image(self, header: FrameHeader) -> bool:
        # Nearly all that comes, so that it is told apart first.
        return header.type == DATA and self.state is RUNNING and header.run_number == self.run_number

    def _is_stray(self, header: FrameHeader) -> bool:
        # Where the run number adds nothing, because frames come in order, a foreign sender may have left it out.
        if header.run_number == self.run_number:
            return False
        return self.run_number is None or header.run_number != 0 or header.type not in _RUN_IS_CLEAR

    def _on_frame(self, frame: Frame, now_s: float) -> None:
        if self._is_next_image(frame.header):
            self._on_image(frame.header, frame.payload or _NOTHING, now_s)
        else:
            self._on_any_frame(frame, now_s)

    def _on_any_frame(self, frame: Frame, now_s: float) -> None:
        header, payload = frame.header, frame.payload or _NOTHING
        step = _STEPS.get(header.type)
        if step is not None and (self._is_stray(header) or not self._may(step)):
            self.counters.stray += 1  # or its run ended while the payload was on its way
            return
        if header.type == DATA:
            self._on_image(header, payload, now_s)
            return
        match header.type:
            case FrameType.CALIBRATION:
                self._move(Step.CALIBRATION)
                if self.state is not State.FAILED:
                    self._events.append(CalibrationReceived(self.run_number or 0, payload))
            case FrameType.END:
                self._on_end(header.run_number, payload, now_s)
            case FrameType.START:
                self._on_start(header, payload)
            case FrameType.CANCEL:
                self._on_cancel(header, now_s)
            case FrameType.ACK:
                self._on_ack(header, payload, now_s)
            case _:
                self.counters.keepalives += 1
                if not self.unsent_bytes:  # what waits to go out is as good an answer, and cannot pile up
                    self._keep_alive(now_s)

    def _on_start(self, header: FrameHeader, payload: memoryview) -> None:
        if self.run_number is not None:
            error = PeerGoneError(f"{self.peer} began run {header.run_number} without ending run {self.run_number}")
            self._events.append(RunLost(self.run_number, error))
        self._move(Step.START)
        self._book = AnswerBook()
        self.run_number = header.run_number
        self.socket_number = header.socket_number
        self._events.append(StartReceived(header.run_number, header.socket_number, payload))

    def _on_image(self, header: FrameHeader, payload: memoryview, now_s: float) -> None:
        self._move(DATA_STEP)
        book = self._book
        if book.failure is not None:
            code, text = book.failure
            book.refused_images += 1
            self._answer(DATA, now_s, header.image_number, code, text, fatal=True)
        else:
            book.note_received(header.image_number)
            self._events.append(ImageReceived(header.run_number, header.image_number, payload))

    def _on_end(self, run_number: int, payload: memoryview, now_s: float) -> None:
        self._move(Step.END)
        if self._book.failure is not None:
            self._end_failed_run(now_s)
        else:
            self._events.append(EndReceived(run_number, payload))

    def _end_failed_run(self, now_s: float) -> None:
        assert self._book.failure is not None
        code, text = self._book.failure
        self._answer(FrameType.END, now_s, code=code, text=text)
        self._events.append(FailedRunEnded(self.run_number or 0, self._book.refused_images))
        self._move(Step.END_ACK)

    def _on_cancel(self, header: FrameHeader, now_s: float) -> None:
        ours = not self._is_stray(header)
        if ours:
            self._events.append(RunCancelled(self.run_number or 0))
            self._book.forget()
        else:
            self.counters.stray += 1
        if ours or self.run_number is None:
            self._move(Step.CANCEL)
        # Answered at once, not when the files are closed: the detector waits half a second.
        self._ack(
            header.type,
            self._processed if ours else 0,
            image_number=header.image_number,
            run_number=header.run_number,
            socket_number=header.socket_number,
        )
        self._spoke_s = now_s
        if self.state is State.CANCELLING:
            self._move(Step.CANCEL_ACK)

    def _on_ack(self, header: FrameHeader, payload: memoryview, now_s: float) -> None:
        if header.ack_for or header.flags & AckFlags.OK:
            raise ProtocolError("a detector acknowledges nothing, and this one sent an ACK")
        error = error_of_ack(header, decode_text(header, payload), f"{self.peer} ends the connection{self._in_run()}")
        refused = self.counters.frames == 1  # the first thing that it says
        self._lose(RefusedError(error.message, **error.data) if refused else error, now_s)

    def _on_lost(self, error: LabwireError, now_s: float) -> None:
        if self.run_number is not None:
            self._events.append(RunLost(self.run_number, error))
            self._book.forget()
        self._events.append(ConnectionLost(error))


_OWES_ANSWER = frozenset({State.STARTING, State.ENDING})
_STEPS: dict[int, Step] = {
    FrameType.DATA: Step.DATA,
    FrameType.CALIBRATION: Step.CALIBRATION,
    FrameType.END: Step.END,
}
_RUN_IS_CLEAR = frozenset({FrameType.CALIBRATION, FrameType.CANCEL})
_ALWAYS_WANTED = frozenset({FrameType.START, FrameType.ACK})
_NOTHING = memoryview(b"")
