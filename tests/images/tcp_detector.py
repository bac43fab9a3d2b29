"""A detector for the tests: the sender's machines over a real socket, one thread that polls, no frills."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from labwire.clock import monotonic_s
from labwire.wire.cbor_values import Buffer
from labwire.wire.run_result import RunResult
from labwire.wire.tcp_pool import SenderPool
from labwire.wire.tcp_run import PayloadOf, RunPhase, SenderRun
from labwire.wire.tcp_sender import SenderConnection
from labwire.wire.tcp_timeouts import SenderTimeouts

LIMIT_S = 20.0
# A writer on a busy computer is not dead.
_TIMEOUTS = SenderTimeouts(start_ack_s=LIMIT_S, end_ack_s=LIMIT_S, peer_liveness_s=LIMIT_S)


class TcpDetector:
    """Listens on a free port and speaks the TCP image stream; call `step`, or what calls it, often."""

    def __init__(self, timeouts: SenderTimeouts = _TIMEOUTS, port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.pool = SenderPool(self.address, timeouts=timeouts)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.sockets: dict[SenderConnection, socket.socket] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in list(self.sockets):
            self.drop(connection)
        self._selector.close()
        self._listener.close()

    def drop(self, connection: SenderConnection) -> None:
        """Close one writer's socket, in the middle of whatever it is."""
        sock = self.sockets.pop(connection)
        self._selector.unregister(sock)
        sock.close()
        self.pool.receive_eof(connection, monotonic_s())

    def step(self, wait_s: float = 0.0) -> None:
        """Do what can be done now."""
        self._send()
        for key, _ in self._selector.select(wait_s):
            if key.fileobj is self._listener:
                self._accept()
            else:
                self._read(key.data)
        self.pool.tick(monotonic_s())
        self._send()
        for connection in [one for one in self.sockets if one.error is not None and not one.unsent_bytes]:
            self.drop(connection)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sock, peer = self._listener.accept()
            sock.setblocking(False)
            connection = self.pool.connect(f"{peer[0]}:{peer[1]}", monotonic_s())
            self.sockets[connection] = sock
            self._selector.register(sock, selectors.EVENT_READ, connection)

    def _read(self, connection: SenderConnection) -> None:
        sock = self.sockets.get(connection)
        if sock is None:
            return
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.pool.receive_data(connection, data, monotonic_s())
        else:
            self.drop(connection)

    def _send(self) -> None:
        for connection, sock in list(self.sockets.items()):
            parts = connection.data_to_send()
            if not parts:
                continue
            try:
                count = sock.sendmsg(parts)
            except BlockingIOError:
                count = 0
            except OSError:
                connection.bytes_sent(0, monotonic_s())
                self.drop(connection)
                continue
            connection.bytes_sent(count, monotonic_s())

    def until(self, condition: Callable[[], object], what: str = "the condition", limit_s: float = LIMIT_S) -> None:
        """Go on till a condition holds."""
        limit = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < limit, f"{what} did not come true within {limit_s} s"
            self.step(0.002)

    def wait_writers(self, count: int) -> None:
        """Wait till so many writers are there."""
        self.until(lambda: len(self.pool.idle) >= count, f"{count} writers")

    def begin(self, run_number: int, start_of: PayloadOf, *, images_per_file: int) -> SenderRun:
        """Send START, wait for the answers."""
        run = self.pool.start_run(
            run_number, f"run {run_number}", start_of, monotonic_s(), images_per_file=images_per_file
        )
        self.until(lambda: run.phase is not RunPhase.STARTING, "START answered")
        return run

    def send_calibration(self, run: SenderRun, payload: Sequence[Buffer]) -> None:
        """Send CALIBRATION."""
        run.send_calibration(payload, monotonic_s())
        self.step()

    def send(self, run: SenderRun, image_number: int, payload: Sequence[Buffer]) -> None:
        """Send an image, as soon as its writer takes it."""
        self.until(lambda: run.ready_for(image_number), f"room for image {image_number}")
        run.send_image(image_number, payload, monotonic_s())
        self.step()

    def end(self, run: SenderRun, end_of: PayloadOf) -> RunResult:
        """Send END, wait for the answers."""
        run.end(end_of, monotonic_s())
        self.until(lambda: run.phase is RunPhase.DONE, "END answered")
        return run.result()


@contextlib.contextmanager
def stepping(detector: TcpDetector) -> Iterator[None]:
    """Let a thread do the steps, while the test looks at something else."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            detector.step(0.002)

    thread = threading.Thread(target=go_on, name="detector")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
