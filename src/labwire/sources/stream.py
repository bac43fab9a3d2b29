"""A network camera as a source of pictures: RTSP, or Motion JPEG over HTTP."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from labwire.bounded import BoundedQueue
from labwire.clock import EpochAnchor, monotonic_s
from labwire.errors import DeadlineError, DeviceError, LabwireError, StateError, needs_extra
from labwire.picture import Picture, check_jpeg, picture_of
from labwire.sources.picture_source import SourceDescription

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from labwire.picture import Pixels

_log = logging.getLogger(__name__)

SCHEMES = ("rtsp", "rtsps", "http", "https")

_OPEN_S, _SILENT_S = 10.0, 5.0
_WAITING, _WAITING_BYTES = 30, 32 << 20  # half a second of a fast camera, while whoever reads is busy
_SLICE_S = 0.05
_CLOSE_S = 0.05
# Pictures are wanted as they come; what a decoder would buffer only makes them late.
_OPTIONS = {"fflags": "nobuffer", "flags": "low_delay"}
_RTSP_OPTIONS = {"rtsp_transport": "tcp"}


class StreamSource:
    """Take pictures from a network camera.

    >>> camera = StreamSource("rtsp://192.168.1.20/stream1")
    >>> camera.open()  # doctest: +SKIP

    Motion JPEG is passed on as it came; other codecs are decoded to bgr. A picture's time is the moment of its arrival:
    the clocks of such cameras are not to be relied on, and what they buffer is a constant.

    Args:
        url: ``rtsp://`` or ``http://``; user and password stand in it, and are never shown.
        options: More options for FFmpeg's input.
        anchor: Turns moments of arrival into microseconds since the epoch.
    """

    def __init__(
        self, url: str, *, options: Mapping[str, str] | None = None, anchor: EpochAnchor | None = None
    ) -> None:
        scheme, colon, rest = url.partition(":")
        self._url = scheme.lower() + colon + rest  # FFmpeg knows them in small letters only
        self._options = dict(options or {})
        self._anchor = anchor or EpochAnchor()
        self._name = without_password(url)
        self._description = SourceDescription(kind="stream", name=self._name)
        self._closing = threading.Event()
        self._connection: _Connection | None = None
        self._index = self._malformed = 0

    @property
    def malformed(self) -> int:
        """Pictures that came broken, since the source was made."""
        return self._malformed

    def open(self) -> None:
        """Connect; nothing happens if it is open.

        Raises:
            DeviceError: The camera cannot be reached, or sends no video.
            MissingExtraError: PyAV is not installed.
        """
        if self._connection is not None:
            return
        self._closing.clear()
        container = self._connected()
        stream = next(iter(container.streams.video), None)
        if stream is None:
            container.close()
            raise DeviceError(f"{self._name} sends no video", url=self._name)
        self._description = SourceDescription(
            kind="stream",
            name=self._name,
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            fps=float(stream.average_rate or stream.guessed_rate or 0),
            codec=stream.codec_context.name,
            as_it_came=stream.codec_context.name == "mjpeg",
        )
        self._connection = _Connection(lambda connection: self._run(container, stream, connection))

    def read(self) -> Picture | None:
        """Wait for the next picture and return it; None when `close` was called.

        Raises:
            DeviceError: The connection broke, or nothing came for 5 s.
            StateError: It is not open.
        """
        connection = self._connection
        if connection is None:
            if self._closing.is_set():
                return None
            raise StateError(f"{self._name} is not open: call open() first")
        while not self._closing.is_set():
            try:
                return connection.queue.get(_SLICE_S)
            except DeadlineError:
                continue
            except StateError:
                break
        if self._closing.is_set():
            return None
        raise DeviceError(f"{self._name} {connection.failure}", url=self._name)

    def close(self) -> None:
        """Disconnect; a `read` that waits returns None within 0.1 s. Safe to call twice."""
        self._closing.set()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def describe(self) -> SourceDescription:
        """Tell size, rate and codec; 0 and empty until it was opened."""
        return self._description

    def _connected(self) -> InputContainer:
        with needs_extra("camera"):
            import av
            from av.error import FFmpegError
        rtsp = urlsplit(self._url).scheme.startswith("rtsp")
        options = {**_OPTIONS, **(_RTSP_OPTIONS if rtsp else {}), **self._options}
        start_s = monotonic_s()
        try:
            return av.open(self._url, options=options, timeout=(_OPEN_S, _SILENT_S))
        except (FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if monotonic_s() - start_s >= _OPEN_S:  # FFmpeg calls it invalid data, or an exit that was asked for
                reason = f"it did not answer within {_OPEN_S:g} s"
            raise DeviceError(
                f"{self._name} cannot be opened ({reason}): is the camera on, are address and password right?",
                url=self._name,
            ) from error

    # The methods below run in the thread of one connection.

    def _run(self, container: InputContainer, stream: VideoStream, connection: _Connection) -> None:
        from av.error import ExitError, FFmpegError

        as_it_comes = stream.codec_context.name == "mjpeg"
        try:
            for packet in container.demux(stream):
                if connection.closing.is_set():
                    return
                arrived_s = monotonic_s()
                for picture in self._pictures(packet, arrived_s, as_it_comes=as_it_comes):
                    connection.queue.put(picture)
        except ExitError:  # what PyAV's time limit makes FFmpeg say
            connection.failure = f"sent nothing for {_SILENT_S:g} s"
        except (FFmpegError, OSError) as error:
            connection.failure = f"broke off: {getattr(error, 'strerror', None) or error}"
        finally:
            container.close()

    def _pictures(self, packet: Packet[VideoStream], arrived_s: float, *, as_it_comes: bool) -> Iterator[Picture]:
        from av.error import FFmpegError

        if as_it_comes and packet.size:
            data = bytes(packet)
            try:
                width, height = check_jpeg(data)
            except LabwireError:
                self._malformed += 1
                return
            yield Picture(
                index=self._next_index(),
                monotonic_s=arrived_s,
                epoch_us=self._anchor.at(arrived_s),
                width=width,
                height=height,
                format="jpeg",
                data=data,
            )
        elif not as_it_comes:
            try:
                frames = packet.decode()
            except FFmpegError:
                self._malformed += 1
                return
            for frame in frames:
                pixels = cast("Pixels", frame.to_ndarray(format="bgr24"))
                epoch_us = self._anchor.at(arrived_s)
                yield picture_of(pixels, index=self._next_index(), monotonic_s=arrived_s, epoch_us=epoch_us)

    def _next_index(self) -> int:
        self._index += 1
        return self._index - 1


class _Connection:
    """One connection, read in a thread of its own: FFmpeg's read cannot be ended from outside, and no close waits."""

    def __init__(self, run: Callable[[_Connection], None]) -> None:
        self.queue = BoundedQueue[Picture](
            _WAITING, "drop_old", depth_bytes=_WAITING_BYTES, size_of=lambda picture: len(picture.data)
        )
        self.failure = "has ended"
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(run,), name="labwire-stream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def _run(self, run: Callable[[_Connection], None]) -> None:
        try:
            run(self)
        except Exception as error:
            self.failure = f"failed in a way that was not foreseen: {error}"
            _log.exception("reading a stream failed in a way that was not foreseen")
        finally:
            self.queue.close()


def without_password(url: str) -> str:
    """Return a URL without user and password, to be shown."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
