"""The metadata stream: what is known of every image, without pixels and spots, in bundles.

Source: image-stream, "Metadata stream".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import zmq

from labwire.clock import monotonic_s
from labwire.images.publishing_thread import PublishingThread
from labwire.images.pusher import OutgoingImage, StreamRun
from labwire.images.stream_config import MetadataConfig
from labwire.wire.cbor_values import Buffer
from labwire.wire.image_codec import metadata_of
from labwire.wire.image_message import EndMessage, ImageMessage

BUNDLE_IMAGES: Final = 1000
"""So many go out before their time."""
MAX_WAITING: Final = 16 * BUNDLE_IMAGES


class Metadata(PublishingThread):
    """Tells what is known of images: START, bundles, END.

    Args:
        config: Where and how often.

    Raises:
        PortTakenError: Somebody else listens there.
        ConfigError: The address is none, or none of this computer's.
    """

    def __init__(self, config: MetadataConfig) -> None:
        self.dropped = 0
        """Images that came faster than their metadata could be sent."""
        self._period_s = config.period_ms / 1000
        self._run: StreamRun | None = None
        self._waiting: list[ImageMessage] = []
        self._due_s = 0.0
        self._ready: list[Sequence[Buffer]] = []
        super().__init__(config.address, {zmq.SNDHWM: config.watermark}, "labwire-metadata")

    def start(self, run: StreamRun) -> None:
        """A run begins."""
        pieces = run.encode(run.start)
        with self._changed:
            self._run, self._waiting = run, []
            self._ready.append(pieces)
            self._wake()

    def put(self, image: OutgoingImage) -> None:
        """Take what is known of an image; its pixels are not kept."""
        bare = msgspec.structs.replace(image.message, data={}, spots=None)
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                self.dropped += 1
                return
            self._waiting.append(bare)
            if len(self._waiting) == 1:
                self._due_s = monotonic_s() + self._period_s
                self._wake()
            elif len(self._waiting) == BUNDLE_IMAGES:
                self._due_s = 0.0
                self._wake()

    def end(self, message: EndMessage) -> None:
        """The run is over: the last bundle goes out, and END."""
        run = self._run
        if run is None:
            return
        pieces = run.encode(message)
        with self._changed:
            self._ready += [*_bundles(run, self._waiting), pieces]
            self._run, self._waiting = None, []
            self._wake()

    def _next_s(self) -> float | None:
        if self._ready:
            return 0.0
        return self._due_s if self._waiting else None

    def _take(self, now_s: float) -> list[Sequence[Buffer]]:
        with self._changed:
            ready, self._ready = self._ready, []
            run, due = self._run, self._due_s <= now_s
            images: list[ImageMessage] = []
            if due:
                images, self._waiting = self._waiting, images
        return ready if run is None else [*ready, *_bundles(run, images)]


def _bundles(run: StreamRun, images: list[ImageMessage]) -> list[Sequence[Buffer]]:
    cut = [images[at : at + BUNDLE_IMAGES] for at in range(0, len(images), BUNDLE_IMAGES)]
    return [run.encode(metadata_of(bundle)) for bundle in cut]
