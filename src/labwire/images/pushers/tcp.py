"""The TCP image stream, sending side: one port, persistent writers, an acknowledgement for every image.

Source: image-stream, "TCP/IP image stream". What is said when stands in `labwire.wire.tcp_pool` and the machines behind
it; here are the sockets and threads.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from labwire.clock import monotonic_s
from labwire.errors import CancelledError, DeadlineError, StateError
from labwire.images.pusher import OnEvent, OutgoingImage, StreamRun
from labwire.images.pushers.tcp_link import LinkGroup, TcpLink
from labwire.images.pushers.tcp_socket import listen, prepare, refuse, warn_if_clamped
from labwire.images.stream_address import address_of
from labwire.images.stream_config import TcpStreamConfig
from labwire.wire.image_message import CalibrationMessage, EndMessage
from labwire.wire.run_result import RunResult
from labwire.wire.tcp_pool import PoolCounters, SenderPool
from labwire.wire.tcp_run import RunPhase, SenderRun
from labwire.wire.tcp_sender import MAX_UNACKNOWLEDGED, SenderConnection
from labwire.wire.tcp_states import State
from labwire.wire.tcp_timeouts import SenderTimeouts

_log = logging.getLogger(__name__)

_TICK_S: Final = 0.25  # in a run, deadlines move with every image
_ACCEPT_PAUSE_S: Final = 0.2
_JOIN_S: Final = 5.0


class TcpStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A TCP image stream at one moment."""

    address: str
    writers: tuple[str, ...]
    """Addresses of those that are connected."""
    unsent_bytes: tuple[int, ...]
    """For each of them: bytes that wait for its socket."""
    unacknowledged: tuple[int, ...]
    """For each of them: images that wait for its answer."""
    counters: PoolCounters


class TcpPusher:
    """Sends images to the writers that connect to one port.

    >>> pusher = TcpPusher(TcpStreamConfig(address="tcp://127.0.0.1:*"))  # doctest: +SKIP
    >>> pusher.wait_for_writers(2, timeout_s=10)  # doctest: +SKIP
    >>> pusher.start(run); pusher.send_image(image); pusher.end(end).ok  # doctest: +SKIP
    True

    Args:
        config: Where, for how many, and how long to wait.
        timeouts: All times; None: the spec's, with the two of `config`.
        max_unacknowledged: Images of one connection that wait for their ACK.
        on_event: Told ``writer_connected``, ``writer_refused``, ``writer_lost`` and ``image_failed``.

    Raises:
        PortTakenError: Somebody else listens there.
        ConfigError: The address is none of this computer's.
    """

    confirms = True

    def __init__(
        self,
        config: TcpStreamConfig,
        *,
        timeouts: SenderTimeouts | None = None,
        max_unacknowledged: int = MAX_UNACKNOWLEDGED,
        on_event: OnEvent | None = None,
    ) -> None:
        self._config = config
        if config.send_buffer_size is not None:
            warn_if_clamped(config.send_buffer_size)
        self._socket = listen(config.address)
        self.address = address_of(*self._socket.getsockname()[:2])
        """Where writers connect, with the real port: image-stream, "GetAddress()"."""
        pool = SenderPool(
            self.address,
            nwriters=config.nwriters,
            timeouts=timeouts or _timeouts_of(config),
            max_unacknowledged=max_unacknowledged,
            max_unsent_bytes=config.queue_mib << 20,
        )
        self._pool = pool
        self._group = LinkGroup(pool, on_event)
        self._run: StreamRun | None = None
        self._enough_bytes = (config.queue_mib << 20) // 2
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="labwire-image-port", daemon=True)
        self._thread.start()

    # --- what a pusher can do

    @property
    def addresses(self) -> tuple[str, ...]:
        """The one address."""
        return (self.address,)

    @property
    def waiting_writers(self) -> int:
        """Writers that would take part in a run that starts now."""
        with self._group.lock:
            return len(self._pool.idle)

    def wait_for_writers(self, count: int | None = None, timeout_s: float | None = None) -> int:
        """Wait until so many writers are there, one if `count` is None; return how many are.

        Raises:
            DeadlineError: They are not within `timeout_s`.
        """
        count = 1 if count is None else count
        with self._group.lock:
            self._group.wait_until(lambda: len(self._pool.idle) >= count or self._closing, timeout_s)
            there = len(self._pool.idle)
        if there < count:
            raise DeadlineError(
                f"{there} of {count} writers connected to {self.address} within {timeout_s} s; "
                f"to start one: labwire write {self.address} -o FOLDER"
            )
        return there

    def start(self, run: StreamRun) -> None:
        """Send START to all writers that are there, and wait for their ACKs.

        Raises:
            PeerGoneError: There is no writer.
            LabwireError: A writer refused or did not answer within 5 s; all others have been told to forget the run.
        """
        with self._group.act():
            self._need_open()
            sending = self._pool.start_run(
                run.run_number,
                run.run_name,
                run.encode_start,
                monotonic_s(),
                images_per_file=run.images_per_file,
            )
            self._run = run
            self._group.forget_failures()
            self._group.changed()
            self._group.listener.wake()
            self._wait_for(sending, RunPhase.RUNNING, RunPhase.DONE)
            if sending.phase is RunPhase.RUNNING:
                return
            error = sending.start_error
        raise error or CancelledError(f"run {run.run_number} was cancelled while it started")

    def send_calibration(self, message: CalibrationMessage) -> None:
        """Send a calibration message, on connection 0; it is not acknowledged.

        Raises:
            StateError: No run is on, or connection 0 has had an image.
        """
        run = self._stream_run()
        payload = run.encode(message)
        with self._group.act():
            self._current().send_calibration(payload, monotonic_s())

    def send_image(self, image: OutgoingImage) -> bool:
        """Send an image to the writer that its file belongs to; wait while that writer is behind.

        Returns:
            False if that writer is gone.

        Raises:
            StateError: No run is on, or it was cancelled.
            UsageError: An image of the same number is on its way.
        """
        pieces, number = image.pieces, image.message.image_id
        group = self._group
        with group.lock:
            run = self._current()
            if not run.ready_for(number):
                group.wait_until(self._room_for(run, number))
            sent = run.send_image(number, pieces, monotonic_s())
            if link := group.links.get(run.connection_of(number)):
                link.wake_if_due()
            return sent

    def _room_for(self, run: SenderRun, image_number: int) -> Callable[[], bool]:
        # Half of the queue at a time: a thread that is woken for each image would cost more than sending it.
        connection = run.connection_of(image_number)

        def there_is() -> bool:
            if run.phase is not RunPhase.RUNNING or connection.state is State.CLOSED:
                return True
            return connection.ready_for_image and connection.unsent_bytes <= self._enough_bytes

        return there_is

    def end(self, message: EndMessage) -> RunResult:
        """Send END, wait for all answers, and return what became of the images.

        Raises:
            StateError: No run is on.
        """
        payload = self._stream_run().encode(message)
        with self._group.act():
            run = self._current()
            run.end(lambda _: payload, monotonic_s())
            return self._finish(run)

    def cancel(self) -> RunResult | None:
        """Send CANCEL, in front of all images that wait, and give the writers half a second to answer."""
        with self._group.act():
            run = self._pool.run
            if run is None:
                return None
            run.cancel(monotonic_s())
            return self._finish(run)

    def result(self) -> RunResult | None:
        """Return how the run stands, or the last one."""
        with self._group.lock:
            return None if self._pool.run is None else self._pool.run.result()

    def status(self) -> TcpStatus:
        """Tell how it is."""
        with self._group.lock:
            connections = tuple(self._pool.connections)
            return TcpStatus(
                address=self.address,
                writers=tuple(connection.peer for connection in connections),
                unsent_bytes=tuple(connection.unsent_bytes for connection in connections),
                unacknowledged=tuple(len(connection.account.unacknowledged) for connection in connections),
                counters=msgspec.structs.replace(self._pool.counters),
            )

    def close(self) -> None:
        """Cancel a run that is on, drop all writers and close the port. Safe to call twice."""
        if self._closing:
            return
        self.cancel()
        with self._group.act():
            self._closing = True
            links = list(self._group.links.values())
            for connection in tuple(self._pool.connections):
                self._pool.close(connection, monotonic_s())
        self._thread.join(_JOIN_S)
        late = [link.connection.peer for link in links if not link.join(_JOIN_S)]
        if late:
            _log.error("the threads of these writers did not end: %s", ", ".join(late))
        self._group.listener.close()

    # --- inside

    def _need_open(self) -> None:
        if self._closing:
            raise StateError(f"the image stream at {self.address} is closed")

    def _stream_run(self) -> StreamRun:
        if self._run is None:
            raise StateError(f"no run is on at {self.address}: start one first")
        return self._run

    def _current(self) -> SenderRun:
        if self._pool.run is None:
            raise StateError(f"no run is on at {self.address}: start one first")
        return self._pool.run

    def _wait_for(self, run: SenderRun, *phases: RunPhase) -> None:
        self._group.wait_until(lambda: run.phase in phases)

    def _finish(self, run: SenderRun) -> RunResult:
        self._group.changed()
        self._group.listener.wake()
        self._wait_for(run, RunPhase.DONE)
        return run.result()

    def _serve(self) -> None:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        poller.register(self._group.listener, select.POLLIN)
        wait_s: float | None = None
        try:
            while not self._closing:
                ready = poller.poll(None if wait_s is None else max(wait_s, 0.0) * 1000 + 1)
                self._group.listener.clear()
                try:
                    if any(descriptor == self._socket.fileno() for descriptor, _ in ready):
                        self._accept()
                    wait_s = self._tick()
                    self._group.report()
                except Exception:  # without this thread nobody could connect, and no wait would end
                    _log.exception("the image port %s met something that was not foreseen", self.address)
                    wait_s = _TICK_S
        finally:
            self._socket.close()

    def _tick(self) -> float | None:
        with self._group.lock:
            now_s = monotonic_s()
            happened = self._pool.tick(now_s)
            for connection, event in happened:
                self._group.changed(connection, [event])
            self._group.wake_links()
            due_s = self._pool.next_deadline()
            run = self._pool.run
        if due_s is None:
            return None
        wait_s = due_s - monotonic_s()
        return wait_s if run is None or run.phase is RunPhase.DONE else min(wait_s, _TICK_S)

    def _accept(self) -> None:
        try:
            sock, peer = self._socket.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}:
                _log.error("a writer cannot be let in at %s: %s", self.address, error.strerror)
                threading.Event().wait(_ACCEPT_PAUSE_S)  # it is still there, and would be tried at once
            return
        name = address_of(*peer[:2]).removeprefix("tcp://")
        with self._group.lock:
            connection = self._pool.connect(name, monotonic_s())
            if connection.state is State.CLOSED:
                last_words = connection.data_to_send()
                self._group.note("writer_refused", writer=name, reason=str(connection.error))
            else:
                last_words = []
                self._admit(sock, connection)
        if last_words:
            refuse(sock, last_words)

    def _admit(self, sock: socket.socket, connection: SenderConnection) -> None:
        group = self._group
        try:
            prepare(sock, self._config.send_buffer_size)
            link = TcpLink(sock, connection, group, zero_copy=self._config.zero_copy)
            group.links[connection] = link
            link.start()
        except (OSError, RuntimeError) as error:  # it is gone already, or the system gives no thread
            group.links.pop(connection, None)
            self._pool.close(connection, monotonic_s())
            sock.close()
            _log.error("the writer %s cannot be served: %s", connection.peer, error)
            return
        group.note("writer_connected", writer=connection.peer)
        group.changed()


def _timeouts_of(config: TcpStreamConfig) -> SenderTimeouts:
    return SenderTimeouts(
        peer_liveness_s=config.peer_liveness_timeout_ms / 1000,
        max_backpressure_s=config.max_backpressure_timeout_ms / 1000,
    )
