"""One PUSH socket of the ZeroMQ image stream, and the thread that sends over it.

Source: image-stream, "ZeroMQ image stream": images are sent by a thread for each socket; after the first time-out they
are sent without waiting for the rest of the run, and may be dropped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

import zmq

from labwire.bounded import BoundedQueue
from labwire.clock import monotonic_s
from labwire.errors import ConfigError, PortTakenError
from labwire.images.stream_config import ZeroMqStreamConfig
from labwire.wire.cbor_values import Buffer

_log = logging.getLogger(__name__)

IMAGE_S: Final = 1.0
"""How long the first image waits that finds no room; the spec names no time, START and END have this one."""
_SLICE_MS: Final = 50
_DEPTH: Final = 4  # images between the caller and the thread; what waits for the network waits in ZeroMQ
_JOIN_S: Final = 5.0


class _Job(NamedTuple):
    pieces: Sequence[Buffer]
    timeout_s: float
    done: Future[bool] | None
    """None: an image, of which only the count is kept."""
    run: object = None
    """That an image belongs to, or that START begins."""


class PushLane:
    """Sends what belongs to one socket, in order.

    Args:
        context: Of the stream.
        number: Of the socket.
        address: Where to bind.
        config: Watermark and buffer.
        on_drop: Called on the lane's thread with the lane's number, when the first image of a run is dropped.

    Raises:
        PortTakenError: Somebody else listens there.
        ConfigError: The address is none, or none of this computer's.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        number: int,
        address: str,
        config: ZeroMqStreamConfig,
        on_drop: Callable[[int], None],
    ) -> None:
        self.number = number
        self.socket = context.socket(zmq.PUSH)
        """Until `start`, and after `join`, for the maker's thread; in between for the lane's own."""
        self.socket.sndhwm = config.send_watermark
        self.socket.linger = 0
        if config.send_buffer_size is not None:
            self.socket.sndbuf = config.send_buffer_size
        self.address = bind(self.socket, address)
        """With the real port."""
        self.sent = 0
        self.dropped = 0
        """Images of the run that found no room."""
        self._on_drop = on_drop
        self._patient = True
        self._of: object = None
        self._discarded: object = None
        self._jobs: BoundedQueue[_Job] = BoundedQueue(_DEPTH, "block")
        self._thread = threading.Thread(target=self._run, name=f"labwire-image-socket-{number}", daemon=True)

    @property
    def offered(self) -> int:
        """Images of the run of which it is known what became of them; after END: all."""
        return self.sent + self.dropped

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def begin(self) -> None:
        """Count anew, for a run whose START follows."""
        self.sent = self.dropped = 0

    def send(self, pieces: Sequence[Buffer], timeout_s: float, *, begins: object = None) -> Future[bool]:
        """Send a message behind all images; the future tells whether it found room within its time.

        Args:
            pieces: The message.
            timeout_s: Its time.
            begins: For START, the run: behind it, images of no other are sent.
        """
        done: Future[bool] = Future()
        if not self._jobs.put(_Job(pieces, timeout_s, done, begins)):
            done.set_result(False)  # closed
        return done

    def put_image(self, pieces: Sequence[Buffer], run: object) -> None:
        """Send an image of a run; waits while the thread is behind."""
        self._jobs.put(_Job(pieces, IMAGE_S, None, run))

    def discard(self, run: object) -> None:
        """Drop the images of a run that wait here, and those to come; from any thread."""
        self._discarded = run

    def close(self, linger_s: float) -> None:
        """End the thread, and the socket: what waits in it is given `linger_s` to leave, if somebody takes it."""
        self._jobs.close()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _log.error("the thread of the image socket %s did not end", self.address)
            return
        self.socket.close(linger=round(linger_s * 1000))

    def _run(self) -> None:
        for job in self._jobs:
            if job.done is not None and job.run is not None:
                self._of, self._patient = job.run, True
                self.sent = self.dropped = 0
            elif job.run is not self._of and job.done is None:
                continue  # put too late, when its run had been cancelled: how that ended has been told
            sent = False
            try:
                sent = self._send(job)
            except Exception:  # a thread that ends here would let every run hang
                _log.exception("sending over %s failed in a way that was not foreseen", self.address)
            if job.done is not None:
                job.done.set_result(sent)
            elif sent:
                self.sent += 1
            else:
                self._note_drop(job.run)

    def _send(self, job: _Job) -> bool:
        is_image = job.done is None
        if is_image and job.run is self._discarded:
            return False
        patience_s = 0.0 if is_image and not self._patient else job.timeout_s
        until_s = monotonic_s() + patience_s
        while not self._try(job.pieces, until_s):
            if monotonic_s() >= until_s or (is_image and job.run is self._discarded):
                return False
        return True

    def _try(self, pieces: Sequence[Buffer], until_s: float) -> bool:
        # First wait for room: an image that finds none need not be copied.
        wait_ms = min(max(round((until_s - monotonic_s()) * 1000), 0), _SLICE_MS)
        if not self.socket.poll(wait_ms, zmq.POLLOUT):
            return False
        try:
            # One ZeroMQ frame is one piece of memory: the only copy of the pixels on this side.
            self.socket.send(b"".join(pieces), zmq.NOBLOCK, copy=False)
        except zmq.Again:  # the reader has gone in between
            return False
        return True

    def _note_drop(self, run: object) -> None:
        self.dropped += 1
        first, self._patient = self._patient, False
        if first and run is not self._discarded:
            try:
                self._on_drop(self.number)
            except Exception:
                _log.exception("telling of a dropped image failed")


def bind(socket: zmq.Socket[Any], address: str) -> str:
    """Bind a socket and return its address with the real port; the socket is closed if that fails.

    Raises:
        PortTakenError: Somebody else listens there.
        ConfigError: The address is none, or none of this computer's.
    """
    try:
        if not address.startswith(("tcp://", "ipc://")):
            raise ConfigError(f"{address!r} is not an address for images: write tcp://IP:PORT or ipc://PATH")
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        if error.errno == zmq.EADDRINUSE:
            raise PortTakenError(
                f"{address} is taken: somebody else listens there; * as port takes a free one"
            ) from error
        hint = "tcp://IP:PORT needs the IP address of one of this computer's interfaces"
        raise ConfigError(f"cannot listen at {address}: {error.strerror}; {hint}") from error
    except ConfigError:
        socket.close(linger=0)
        raise
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
