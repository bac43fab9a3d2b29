"""Reads a preview stream, or any other that is published: START as far as it comes, and the newest image."""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec
import zmq

from labwire.clock import monotonic_s
from labwire.errors import ConfigError, DeadlineError, LabwireError
from labwire.wire.image_codec import decode_message
from labwire.wire.image_message import ImageMessage, StartMessage
from labwire.wire.tcp_frame import MAX_PAYLOAD_BYTES

_PREFIX: Final = "zmq+"
_WATERMARK: Final = 4


class Previewed(msgspec.Struct, frozen=True, kw_only=True):
    """What a preview shows at one moment."""

    image: ImageMessage
    start: StartMessage | None
    """Of the same run; None: it has not come yet."""


class PreviewReader:
    """One reader; a context manager. Not for two threads at once.

    >>> with PreviewReader("tcp://127.0.0.1:5400") as reader:  # doctest: +SKIP
    ...     print(reader.read(10).image.image_id)

    Args:
        address: Where the stream is published: ``tcp://HOST:PORT`` or ``ipc://PATH``.

    Raises:
        ConfigError: It is no address.
    """

    def __init__(self, address: str) -> None:
        self.address = address.removeprefix(_PREFIX)
        self.malformed = 0
        """Messages that could not be read."""
        self.start: StartMessage | None = None
        """The one that came last."""
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket: zmq.Socket[Any] = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = _WATERMARK
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_PAYLOAD_BYTES)
        self._socket.subscribe(b"")
        try:
            if not self.address.startswith(("tcp://", "ipc://")):
                raise ConfigError(f"{address!r} is not the address of a preview stream: write tcp://HOST:PORT", hint="")
            self._socket.connect(self.address)
        except ConfigError:
            self.close()
            raise
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(f"cannot connect to {address!r}: write tcp://HOST:PORT ({error})", hint="") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, timeout_s: float) -> Previewed:
        """Wait for an image; of several that wait the newest is returned.

        Raises:
            DeadlineError: None came in time.
        """
        until_s = monotonic_s() + timeout_s
        image = None
        while True:
            wait_ms = 0 if image is not None else max(round((until_s - monotonic_s()) * 1000), 0)
            if not self._socket.poll(wait_ms):
                break
            image = self._take() or image
            if image is None and monotonic_s() >= until_s:
                break
        if image is None:
            raise DeadlineError(
                f"no image came from {self.address} within {timeout_s:g} s; is a run on, and is this the address of a "
                "preview stream?"
            )
        same = self.start is not None and self.start.series_id == image.series_id
        return Previewed(image=image, start=self.start if same else None)

    def read_start(self, timeout_s: float) -> StartMessage | None:
        """Wait for START, which is sent again every 2 s in a run; None if it does not come in time."""
        until_s = monotonic_s() + timeout_s
        while self.start is None and (left_s := until_s - monotonic_s()) > 0:
            if self._socket.poll(round(left_s * 1000) + 1):
                self._take()
        return self.start

    def close(self) -> None:
        """Let go of the socket. Safe to call twice."""
        self._socket.close()
        self._context.term()

    def _take(self) -> ImageMessage | None:
        first, *more = self._socket.recv_multipart(copy=False)
        try:
            message = decode_message(first.buffer) if not more else None
        except LabwireError:
            message = None
        if isinstance(message, StartMessage):
            self.start = message
        elif message is None:
            self.malformed += 1
        return message if isinstance(message, ImageMessage) else None
