"""One connection of a writer to a TCP image stream: a thread that receives, and a thread that stores.

Source: image-stream, "TCP/IP image stream". The thread that receives never waits for the disk, so that the detector
hears that this side is alive while the disk stalls; images that wait are bounded in number and memory. A writer that
discards needs no second thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from labwire.bounded import BoundedQueue
from labwire.clock import monotonic_s
from labwire.errors import LabwireError, PeerGoneError, StateError
from labwire.images.buffers import BufferPool
from labwire.images.config import WriterOptions
from labwire.images.run_taker import LIMITS, OnEvent, RunTaker
from labwire.images.stream_address import SCHEME, address_of
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
from labwire.wire.tcp_states import CLOSED
from labwire.wire.tcp_writer import WriterConnection

CONNECT_S: Final = 5.0
FIRST_RETRY_S: Final = 0.2
LAST_RETRY_S: Final = 5.0
_SLICE_S: Final = 0.25
"""Longest wait before a deadline is looked at again."""
_TOGETHER: Final = 16
"""Most images that are acknowledged by one write, where more of them wait."""
_MORE: Final = 64
"""Events that are not images, in the queue beside them."""
# image-stream, "Keepalive": the system's own, beside the stream's
_KEEPALIVE_OPTIONS: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class _Task(msgspec.Struct, frozen=True):
    link: _Link
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
        self._link: _Link | None = None
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
                link = self._link = _Link(sock, self.address.removeprefix(SCHEME), self._pool, self._depth)
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

    def _serve(self, link: _Link) -> Exception:
        while True:
            events = link.close() if self._stopping.is_set() else link.receive()
            for event in events:
                if not isinstance(event, ImageReceived):
                    self._look_at(link, event)
                self._hand_over(_Task(link, event, monotonic_s()))
                if isinstance(event, ConnectionLost):
                    link.flush()
                    return event.error

    def _look_at(self, link: _Link, event: WriterEvent) -> None:
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

    def _do(self, link: _Link, event: WriterEvent) -> None:
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

    def _do_start(self, link: _Link, run: int, socket_number: int, payload: memoryview) -> None:
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

    def _do_calibration(self, link: _Link, run: int, payload: memoryview) -> None:
        if link.is_over(run):
            return
        try:
            self._taker.calibration(decode_message(payload, LIMITS))
        except LabwireError as error:
            self._on_event("calibration_failed", {"source": self.address, "error": str(error)})
        except Exception as error:
            self._fail_run(link, run, error)

    def _do_image(self, link: _Link, run: int, number: int, payload: memoryview) -> None:
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

    def _fail_run(self, link: _Link, run: int, error: Exception) -> None:
        link.failed_run = run
        code, text = ack_code_of(error, FrameType.DATA), _text(error)
        events = link.fail_run(lambda connection, now_s: connection.fail_run(run, code, text, now_s))
        for event in events:
            self._do(link, event)

    def _do_end(self, link: _Link, run: int, payload: memoryview) -> None:
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


class _Link:
    """One connection: the socket and the machine, shared by both threads."""

    def __init__(self, sock: socket.socket, peer: str, pool: BufferPool, max_unanswered: int) -> None:
        self.cancelled_run: int | None = None
        self.failed_run: int | None = None
        self.failed_by_image = False
        """It was given up because of an image."""
        self._sock = sock
        self._pool = pool
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._broken = False
        self._room: memoryview | None = None
        self._connection = WriterConnection(
            peer, now_s=monotonic_s(), max_unanswered=max_unanswered, allocate=pool.take
        )

    @property
    def stray(self) -> int:
        """Frames that belonged to no run that was on."""
        return self._connection.counters.stray

    def prepare(self) -> None:
        """Set the options of a socket that is connected."""
        sock = self._sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE_OPTIONS:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        # A read that waits for all of its bytes ends with what there is after a while, so that deadlines are kept.
        sock.settimeout(None)
        whole = int(_SLICE_S)
        wait = struct.pack("@ll", whole, round((_SLICE_S - whole) * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)

    def interrupt(self) -> None:
        """Wake the thread that reads, or that waits for the connection."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def receive(self) -> list[WriterEvent]:
        """Read a frame, or let time pass."""
        connection, room = self._connection, self._room
        if room is None:
            with self._lock:
                room = self._next_room()
        events: list[WriterEvent] = []
        while not events:
            if room is None:
                self.flush()
                self._pool.wait(_SLICE_S)
                return self._tick()
            try:
                count = self._sock.recv_into(room, 0, socket.MSG_WAITALL)
            except (BlockingIOError, InterruptedError):
                self.flush()
                return self._tick()
            except OSError as error:
                return self._lost(f"ended the connection ({error.strerror or error})")
            if not count:
                return self._lost("closed the connection")
            with self._lock:
                events = connection.received(count, monotonic_s())
                room = self._room = self._next_room()
                unsent = connection.unsent_bytes
            if unsent:
                self.flush()
        return events

    def _next_room(self) -> memoryview | None:
        # Where the next bytes belong; None: too much waits for an answer, or there is no buffer.
        return None if self._connection.paused else self._connection.next_buffer()

    def _lost(self, reason: str) -> list[WriterEvent]:
        with self._lock:
            return self._connection.receive_eof(monotonic_s(), reason)

    def _tick(self) -> list[WriterEvent]:
        now_s = monotonic_s()
        with self._lock:
            events = self._connection.tick(now_s)
            unsent = self._connection.unsent_bytes
        if unsent:
            self.flush()
        return events

    def close(self) -> list[WriterEvent]:
        """Give the connection up."""
        with self._lock:
            return self._connection.close(monotonic_s())

    def is_over(self, run: int) -> bool:
        """Whether what belongs to a run is no longer wanted: it was taken back, or given up."""
        return run == self.cancelled_run or run == self.failed_run  # noqa: PLR1714  no set for each image

    def answer(self, say: Callable[[WriterConnection, float], bool], *, later: bool = False) -> bool:
        """Say something to the detector, or have it said with what follows; False if the run is over."""
        if later:
            with self._lock:
                return self._say(say)
        with self._sending:
            with self._lock:
                done = self._say(say)
                parts = self._connection.data_to_send() if done else []
            self._send(parts)
        return done

    def _say(self, say: Callable[[WriterConnection, float], bool]) -> bool:
        return self._connection.state is not CLOSED and say(self._connection, monotonic_s())

    def fail_run(self, say: Callable[[WriterConnection, float], list[WriterEvent]]) -> list[WriterEvent]:
        """Give the run up."""
        with self._lock:
            try:
                events = say(self._connection, monotonic_s())
            except StateError:
                events = []
        self.flush()
        return events

    def flush(self) -> None:
        """Send what there is, as far as the socket takes it at once."""
        with self._sending:
            with self._lock:
                parts = self._connection.data_to_send()
            self._send(parts)

    def _send(self, parts: list[memoryview]) -> None:
        connection = self._connection
        while parts and not self._broken:
            try:
                count = self._sock.sendmsg(parts, [], socket.MSG_DONTWAIT)
            except OSError as error:
                # A connection that is broken is found by the thread that reads.
                self._broken = error.errno not in {errno.EAGAIN, errno.EINTR}
                count = 0
            with self._lock:
                connection.bytes_sent(count, monotonic_s())
                parts = connection.data_to_send() if count and connection.unsent_bytes else []
