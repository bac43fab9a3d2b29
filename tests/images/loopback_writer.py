"""A writer over a real socket that stores nothing and behaves as badly as a test wants."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Literal, Self

from labwire.images.stream_address import parse_tcp_address
from labwire.images.waker import Waker
from labwire.wire.image_codec import decode_message
from labwire.wire.image_message import ImageMessage, Message, StartMessage
from labwire.wire.tcp_events import (
    CalibrationReceived,
    ConnectionLost,
    EndReceived,
    ImageReceived,
    RunCancelled,
    RunLost,
    StartReceived,
    WriterEvent,
)
from labwire.wire.tcp_frame import AckCode
from labwire.wire.tcp_states import State
from labwire.wire.tcp_timeouts import WriterTimeouts
from labwire.wire.tcp_writer import WriterConnection

WAIT_S = 20.0
Answer = Literal["good", "refuse", "silent"]


def wait_until(true: Callable[[], bool], what: str = "it did not happen") -> None:
    until = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < until, what
        time.sleep(0.002)


class Received:
    """What a writer got of one run."""

    def __init__(self, start: StartMessage, socket_number: int) -> None:
        self.start = start
        self.socket_number = socket_number
        self.images: dict[int, ImageMessage] = {}
        self.order: list[int] = []
        self.calibrations: list[Message] = []
        self.end: Message | None = None
        self.cancelled = False
        self.lost = False


class LoopbackWriter:
    """Connects in a thread of its own; a context manager.

    Args:
        address: Of the stream.
        start: What it answers to START.
        end: What it answers to END.
        keep: Keep the images, decoded. False: only their numbers.
        fail_from: Image from which on it has "no space left", fatal.
        read_bytes: Most bytes of one read.
        busy_keepalive_s: See `WriterTimeouts`.
        acknowledge: Answer images at all.
    """

    def __init__(
        self,
        address: str,
        *,
        start: Answer = "good",
        end: Answer = "good",
        keep: bool = True,
        fail_from: int | None = None,
        read_bytes: int = 1 << 20,
        busy_keepalive_s: float | None = 0.05,
        acknowledge: bool = True,
    ) -> None:
        self.runs: dict[int, Received] = {}
        self.lost: ConnectionLost | None = None
        self.frozen = threading.Event()
        """Set: it does nothing at all, as if it were stopped by a signal."""
        self.busy = threading.Event()
        """Set: it takes nothing more and answers nothing, but says that it lives if it holds a part of an image."""
        self.stalled = threading.Event()
        """Set: it takes nothing more as soon as it holds a part of an image, and says that it lives."""
        self._start, self._end, self._keep = start, end, keep
        self._fail_from = fail_from
        self._acknowledge = acknowledge
        self._read_bytes = read_bytes
        self._open: Received | None = None
        self._waker = Waker()
        self._closing = False
        host, port = parse_tcp_address(address)
        self.sock = socket.create_connection((host, port))
        self.name = "{}:{}".format(*self.sock.getsockname()[:2])
        self.machine = WriterConnection(
            address,
            now_s=time.monotonic(),
            timeouts=WriterTimeouts(busy_keepalive_s=busy_keepalive_s, silence_s=None),
            max_unanswered=64,
        )
        self._thread = threading.Thread(target=self._run, name="test-writer")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def kill(self) -> None:
        """End without a word, as a killed process does."""
        self.close()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._waker.wake()
            self._thread.join()
            self.sock.close()
            self._waker.close()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._waker, select.POLLIN)
        room = memoryview(bytearray(self._read_bytes))
        self.sock.setblocking(False)
        while not self._closing:
            if self.frozen.is_set():
                poller.poll(5)
                continue
            still = self.busy.is_set() or (self.stalled.is_set() and self.machine._is_busy)
            reads = not (self.machine.paused or still) and self.lost is None
            wanted = (select.POLLIN if reads else 0) | (select.POLLOUT if self.machine.unsent_bytes else 0)
            poller.register(self.sock, wanted)
            due_s = self.machine.next_deadline()
            wait_ms = 20 if due_s is None else max(min((due_s - time.monotonic()) * 1000, 20), 0)
            if self.lost is not None:
                poller.unregister(self.sock)
            poller.poll(wait_ms)
            self._handle(self.machine.tick(time.monotonic()))
            if reads:
                self._read(room)
            self._write()

    def _read(self, room: memoryview) -> None:
        now_s = time.monotonic()
        try:
            count = self.sock.recv_into(room)
        except BlockingIOError:
            return
        except OSError as error:
            self._handle(self.machine.receive_eof(now_s, str(error)))
            return
        if count:
            self._handle(self.machine.receive_data(room[:count], now_s))
        else:
            self._handle(self.machine.receive_eof(now_s))

    def _write(self) -> None:
        parts = self.machine.data_to_send()
        if not parts:
            return
        try:
            count = self.sock.sendmsg(parts)
        except BlockingIOError:
            count = 0
        except OSError:
            count = sum(map(len, parts))
        self.machine.bytes_sent(count, time.monotonic())

    def _handle(self, events: list[WriterEvent]) -> None:
        for event in events:
            self._answer(event, time.monotonic())

    def _answer(self, event: WriterEvent, now_s: float) -> None:  # noqa: C901  one short case for each event
        match event:
            case StartReceived(run_number=run, socket_number=number, payload=payload):
                start = decode_message(payload)
                assert isinstance(start, StartMessage)
                self._open = self.runs[run] = Received(start, number)
                if self._start == "good":
                    self.machine.accept_start(run, now_s)
                elif self._start == "refuse":
                    self.machine.refuse_start(run, AckCode.PERMISSION_DENIED, "no rights here", now_s)
            case CalibrationReceived(payload=payload):
                assert self._open
                self._open.calibrations.append(decode_message(payload))
            case ImageReceived(run_number=run, image_number=number, payload=payload):
                self._take(run, number, payload, now_s)
            case EndReceived(run_number=run, payload=payload):
                assert self._open
                self._open.end = decode_message(payload)
                if self._end == "good":
                    self.machine.accept_end(run, now_s)
                elif self._end == "refuse":
                    self.machine.refuse_end(run, AckCode.IO_ERROR, "the disk fell off", now_s)
            case RunCancelled(run_number=run):
                self.runs[run].cancelled = True
            case RunLost(run_number=run):
                self.runs[run].lost = True
            case ConnectionLost():
                self.lost = event
            case _:
                pass

    def _take(self, run: int, number: int, payload: memoryview, now_s: float) -> None:
        assert self._open
        if self._fail_from is not None and number >= self._fail_from:
            self._handle(self.machine.fail_run(run, AckCode.NO_SPACE_LEFT, "/data is full", now_s))
            return
        self._open.order.append(number)
        if self._keep:
            message = decode_message(payload)
            assert isinstance(message, ImageMessage)
            assert message.image_id == number
            self._open.images[number] = message
        if self._acknowledge:
            self.machine.acknowledge_image(run, number, now_s)

    @property
    def idle(self) -> bool:
        return self.machine.state is State.IDLE
