"""An image stream: the images of one detector, run by run, to a pusher, the preview and the metadata stream.

Source: image-stream, "Data streams" and "Image stream".
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import msgspec

from labwire.clock import monotonic_s
from labwire.errors import LabwireError, PeerError, StateError, UsageError, error_from_name
from labwire.images.pusher import ImagePusher, OutgoingImage, StreamRun, stream_run
from labwire.wire.image_message import CalibrationMessage, EndMessage, ImageMessage, StartMessage
from labwire.wire.image_template import ImageEncoder
from labwire.wire.image_user_data import read_user_data
from labwire.wire.run_result import Fault, RunResult, SocketResult


class SideStream(Protocol):
    """The preview or the metadata stream: takes what it can, never waits, never fails a run."""

    def start(self, run: StreamRun) -> None:
        """A run begins."""
        ...

    def put(self, image: OutgoingImage) -> None:
        """An image of it."""
        ...

    def end(self, message: EndMessage) -> None:
        """The run is over."""
        ...

    def close(self) -> None:
        """Let go of the socket. Safe to call twice."""
        ...


class StreamResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run.

    Images that were put: `images` == `sent` + `dropped`, where a pusher took part.
    """

    run_number: int
    run_name: str
    images: int
    """Images that were put."""
    image_bytes: int
    """Their payload, as it is stored; without headers."""
    duration_s: float
    """From START to the last answer."""
    streamed: bool
    """False: there was no ``file_prefix``, so nothing went to the image stream."""
    confirmed: bool
    """Whether writers say what they stored. False: `acknowledged` and `missing` mean nothing."""
    cancelled: bool
    pushed: RunResult | None
    """Connection by connection; None if not `streamed`."""

    @property
    def sent(self) -> int:
        """Images that were handed to a connection."""
        return self.pushed.sent if self.pushed else 0

    @property
    def acknowledged(self) -> int:
        """Images that a writer says it has."""
        return self.pushed.acknowledged if self.pushed else 0

    @property
    def dropped(self) -> int:
        """Images that were never handed to a connection."""
        return self.pushed.offered - self.pushed.sent if self.pushed else 0

    @property
    def failed(self) -> int:
        """Images that a writer says it could not store."""
        return self.pushed.failed if self.pushed else 0

    @property
    def missing(self) -> int:
        """Images of which nobody said anything."""
        return self.pushed.missing if self.pushed and self.confirmed else 0

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What went wrong, connection by connection."""
        return self.pushed.faults if self.pushed else ()

    def error(self) -> LabwireError | None:
        """Return what went wrong as one error; None if nothing did. A cancelled run is no error by itself."""
        if self.pushed is None:
            return None
        if self.confirmed:
            return self.pushed.error()
        faults = self.pushed.faults
        if not (self.dropped and not self.cancelled) and not faults:
            return None
        told = [f"{self.dropped} of {self.images} images dropped, the readers were too slow"] if self.dropped else []
        text = f"run {self.run_number}: " + "; ".join([*told, *(fault.message for fault in faults)])
        kind = faults[0].error if faults else PeerError.__name__
        return error_from_name(kind, text, {"run_number": self.run_number, "dropped": self.dropped})

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong and the run was not cancelled."""
        return self.error() is None and not self.cancelled

    def summary(self) -> dict[str, Any]:
        """Return it for people and scripts: sums first, then connection by connection."""
        error = self.error()
        return {
            "run_number": self.run_number,
            "run_name": self.run_name,
            "ok": self.ok,
            "images": self.images,
            "sent": self.sent,
            "acknowledged": self.acknowledged if self.confirmed else None,
            "failed": self.failed,
            "dropped": self.dropped,
            "missing": self.missing if self.confirmed else None,
            "cancelled": self.cancelled,
            "image_bytes": self.image_bytes,
            "duration_s": round(self.duration_s, 6),
            "error": None if error is None else error.message,
            "sockets": msgspec.to_builtins(self.pushed.sockets) if self.pushed else [],
            "errors": msgspec.to_builtins(self.faults),
        }


class StreamProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A run at one moment."""

    run_number: int
    done_images: int
    """Images that were put."""
    total_images: int
    """As announced."""
    acknowledged: int
    failed: int
    dropped: int
    image_bytes: int
    elapsed_s: float
    waiting: int | None
    """Images that were put and that nobody has answered for yet; None: nobody would."""
    sockets: tuple[SocketResult, ...] = ()
    """Connection by connection."""


class ImageStream:
    """Sends the images of one detector.

    >>> stream = ImageStream(TcpPusher(config), preview=Preview(preview_config))  # doctest: +SKIP
    >>> stream.start(start_message)  # doctest: +SKIP
    >>> for image in images: stream.put(image)  # doctest: +SKIP
    >>> stream.end().acknowledged  # doctest: +SKIP
    100

    One thread starts, puts and ends; any thread may cancel. Without a ``file_prefix`` in START's `user_data` nothing
    goes to the pusher: preview and metadata alone show the images.

    Args:
        pusher: Where images go.
        preview: Shows some of them.
        metadata: Tells what is known of them.
        self_described: Begin messages with CBOR's tag 55799.
    """

    def __init__(
        self,
        pusher: ImagePusher,
        *,
        preview: SideStream | None = None,
        metadata: SideStream | None = None,
        self_described: bool = True,
    ) -> None:
        self.pusher = pusher
        self._sides = tuple(side for side in (preview, metadata) if side is not None)
        self._self_described = self_described
        self._encoder = ImageEncoder(self_described=self_described)
        self._lock = threading.Lock()
        self._run: StreamRun | None = None
        self._pushing = False
        self._images = self._image_bytes = 0
        self._began_s = 0.0
        self._cancelled = False
        self.last_result: StreamResult | None = None
        """Of the last run that is over."""

    def start(self, start: StartMessage) -> None:
        """Begin a run: START to all writers, the preview and the metadata stream.

        Args:
            start: `series_id` is the run's number, `series_unique_id` its name; ``file_prefix`` and
                ``images_per_file`` stand in `user_data`.

        Raises:
            StateError: A run is on.
            PeerGoneError: There is no writer.
            LabwireError: A writer refused; the run does not start.
        """
        run = stream_run(start, self_described=self._self_described)
        pushing = bool(read_user_data(start).file_prefix)
        with self._lock:
            if self._run is not None:
                raise StateError(f"run {self._run.run_number} is on: end or cancel it before run {run.run_number}")
            self._run, self._pushing, self._cancelled = run, pushing, False
            self._encoder = ImageEncoder(self_described=self._self_described)
            self._images = self._image_bytes = 0
            self._began_s = monotonic_s()
        try:
            if pushing:
                self.pusher.start(run)
        except BaseException:
            self._run = None
            raise
        try:
            for side in self._sides:
                side.start(run)
        except BaseException:
            self.cancel()
            raise

    def send_calibration(self, message: CalibrationMessage) -> None:
        """Send a calibration message, between START and the first image.

        Raises:
            StateError: No run is on, or it has had an image.
        """
        run = self._need_run()
        if self._pushing:
            self.pusher.send_calibration(self._named(message, run))

    def put(self, image: ImageMessage) -> bool:
        """Send an image; wait while its writer is behind. Its arrays must not change any more.

        Returns:
            False if it was dropped, or its writer is gone.

        Raises:
            StateError: No run is on, or it was cancelled.
            UsageError: The image has no pixels, or its number was used before.
        """
        run = self._need_run()
        if not image.data:
            raise UsageError(f"image {image.image_id} has no pixels: its `data` is empty")
        if image.series_id is None or image.series_unique_id is None:
            image = self._named(image, run)
        outgoing = OutgoingImage(image, self._encoder)
        taken = self.pusher.send_image(outgoing) if self._pushing else True
        self._images += 1
        for array in image.data.values():
            self._image_bytes += len(array.data)
        for side in self._sides:
            side.put(outgoing)
        return taken

    def end(self, message: EndMessage | None = None) -> StreamResult:
        """End the run, wait for the writers, and return what became of the images.

        Args:
            message: What END tells; its series is filled in. None: how many images were sent.

        Raises:
            StateError: No run is on, or it was cancelled.
        """
        run = self._need_run()
        end = self._named(message or EndMessage(max_image_number=self._images), run)
        pushed = self.pusher.end(end) if self._pushing else None
        return self._over(run, end, pushed)

    def cancel(self) -> StreamResult | None:
        """Take the run back, from any thread; returns what became of the images, None if no run was on."""
        with self._lock:
            run = self._run
            if run is None:
                return None
            self._cancelled = True
        pushed = self.pusher.cancel() if self._pushing else None
        return self._over(run, self._named(EndMessage(max_image_number=self._images), run), pushed)

    def progress(self) -> StreamProgress | None:
        """Tell how the run stands; None if none is on."""
        run = self._run
        if run is None:
            return None
        pushed = self.pusher.result() if self._pushing else None
        return StreamProgress(
            run_number=run.run_number,
            done_images=self._images,
            total_images=run.start.number_of_images,
            acknowledged=pushed.acknowledged if pushed else 0,
            failed=pushed.failed if pushed else 0,
            dropped=pushed.offered - pushed.sent if pushed else 0,
            image_bytes=self._image_bytes,
            elapsed_s=monotonic_s() - self._began_s,
            waiting=sum(map(_waiting, pushed.sockets)) if pushed and self.pusher.confirms else None,
            sockets=pushed.sockets if pushed else (),
        )

    @property
    def running(self) -> bool:
        """Whether a run is on."""
        return self._run is not None

    def close(self) -> None:
        """Cancel a run that is on, and close pusher, preview and metadata stream. Safe to call twice."""
        self.cancel()
        self.pusher.close()
        for side in self._sides:
            side.close()

    def _need_run(self) -> StreamRun:
        run = self._run
        if run is None:
            raise StateError("no run is on: start one first")
        if self._cancelled:
            raise StateError(f"run {run.run_number} was cancelled")
        return run

    def _over(self, run: StreamRun, end: EndMessage, pushed: RunResult | None) -> StreamResult:
        with self._lock:
            if self._run is not run:  # somebody else was first: ended and cancelled at once
                assert self.last_result is not None
                return self.last_result
            self._run = None
            result = StreamResult(
                run_number=run.run_number,
                run_name=run.run_name,
                images=self._images,
                image_bytes=self._image_bytes,
                duration_s=monotonic_s() - self._began_s,
                streamed=self._pushing,
                confirmed=self._pushing and self.pusher.confirms,
                cancelled=self._cancelled,
                pushed=pushed,
            )
            self.last_result = result
        for side in self._sides:
            side.end(end)
        return result

    @staticmethod
    def _named(message: Any, run: StreamRun) -> Any:
        return msgspec.structs.replace(message, series_id=run.run_number, series_unique_id=run.run_name)


def _waiting(socket: SocketResult) -> int:
    # A writer of the ZeroMQ stream acknowledges at the end only, but may say before how far it is.
    return max(0, socket.sent - max(socket.acknowledged, socket.processed or 0) - socket.failed)
