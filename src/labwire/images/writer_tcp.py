"""A writer of a TCP image stream: a thread that receives, and a thread that stores.

Source: image-stream, "TCP/IP image stream". The thread that receives never waits for the disk, so that the detector
hears that this side is alive while the disk stalls; images that wait are bounded in number and memory. A writer that
discards needs no second thread.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path
from typing import Final

import msgspec

from labwire.bounded import BoundedQueue
from labwire.clock import monotonic_s
from labwire.errors import LabwireError, PeerGoneError
from labwire.images.buffers import BufferPool
from labwire.images.config import WriterOptions
from labwire.images.run_taker import LIMITS, OnEvent, RunTaker
from labwire.images.stream_address import SCHEME, address_of
from labwire.images.writer_link import WriterLink
from labwire.wire.image_codec import decode_message
from labwire.wire.image_layout import ImageDecoder
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
from labwire.wire.tcp_frame import FrameType, ack_code_of

CONNECT_S: Final = 5.0
FIRST_RETRY_S: Final = 0.2
LAST_RETRY_S: Final = 5.0
_TOGETHER: Final = 16
"""Most images that are acknowledged by one write, where more of them wait."""
_MORE: Final = 64
"""Events that are not images, in the queue beside them."""


class _Task(msgspec.Struct, frozen=True):
    link: WriterLink
    event: WriterEvent
    came_s: float


class TcpWriter:
    """Connects for ever, and stores what comes.

    Args:
        host: Where the detector listens.
        port: Its port.
        folder: Output folder.
        options: How to store.
        on_event: Told of ``connected``, ``connection_lost`` and what `RunTaker` tells; called on this writer's threads.
    """

    def __init__(self, host: str, port: int, folder: Path, options: WriterOptions, on_event: OnEvent) -> None:
        self.address = address_of(host, port)
        self.connected = False
        self.lag_s = 0.0
        self._host, self._port = host, port
        self._on_event = on_event
        self._pool = BufferPool(options.buffer_mib << 20)
        self._depth = options.queue_depth
        self._queue: BoundedQueue[_Task] = BoundedQueue(options.queue_depth + _MORE, "block")
        self._decoder = ImageDecoder()
        self._taker = RunTaker(folder, options, source=self.address, on_event=on_event)
        # Who discards waits for no disk: the thread that receives does it at once, and its one buffer stays warm.
        self._hand_over = self._work if options.discard else self._queue.put
        self._stopping = threading.Event()
        self._link: WriterLink | None = None
        self._past_stray = 0
        self._receiver = threading.Thread(target=self._receive, name=f"receive {self.address}")
        self._storer = threading.Thread(target=self._store, name=f"store {self.address}")

    # --- for the owner

    def start(self) -> None:
        """Begin."""
        self._storer.start()
        self._receiver.start()

    def stop(self) -> None:
        """Begin to end: nothing more is received, what was received is stored."""
        self._stopping.set()
        link = self._link
        if link is not None:
            link.interrupt()
        self._pool.wake()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait till all is stored; False if that takes longer."""
        for thread in (self._receiver, self._storer):
            if thread.ident is not None:
                thread.join(timeout_s)
        return not (self._receiver.is_alive() or self._storer.is_alive())

    @property
    def taker(self) -> RunTaker:
        """What stores; its counters may be read at any time."""
        return self._taker

    @property
    def waiting_images(self) -> int:
        """Images that wait for the disk."""
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        """Memory that these take."""
        return self._pool.used_bytes

    @property
    def stray(self) -> int:
        """Frames that belonged to no run that was on."""
        link = self._link
        return self._past_stray + (0 if link is None else link.stray)

    # --- the thread that receives

    def _receive(self) -> None:
        retry_s = FIRST_RETRY_S
        try:
            while not self._stopping.is_set():
                error = self._connect_and_serve()
                if self._stopping.is_set():
                    break
                if self.connected:
                    retry_s = FIRST_RETRY_S
                self._tell_lost(error, retry_s)
                self._stopping.wait(retry_s)
                retry_s = min(LAST_RETRY_S, 2 * retry_s)
        finally:
            self._queue.close()

    def _connect_and_serve(self) -> Exception:
        try:
            family, _, _, _, where = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(CONNECT_S)
                link = self._link = WriterLink(sock, self.address.removeprefix(SCHEME), self._pool, self._depth)
                if self._stopping.is_set():
                    return PeerGoneError("stopped")
                sock.connect(where)
                if sock.getsockname() == sock.getpeername():
                    # Linux may connect a socket to itself if nobody listens there, and then nobody else can.
                    raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
                link.prepare()
                self.connected = True
                self._on_event("connected", {"source": self.address})
                return self._serve(link)
        except OSError as error:
            return error
        finally:
            self._past_stray, self._link = self.stray, None

    def _tell_lost(self, error: Exception, retry_s: float) -> None:
        was, self.connected = self.connected, False
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        kind = "connection_lost" if was else "not_connected"
        self._on_event(kind, {"source": self.address, "reason": reason, "retry_in_s": retry_s})

    def _serve(self, link: WriterLink) -> Exception:
        while True:
            events = link.close() if self._stopping.is_set() else link.receive()
            for event in events:
                if not isinstance(event, ImageReceived):
                    self._look_at(link, event)
                self._hand_over(_Task(link, event, monotonic_s()))
                if isinstance(event, ConnectionLost):
                    link.flush()
                    return event.error

    def _look_at(self, link: WriterLink, event: WriterEvent) -> None:
        # What waits in the queue for a run that was taken back need not be stored.
        match event:
            case RunCancelled(run):
                link.cancelled_run = run
            case StartReceived():
                link.cancelled_run = None
            case _:
                pass

    # --- the thread that stores

    def _store(self) -> None:
        for task in self._queue:
            self._work(task)
        self._taker.stop("stopped", "the writer was stopped")

    def _work(self, task: _Task) -> None:
        self.lag_s = monotonic_s() - task.came_s
        payload = getattr(task.event, "payload", None)
        try:
            self._do(task.link, task.event)
        except Exception as error:  # a bug of ours must not end the thread: the sender waits for answers
            self._on_event("bug", {"source": self.address, "error": f"{type(error).__name__}: {error}"})
        if payload is not None:
            self._pool.give_back(payload)

    def _do(self, link: WriterLink, event: WriterEvent) -> None:
        if isinstance(event, ImageReceived):  # nearly all are; a match would take longer
            self._do_image(link, event.run_number, event.image_number, event.payload)
            return
        match event:
            case StartReceived(run, socket_number, payload):
                self._do_start(link, run, socket_number, payload)
            case CalibrationReceived(run, payload):
                self._do_calibration(link, run, payload)
            case EndReceived(run, payload):
                self._do_end(link, run, payload)
            case FailedRunEnded(_, refused):
                # The image that could not be stored is one of them, and is counted already.
                self._taker.stop("failed", failed=refused - link.failed_by_image)
            case RunCancelled():
                self._taker.stop("cancelled")
            case RunLost(_, error):
                stopped = self._stopping.is_set()
                self._taker.stop("stopped" if stopped else "lost", "the writer was stopped" if stopped else str(error))
            case ConnectionLost():
                pass

    def _do_start(self, link: WriterLink, run: int, socket_number: int, payload: memoryview) -> None:
        link.failed_run, link.failed_by_image = None, False
        self._decoder = ImageDecoder()
        try:
            self._taker.start(decode_message(payload, LIMITS), socket_number)
        except Exception as error:
            code, text = ack_code_of(error, FrameType.START), _text(error)
            self._taker.note_refused(run, text)
            link.answer(lambda connection, now_s: connection.refuse_start(run, code, text, now_s))
            return
        if not link.answer(lambda connection, now_s: connection.accept_start(run, now_s)):
            pass  # taken back or cut off in the meantime: the event that says so is on its way

    def _do_calibration(self, link: WriterLink, run: int, payload: memoryview) -> None:
        if link.is_over(run):
            return
        try:
            self._taker.calibration(decode_message(payload, LIMITS))
        except LabwireError as error:
            self._on_event("calibration_failed", {"source": self.address, "error": str(error)})
        except Exception as error:
            self._fail_run(link, run, error)

    def _do_image(self, link: WriterLink, run: int, number: int, payload: memoryview) -> None:
        if link.is_over(run):
            return
        try:
            self._taker.image(self._decoder.decode(payload), number)
        except LabwireError as error:
            self._taker.note_failed(number, error)
            code, text = ack_code_of(error, FrameType.DATA), f"image {number}: {error}"
            link.answer(lambda connection, now_s: connection.fail_image(run, number, code, text, now_s))
        except Exception as error:
            self._taker.note_failed(number, error)
            link.failed_by_image = True
            self._fail_run(link, run, error)
        else:
            # Answers to images that follow each other at once go out together; the thread that reads sends what waits.
            later = len(self._queue) > 0 and number % _TOGETHER != 0
            link.answer(lambda connection, now_s: connection.acknowledge_image(run, number, now_s), later=later)

    def _fail_run(self, link: WriterLink, run: int, error: Exception) -> None:
        link.failed_run = run
        code, text = ack_code_of(error, FrameType.DATA), _text(error)
        events = link.fail_run(lambda connection, now_s: connection.fail_run(run, code, text, now_s))
        for event in events:
            self._do(link, event)

    def _do_end(self, link: WriterLink, run: int, payload: memoryview) -> None:
        if link.is_over(run):
            return
        message, problem = None, ""
        try:
            message = decode_message(payload, LIMITS)
        except LabwireError as error:
            problem = f"END: {error}"
        _, fault = self._taker.end(message, problem)
        if fault is None:
            link.answer(lambda connection, now_s: connection.accept_end(run, now_s))
        else:
            code, text = ack_code_of(fault, FrameType.END), _text(fault)
            link.answer(lambda connection, now_s: connection.refuse_end(run, code, text, now_s))


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, OSError | LabwireError) else f"{type(error).__name__}: {error}"
