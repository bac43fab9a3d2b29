"""Takes the images of a run from their source to the stream: paced, compressed, timed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from labwire.clock import epoch_us, monotonic_ns, monotonic_s
from labwire.errors import CancelledError, UsageError
from labwire.images.compression import Compression, compress
from labwire.images.stream import ImageStream, StreamResult
from labwire.images.stream_config import MessageConfig
from labwire.wire.image_array import Array, as_numpy
from labwire.wire.image_fields import Spot, date_of_epoch_us, rational_of_ns
from labwire.wire.image_message import EndMessage, ImageMessage, StartMessage
from labwire.wire.image_user_data import UserData, encode_user_data, read_user_data

MAX_KEPT_BYTES = 256 << 20
"""Of compressed images that come again."""
_SLACK_S = 0.1  # behind by more than this, a paced run does not try to catch up


class ReadImage(Protocol):
    """What a source gives."""

    @property
    def pixels(self) -> Array:
        """(height, width), compressed or not."""
        ...

    @property
    def spots(self) -> tuple[Spot, ...] | None:
        """What is known to be in it."""
        ...

    @property
    def repeats(self) -> int | None:
        """The same number means the same image; None: it does not come again."""
        ...


class Source(Protocol):
    """Where images come from; see `labwire.sources.image_source`."""

    @property
    def image_count(self) -> int | None:
        """How many there are; None: as many as wanted."""
        ...

    def start_message(
        self, *, run_number: int, run_name: str, number_of_images: int, frame_time_s: float | None = None
    ) -> StartMessage:
        """Return what START tells of the detector."""
        ...

    def read(self, image_number: int) -> ReadImage:
        """Return an image."""
        ...


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A run that somebody wants."""

    run_number: int
    images: int
    """How many images."""
    run_name: str | None = None
    """None: ``<run_number>:<file_prefix>``."""
    file_prefix: str | None = None
    """Folder and beginning of the names of the files; None: nothing is stored, only shown."""
    images_per_file: int | None = None
    """None: all in one file."""
    rate_hz: float | None = None
    """Images per second; None: as fast as they are taken."""
    user_data: UserData = UserData()
    """What else START tells."""

    @property
    def name(self) -> str:
        """The run's name: REST's default of the real broker."""
        return self.run_name or f"{self.run_number}:{self.file_prefix or ''}"


class Acquisition:
    """One run, from START to the result.

    >>> Acquisition(source, stream, RunRequest(run_number=1, images=100, file_prefix="test")).run()  # doctest: +SKIP

    Args:
        source: Gives the images.
        stream: Takes them.
        request: What is wanted.
        messages: How they are written; None: as by default.

    Raises:
        UsageError: The source has not so many images, or a number makes no sense.
    """

    def __init__(
        self, source: Source, stream: ImageStream, request: RunRequest, messages: MessageConfig | None = None
    ) -> None:
        if request.images < 0 or (request.rate_hz is not None and not request.rate_hz > 0):
            raise UsageError(f"a run has 0 or more images and a rate above 0: {request.images}, {request.rate_hz}")
        if source.image_count is not None and request.images > source.image_count:
            raise UsageError(f"{request.images} images are wanted, and the source has {source.image_count}")
        self._source = source
        self._stream = stream
        self._request = request
        self._messages = messages or MessageConfig()
        self._cancelled = threading.Event()
        self._awake = threading.Event()
        self._armed = False
        self._series_date = date_of_epoch_us(epoch_us())
        self._packed: dict[int, Array] = {}
        self._packed_bytes = 0

    @property
    def images(self) -> int:
        """How many images are wanted."""
        return self._request.images

    @property
    def stored(self) -> bool:
        """Whether they are to be stored: without a ``file_prefix`` no writer is needed."""
        return bool(self._request.file_prefix)

    def start_message(self) -> StartMessage:
        """Return START as it is sent, but for the numbers of the sockets."""
        request = self._request
        start = self._source.start_message(
            run_number=request.run_number,
            run_name=request.name,
            number_of_images=request.images,
            frame_time_s=1 / request.rate_hz if request.rate_hz else None,
        )
        told, wanted = read_user_data(start), request.user_data
        merged: dict[str, Any] = {
            name: value for name in UserData.__struct_fields__ if (value := getattr(wanted, name)) is not None
        }
        merged |= {
            "extra": {**told.extra, **wanted.extra},
            "file_prefix": request.file_prefix,
            "images_per_file": request.images_per_file,
        }
        user_data = encode_user_data(msgspec.structs.replace(told, **merged))
        return msgspec.structs.replace(start, arm_date=self._series_date, user_data=user_data)

    def arm(self) -> None:
        """Send START, so that `run` begins with the first image at once.

        Raises:
            CancelledError: `cancel` was called before.
            LabwireError: The run did not start.
        """
        if self._cancelled.is_set():
            raise CancelledError(f"run {self._request.run_number} was cancelled before it began")
        self._stream.start(self.start_message())
        self._armed = True
        if self._cancelled.is_set():  # while START was on its way
            self._stream.cancel()
            raise CancelledError(f"run {self._request.run_number} was cancelled while it started")

    def run(self, on_progress: Callable[[int], None] | None = None) -> StreamResult:
        """Do it, in this thread; START is sent first unless it was.

        Args:
            on_progress: Called after each image with the number of images so far; it must be quick.

        Raises:
            CancelledError: `cancel` was called before START was acknowledged.
            LabwireError: The run did not start, or the source failed; the run is taken back then.
        """
        if not self._armed:
            self.arm()
        try:
            count = self._put_all(on_progress)
            if not self._cancelled.is_set():
                return self._stream.end(EndMessage(max_image_number=count, images_collected_count=count))
        except BaseException:
            if not self._cancelled.is_set():
                self._stream.cancel()
                raise
        result = self._stream.cancel() or self._stream.last_result
        assert result is not None
        return result

    def stop(self) -> None:
        """End the run soon, as if it had no more images: what there is stays good. From any thread."""
        self._awake.set()

    def cancel(self) -> None:
        """End the run soon, from any thread; `run` then returns what became of it."""
        self._cancelled.set()
        self._awake.set()
        self._stream.cancel()

    def _put_all(self, on_progress: Callable[[int], None] | None) -> int:
        request = self._request
        period_s = 1 / request.rate_hz if request.rate_hz else 0.0
        began_ns, due_s = monotonic_ns(), monotonic_s()
        for number in range(request.images):
            if period_s:
                due_s = self._pace(due_s, period_s if number else 0.0)
            if self._awake.is_set():
                return number
            read = self._source.read(number)
            self._stream.put(self._message(number, read, monotonic_ns() - began_ns))
            if on_progress is not None:
                on_progress(number + 1)
        return request.images

    def _pace(self, due_s: float, period_s: float) -> float:
        due_s += period_s
        wait_s = due_s - monotonic_s()
        if wait_s > 0:
            self._awake.wait(wait_s)
        elif wait_s < -_SLACK_S:
            due_s -= wait_s
        return due_s

    def _message(self, number: int, read: ReadImage, since_start_ns: int) -> ImageMessage:
        request = self._request
        exposure_ns = int(1e9 / request.rate_hz) if request.rate_hz else None
        return ImageMessage(
            series_id=request.run_number,
            series_unique_id=request.name,
            image_id=number,
            series_date=self._series_date,
            real_time=None if exposure_ns is None else rational_of_ns(exposure_ns),
            start_time=rational_of_ns(since_start_ns),
            stop_time=None if exposure_ns is None else rational_of_ns(since_start_ns + exposure_ns),
            spots=read.spots,
            spot_count=None if read.spots is None else len(read.spots),
            data={self._messages.channel: self._packed_of(read)},
        )

    def _packed_of(self, read: ReadImage) -> Array:
        compression: Compression = self._messages.compression
        if read.pixels.compression or compression == "none":
            return read.pixels
        kept = None if read.repeats is None else self._packed.get(read.repeats)
        if kept is not None:
            return kept
        packed = compress(as_numpy(read.pixels), compression)
        if read.repeats is not None and self._packed_bytes < MAX_KEPT_BYTES:
            self._packed[read.repeats] = packed
            self._packed_bytes += len(packed.data)
        return packed
