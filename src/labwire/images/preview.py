"""The preview stream: now and then an image, for whoever wants to look.

Source: image-stream, "Preview stream". START and images, no END; a reader that is behind gets the newest message only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import zmq

from labwire.clock import monotonic_s
from labwire.images.publishing_thread import PublishingThread
from labwire.images.pusher import OutgoingImage, StreamRun
from labwire.images.stream_config import PreviewConfig
from labwire.wire.cbor_values import Buffer
from labwire.wire.image_message import EndMessage

START_AGAIN_S: Final = 2.0
"""Whoever joins in the middle of a run has mask and geometry after so long."""
_START_ALONE_S: Final = 0.02
"""No image follows START sooner: the socket keeps one message for each reader, and would keep the image only."""


class Preview(PublishingThread):
    """Shows images at a chosen period.

    >>> preview = Preview(PreviewConfig(address="tcp://127.0.0.1:*", period_ms=0))  # doctest: +SKIP
    >>> stream = ImageStream(pusher, preview=preview)  # doctest: +SKIP

    Args:
        config: Where and how often.
        start_again_s: From one START to the next in a run.

    Raises:
        PortTakenError: Somebody else listens there.
        ConfigError: The address is none, or none of this computer's.
    """

    def __init__(self, config: PreviewConfig, *, start_again_s: float = START_AGAIN_S) -> None:
        self.skipped = 0
        """Images that came between two periods, or faster than they could be sent."""
        self._period_s = config.period_ms / 1000
        self._start_again_s = start_again_s
        self._start: list[Buffer] | None = None
        self._ended = False
        self._image: OutgoingImage | None = None
        self._start_due_s = self._image_due_s = 0.0
        super().__init__(config.address, {zmq.CONFLATE: 1}, "labwire-preview")

    def start(self, run: StreamRun) -> None:
        """A run begins: START goes out at once, and the first image behind it."""
        pieces = run.encode(run.start)
        with self._changed:
            self._start, self._image, self._ended = pieces, None, False
            self._start_due_s = self._image_due_s = 0.0
            self._wake()

    def put(self, image: OutgoingImage) -> None:
        """Show an image, if it is time for one."""
        if self._image is None and monotonic_s() < self._image_due_s and self._period_s > _START_ALONE_S:
            self.skipped += 1
            return
        with self._changed:
            if self._start is None or self._ended:
                return
            if self._image is not None:
                self.skipped += 1
            self._image = image
            self._wake()

    def end(self, message: EndMessage) -> None:
        """The run is over: START is not sent again; an image that waits still goes out."""
        with self._changed:
            self._ended = True
            if self._start_due_s:  # else it has not gone out yet
                self._start = None
            self._wake()

    def _next_s(self) -> float | None:
        image_s = self._image_due_s if self._image is not None else None
        if self._start is None:
            return image_s
        return self._start_due_s if image_s is None else min(image_s, self._start_due_s)

    def _take(self, now_s: float) -> list[Sequence[Buffer]]:
        with self._changed:
            if self._start is not None and self._start_due_s <= now_s:
                self._start_due_s = now_s + self._start_again_s
                self._image_due_s = max(self._image_due_s, now_s + _START_ALONE_S)
                start, self._start = self._start, None if self._ended else self._start
                return [start]
            if self._image is None or (self._image_due_s > now_s and not self._closing):
                return []
            image, self._image = self._image, None
            # From when it was due, so that the period does not grow by the time that sending takes.
            late_s = now_s - self._image_due_s
            self._image_due_s = (now_s if late_s > self._period_s else self._image_due_s) + self._period_s
        return [image.pieces]
