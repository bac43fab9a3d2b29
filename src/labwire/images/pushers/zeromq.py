"""The ZeroMQ image stream: one PUSH socket for each writer, and notes of what they stored.

Source: image-stream, "ZeroMQ image stream" and "Writer notification socket".
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from enum import Enum
from typing import Any, Final

import msgspec
import zmq

from labwire.clock import monotonic_s
from labwire.errors import CancelledError, DeadlineError, LabwireError, PeerError, StateError
from labwire.images.pusher import OnEvent, OutgoingImage, StreamRun
from labwire.images.pushers.lane_watch import LaneWatch
from labwire.images.pushers.push_lane import PushLane
from labwire.images.pushers.tcp_socket import warn_if_clamped
from labwire.images.stream_config import ZeroMqStreamConfig
from labwire.wire.cbor_values import Buffer
from labwire.wire.image_message import CalibrationMessage, EndMessage
from labwire.wire.run_result import RunResult, SocketResult, no_writer_error
from labwire.wire.writer_note import NOTES_TIMEOUT_S, NoteBook

CONTROL_S: Final = 1.0
"""START, CALIBRATION and END find room within it: image-stream, "ZeroMQ image stream"."""
_CANCELLED_NOTES_S: Final = 0.5  # as long as CANCEL waits over TCP
_LINGER_S: Final = 10.0
_CANCELLED_LINGER_S: Final = 0.5
_MAX_IO_THREADS: Final = 4


class _Phase(Enum):
    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"


class ZeroMqPusher:
    """Sends images to the readers of some PUSH sockets.

    >>> pusher = ZeroMqPusher(ZeroMqStreamConfig(image_socket=("tcp://127.0.0.1:9000",)))  # doctest: +SKIP
    >>> pusher.start(run); pusher.send_image(image); pusher.end(end).sent  # doctest: +SKIP
    1

    Args:
        config: Addresses and sizes.
        control_s: Time for START, CALIBRATION and END.
        notes_s: Time for the notes, after END.
        on_event: Told ``writer_connected``, ``second_reader`` (ZeroMQ would split the messages of a run between two
            readers of a socket), ``writer_lost``, ``images_dropped`` and ``note_refused``.

    Raises:
        PortTakenError: Somebody else listens there.
        ConfigError: An address is none of this computer's, or the one for notes means all interfaces.
    """

    def __init__(
        self,
        config: ZeroMqStreamConfig,
        *,
        control_s: float = CONTROL_S,
        notes_s: float = NOTES_TIMEOUT_S,
        on_event: OnEvent | None = None,
    ) -> None:
        self.confirms = config.writer_notification_socket is not None
        self._control_s, self._notes_s = control_s, notes_s
        self._on_event = on_event
        self._changed = threading.Condition()
        self._phase = _Phase.IDLE
        self._cancelled = self._closed = False
        self._run: StreamRun | None = None
        self._result: RunResult | None = None
        if config.send_buffer_size is not None:
            warn_if_clamped(config.send_buffer_size)
        self._context: zmq.Context[Any] = zmq.Context(min(len(config.image_socket), _MAX_IO_THREADS))
        self._lanes: list[PushLane] = []
        try:
            for number, address in enumerate(config.image_socket):  # a lane that is held cannot be garbage yet
                self._lanes.append(PushLane(self._context, number, address, config, self._dropping))
            self._watch = LaneWatch(self._context, self._lanes, config.writer_notification_socket, on_event)
        except LabwireError:
            self._context.destroy(linger=0)
            raise
        self._watch.start()
        for lane in self._lanes:
            lane.start()

    # --- what a pusher can do

    @property
    def addresses(self) -> tuple[str, ...]:
        """One for each socket."""
        return tuple(f"zmq+{lane.address}" for lane in self._lanes)

    @property
    def notification_address(self) -> str | None:
        """Where notes are awaited, with the real port."""
        return self._watch.notification_address

    @property
    def waiting_writers(self) -> int:
        """Sockets that have a reader."""
        return sum(map(bool, self._watch.readers))

    def wait_for_writers(self, count: int | None = None, timeout_s: float | None = None) -> int:
        """Wait until so many sockets have a reader; None: all."""
        wanted = len(self._lanes) if count is None else count
        self._watch.wait_for(lambda: self.waiting_writers >= wanted, timeout_s)
        if (there := self.waiting_writers) < wanted:
            without = [f"zmq+{lane.address}" for lane, n in zip(self._lanes, self._watch.readers, strict=True) if not n]
            raise DeadlineError(
                f"{there} of {wanted} image sockets have a writer within {timeout_s} s; "
                f"to start the others: labwire write {' '.join(without)} -o FOLDER"
            )
        return there

    def start(self, run: StreamRun) -> None:
        """Send START over each socket; a second for each.

        Raises:
            PeerGoneError: A socket has no reader.
            PeerError: A reader takes nothing: what it was sent before still waits.
        """
        starts = [run.encode_start(lane.number, self.notification_address) for lane in self._lanes]
        with self._changed:
            if self._closed:
                raise StateError("the image stream is closed")
            if self._phase is not _Phase.IDLE:
                raise StateError(f"run {self._run.run_number if self._run else ''} is on: end or cancel it first")
            self._phase, self._cancelled, self._run, self._result = _Phase.STARTING, False, run, None
        self._book = NoteBook(
            run.run_number, run.run_name, [lane.address for lane in self._lanes], timeout_s=self._notes_s
        )
        self._watch.use(self._book)
        started: list[PushLane] = []
        try:
            for lane in self._lanes:
                lane.begin()
            for lane, pieces in zip(self._lanes, starts, strict=True):
                self._need_not_cancelled(run)
                if not lane.send(pieces, self._control_s, begins=run).result():
                    raise self._refusal(run, lane)
                started.append(lane)
            self._need_not_cancelled(run)
        except BaseException:
            # Who has begun must not wait for images that never come.
            self._send_end(run, EndMessage(series_id=run.run_number, series_unique_id=run.run_name), started)
            self._watch.use(None)
            self._be(_Phase.IDLE)
            raise
        self._be(_Phase.RUNNING)

    def send_calibration(self, message: CalibrationMessage) -> None:
        """Send a calibration message over the first socket; a time-out is kept for the result.

        Raises:
            StateError: No run is on.
        """
        run = self._need_running()
        if not self._lanes[0].send(run.encode(message), self._control_s).result():
            self._book.note_transmission_error(0, self._late("CALIBRATION", self._lanes[0]))

    def send_image(self, image: OutgoingImage) -> bool:
        """Hand an image to the thread of the socket that its file belongs to; wait while that is behind.

        Whether it was dropped shows in the result.

        Raises:
            StateError: No run is on, or it was cancelled.
        """
        run = self._need_running()
        self._lanes[image.message.image_id // run.images_per_file % len(self._lanes)].put_image(image.pieces, run)
        if self._cancelled or self._run is not run:
            raise StateError(f"run {run.run_number} was cancelled")
        return True

    def end(self, message: EndMessage) -> RunResult:
        """Send END, wait for the notes if there is a socket for them, and return what became of the images.

        Raises:
            StateError: No run is on.
        """
        run = self._need_running()
        with self._changed:
            if self._phase is not _Phase.RUNNING:
                raise StateError(f"run {run.run_number} was cancelled")
            self._phase = _Phase.ENDING
        return self._finish(run, message)

    def cancel(self) -> RunResult | None:
        """Take the run back: images that wait here are dropped, END follows what has left already."""
        with self._changed:
            run = self._run
            if run is None or self._phase is _Phase.IDLE:
                return self._result
            self._cancelled = True
            first = self._phase is _Phase.RUNNING
            if first:
                self._phase = _Phase.ENDING
        for lane in self._lanes:
            lane.discard(run)
        self._watch.notify()
        if first:
            end = EndMessage(series_id=run.run_number, series_unique_id=run.run_name)
            return self._finish(run, end)
        with self._changed:
            self._changed.wait_for(lambda: self._phase is _Phase.IDLE)
            return self._result

    def result(self) -> RunResult | None:
        """Return how the run stands, or the last one."""
        run, result = self._run, self._result
        if run is None or result is not None:
            return result
        sockets = tuple(_counts_of(lane) for lane in self._lanes)
        return RunResult(run_number=run.run_number, run_name=run.run_name, sockets=sockets, cancelled=self._cancelled)

    def close(self) -> None:
        """Cancel a run that is on, and close all sockets; what waits for a reader that takes it is given 10 s."""
        self.cancel()
        with self._changed:
            if self._closed:
                return
            self._closed = True
        for lane in self._lanes:
            lane.close(_CANCELLED_LINGER_S if self._cancelled else _LINGER_S)
        self._watch.close()
        self._context.term()

    # --- inside

    def _be(self, phase: _Phase) -> None:
        with self._changed:
            self._phase = phase
            self._changed.notify_all()

    def _need_running(self) -> StreamRun:
        run = self._run
        if run is None or self._phase is _Phase.IDLE:
            raise StateError("no run is on: start one first")
        self._need_not_cancelled(run, StateError)
        return run

    def _need_not_cancelled(self, run: StreamRun, kind: type[LabwireError] = CancelledError) -> None:
        if self._cancelled:
            raise kind(f"run {run.run_number} was cancelled")

    def _refusal(self, run: StreamRun, lane: PushLane) -> LabwireError:
        if not self._watch.readers[lane.number]:
            return no_writer_error(run.run_number, [f"zmq+{lane.address}"])
        why = "its queue is full: what was sent before still waits for it"
        return PeerError(
            f"run {run.run_number} does not start: the writer at {lane.address} took no START within "
            f"{self._control_s:g} s, {why}"
        )

    def _late(self, what: str, lane: PushLane) -> DeadlineError:
        return DeadlineError(f"{what} found no room in the socket {lane.address} within {self._control_s:g} s")

    def _send_end(self, run: StreamRun, message: EndMessage, lanes: Sequence[PushLane]) -> list[PushLane]:
        """Send END over some sockets; return those where it found no room."""
        pieces: Sequence[Buffer] = run.encode(message)
        sending: list[tuple[PushLane, Future[bool]]] = [(lane, lane.send(pieces, self._control_s)) for lane in lanes]
        return [lane for lane, done in sending if not done.result()]

    def _finish(self, run: StreamRun, message: EndMessage) -> RunResult:
        book = self._book
        try:
            for lane in self._send_end(run, message, self._lanes):
                book.note_transmission_error(lane.number, self._late("END", lane))
            result = self._take_notes(book)
            if not self.confirms:
                result = msgspec.structs.replace(result, sockets=tuple(_counts_of(lane) for lane in self._lanes))
            self._result = result = msgspec.structs.replace(result, cancelled=self._cancelled)
            return result
        finally:  # Ctrl-C comes here as well, and then `close` must not wait for a thread that has gone
            self._watch.use(None)
            self._be(_Phase.IDLE)

    def _take_notes(self, book: NoteBook) -> RunResult:
        began_s = monotonic_s()
        book.end([lane.sent for lane in self._lanes], began_s, offered=[lane.offered for lane in self._lanes])
        if self.confirms and not self._cancelled:
            self._watch.wait_for(lambda: book.complete or self._cancelled, self._notes_s)
        if self.confirms and self._cancelled:
            self._watch.wait_for(lambda: book.complete, min(_CANCELLED_NOTES_S, self._notes_s))
        elif self.confirms:
            book.tick(monotonic_s())
        return book.result()

    def _dropping(self, number: int) -> None:
        """On the lane's thread."""
        if self._on_event is not None:
            lane = self._lanes[number]
            reason = "it takes images too slowly; from now on nothing waits for it in this run"
            self._on_event("images_dropped", {"socket_number": number, "address": lane.address, "reason": reason})


def _counts_of(lane: PushLane) -> SocketResult:
    offered = lane.offered
    return SocketResult(
        socket_number=lane.number,
        writer=lane.address,
        offered=offered,
        sent=lane.sent,
        acknowledged=0,
        failed=0,
        missing=offered,
    )
