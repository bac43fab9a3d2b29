"""A writer for one socket of a ZeroMQ image stream.

Source: image-stream, "ZeroMQ image stream" and "Writer notification socket". ZeroMQ takes what comes into a bounded
queue of its own; when the disk stalls it is the sender that waits, or drops. What was stored is told in one note at
the end.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from labwire.clock import monotonic_s
from labwire.errors import LabwireError, ProtocolError
from labwire.images.config import WriterOptions
from labwire.images.run_files import WrittenRun
from labwire.images.run_plan import RunPlan
from labwire.images.run_taker import LIMITS, OnEvent, RunTaker
from labwire.wire.image_layout import ImageDecoder
from labwire.wire.image_message import CalibrationMessage, EndMessage, ImageMessage, Message, StartMessage
from labwire.wire.image_user_data import read_user_data
from labwire.wire.tcp_frame import MAX_PAYLOAD_BYTES
from labwire.wire.writer_note import WriterNote, encode_note

RECEIVE_WATERMARK: Final = 100
GONE_S: Final = 10.0
"""So long after the sender's connection broke in a run, the run is taken for cut off."""
NOTE_S: Final = 5.0
"""How long the sender's notification socket is waited for."""
_SLICE_MS: Final = 200
_NOTE_ADDRESS: Final = re.compile(r"(tcp|ipc)://[^\s;,]{1,250}")


class ZeroMqWriter:
    """Stores what comes from one PUSH socket.

    Args:
        address: Where it is bound: ``tcp://HOST:PORT`` or ``ipc://PATH``.
        folder: Output folder.
        options: How to store.
        on_event: Told of ``connected``, ``connection_lost``, ``note_failed``, and what `RunTaker` tells; called on this
            writer's thread.
    """

    def __init__(self, address: str, folder: Path, options: WriterOptions, on_event: OnEvent) -> None:
        self.address = f"zmq+{address}"
        self.connected = False
        self.lag_s = 0.0
        self.waiting_images = 0
        self.waiting_bytes = 0
        self.stray = 0
        """Images that belong to no run that is on."""
        self._where = address
        self._watermark = min(RECEIVE_WATERMARK, options.queue_depth)
        self._on_event = on_event
        self._taker = RunTaker(folder, options, source=self.address, on_event=on_event)
        self._decoder = ImageDecoder(LIMITS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"write {self.address}")
        self._gone_s: float | None = None
        self._owed: RunPlan | None = None  # the run of which the sender has not got a note

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin to end: nothing more is received."""
        self._stopping.set()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False if that takes longer."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def taker(self) -> RunTaker:
        """What stores; its counters may be read at any time."""
        return self._taker

    # --- the thread

    def _run(self) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        try:
            with self._context.socket(zmq.PULL) as pull:
                pull.set_hwm(self._watermark)
                pull.setsockopt(zmq.MAXMSGSIZE, MAX_PAYLOAD_BYTES)
                pull.setsockopt(zmq.LINGER, 0)
                with pull.get_monitor_socket(zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED) as monitor:
                    try:
                        pull.connect(self._where)
                        self._receive(pull, monitor)
                    except zmq.ZMQError as error:
                        about = {"source": self.address, "reason": str(error), "retry_in_s": None}
                        self._on_event("not_connected", about)
                    finally:
                        pull.disable_monitor()
            self._note(self._taker.stop("stopped", "the writer was stopped"))
        finally:
            self._context.term()  # waits for the last note, as long as its socket lingers

    def _receive(self, pull: zmq.Socket[Any], monitor: zmq.Socket[Any]) -> None:
        poller = zmq.Poller()
        poller.register(pull, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        look_s = 0.0
        while not self._stopping.is_set():
            idle = not self._take_waiting(pull)
            now_s = monotonic_s()
            if idle or now_s >= look_s:
                look_s = now_s + _SLICE_MS / 1000
                while monitor.poll(0):
                    self._watch(recv_monitor_message(monitor)["event"])
            if idle and self._gone_s is not None and now_s > self._gone_s:
                self._gone_s = None
                self._note(self._taker.stop("lost", f"{self.address} is gone"))
            if idle:
                poller.poll(_SLICE_MS)

    def _take_waiting(self, pull: zmq.Socket[Any]) -> bool:
        try:
            frame = pull.recv(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        try:
            self._take(pull, frame)
        except Exception as error:  # a bug of ours must not end the thread
            self._on_event("bug", {"source": self.address, "error": f"{type(error).__name__}: {error}"})
        return True

    def _watch(self, event: int) -> None:
        if event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self.connected, self._gone_s = True, None
            self._on_event("connected", {"source": self.address})
        elif self.connected:
            self.connected, self._gone_s = False, monotonic_s() + GONE_S
            self._on_event("connection_lost", {"source": self.address, "reason": "the sender is gone", "retry_in_s": 0})

    def _take(self, pull: zmq.Socket[Any], frame: zmq.Frame) -> None:
        parts = 1
        while frame.more:
            frame, parts = pull.recv(copy=False), parts + 1
        try:
            if parts > 1:
                raise ProtocolError(f"a message of {parts} parts: image messages have one")
            message = self._decoder.decode(frame.buffer)
        except LabwireError as error:
            self._taker.note_failed(None, error)
            return
        self._do(message)

    def _do(self, message: Message) -> None:
        match message:
            case ImageMessage():
                self._do_image(message)
            case StartMessage():
                self._do_start(message)
            case CalibrationMessage():
                self._guard(lambda: self._taker.calibration(message))
            case EndMessage() if self._is_current(message.series_id):
                written, _ = self._taker.end(message)
                self._note(written)
            case _:
                self.stray += 1

    def _is_current(self, run_number: int | None) -> bool:
        store = self._taker.store
        return store is not None and run_number in {None, store.plan.run_number}

    def _do_start(self, message: StartMessage) -> None:
        self._decoder = ImageDecoder(LIMITS)
        self._note(self._taker.stop("lost", "the sender began another run"))
        try:
            self._owed = self._taker.start(message)
        except (OSError, LabwireError) as error:
            self._taker.note_refused(message.series_id, str(error))
            user = read_user_data(message)
            self._send(
                user.writer_notification_zmq_addr,
                WriterNote(
                    run_number=message.series_id,
                    run_name=message.series_unique_id,
                    socket_number=user.socket_number or 0,
                    processed_images=0,
                    ok=False,
                    error=str(error),
                ),
            )

    def _do_image(self, message: ImageMessage) -> None:
        if not self._is_current(message.series_id):
            self.stray += 1
            return
        try:
            self._taker.image(message)
        except LabwireError as error:
            self._taker.note_failed(message.image_id, error)
        except OSError as error:
            self._taker.note_failed(message.image_id, error)
            self._note(self._taker.stop("failed", str(error)))

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except LabwireError as error:
            self._on_event("calibration_failed", {"source": self.address, "error": str(error)})
        except OSError as error:
            self._note(self._taker.stop("failed", str(error)))

    # --- the note

    def _note(self, written: WrittenRun | None) -> None:
        """Tell the sender what was stored; once for each run."""
        plan, self._owed = self._owed, None
        if written is None or plan is None:
            return
        good = written.ended == "end" and not (written.error or written.failed)
        error = written.error or f"{written.failed} images could not be stored"
        note = WriterNote(
            run_number=written.run_number,
            run_name=written.run_name,
            socket_number=written.socket_number,
            processed_images=written.images,
            ok=good,
            **({} if good else {"error": error}),
        )
        self._send(plan.user_data.writer_notification_zmq_addr, note)

    def _send(self, address: str | None, note: WriterNote) -> None:
        if not address:
            return
        reason = "it is no address"
        if _NOTE_ADDRESS.fullmatch(address):
            with contextlib.closing(self._context.socket(zmq.PUSH)) as push:
                push.setsockopt(zmq.LINGER, round(NOTE_S * 1000))
                push.setsockopt(zmq.SNDTIMEO, round(NOTE_S * 1000))
                push.setsockopt(zmq.IMMEDIATE, 1)  # wait for the connection, not for a place in a queue
                try:
                    push.connect(address)
                    push.send(encode_note(note))
                except zmq.Again:
                    reason = f"nobody took it within {NOTE_S:g} s"
                except zmq.ZMQError as error:
                    reason = str(error)
                else:
                    return
        self._on_event("note_failed", {"source": self.address, "error": f"note to {address[:80]!r}: {reason}"})
