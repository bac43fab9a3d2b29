"""What every way for images to go can do, and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import msgspec

from labwire.wire.cbor_values import Buffer
from labwire.wire.image_codec import encode_message
from labwire.wire.image_message import CalibrationMessage, EndMessage, ImageMessage, Message, StartMessage
from labwire.wire.image_template import ImageEncoder
from labwire.wire.image_user_data import read_user_data, start_for_socket
from labwire.wire.run_result import RunResult

OnEvent: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Told of what happens, with a kind and its data; called in a thread of the pusher, so it must be quick."""

ALL_IMAGES = 1 << 62
"""Images of a file, where START sets no bound."""


class StreamRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as the sending side sees it."""

    start: StartMessage
    """What is the same for all sockets."""
    images_per_file: int
    """At least 1."""
    self_described: bool = True

    @property
    def run_number(self) -> int:
        """As in START."""
        return self.start.series_id

    @property
    def run_name(self) -> str:
        """As in START."""
        return self.start.series_unique_id

    def encode_start(self, socket_number: int, notification_address: str | None = None) -> list[Buffer]:
        """Return START as one socket sends it.

        Raises:
            UsageError: A value does not fit its field.
        """
        own = start_for_socket(
            self.start, socket_number=socket_number, writer_notification_zmq_addr=notification_address
        )
        return encode_message(own, self_described=self.self_described)

    def encode(self, message: Message) -> list[Buffer]:
        """Return another message of the run.

        Raises:
            UsageError: A value does not fit its field.
        """
        return encode_message(message, self_described=self.self_described)


def stream_run(start: StartMessage, *, self_described: bool = True) -> StreamRun:
    """Return the run that START begins."""
    per_file = read_user_data(start).images_per_file or start.number_of_images or ALL_IMAGES
    return StreamRun(start=start, images_per_file=per_file, self_described=self_described)


class OutgoingImage:
    """One image on its way: encoded once, when the first who needs it asks."""

    __slots__ = ("_encoder", "_pieces", "message")

    def __init__(self, message: ImageMessage, encoder: ImageEncoder | None = None) -> None:
        self.message = message
        self._encoder = encoder
        self._pieces: list[Buffer] | None = None

    @property
    def pieces(self) -> list[Buffer]:
        """The encoded message, for one gather write; the pixels are not copied and must not change any more.

        Raises:
            UsageError: A value does not fit its field.
        """
        if self._pieces is None:
            encode = encode_message if self._encoder is None else self._encoder.encode
            self._pieces = encode(self.message)
        return self._pieces


class ImagePusher(Protocol):
    """A way for images to go. One thread calls it; `cancel` and the properties may come from any thread."""

    confirms: bool
    """Whether `acknowledged` in its results means something: somebody says what was stored."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where writers connect, with the real ports; the folder, if it writes files."""
        ...

    @property
    def waiting_writers(self) -> int | None:
        """Writers that would take part in a run that starts now; None: that cannot be known."""
        ...

    def wait_for_writers(self, count: int | None = None, timeout_s: float | None = None) -> int:
        """Wait until so many writers are there; return how many are.

        Args:
            count: None: as many as a run needs.
            timeout_s: None: as long as it takes.

        Raises:
            DeadlineError: They are not within `timeout_s`.
        """
        ...

    def start(self, run: StreamRun) -> None:
        """Begin a run.

        Raises:
            LabwireError: It does not start; nothing is left of it.
        """
        ...

    def send_calibration(self, message: CalibrationMessage) -> None:
        """Send a calibration message, between START and the first image."""
        ...

    def send_image(self, image: OutgoingImage) -> bool:
        """Send an image; wait if the writers are behind.

        Returns:
            False if it was dropped, or its writer is gone: it counts as missing, and the run goes on.

        Raises:
            StateError: There is no run, or it was cancelled.
        """
        ...

    def end(self, message: EndMessage) -> RunResult:
        """End the run, wait for the writers, and return what became of the images."""
        ...

    def cancel(self) -> RunResult | None:
        """Take the run back; harmless without one. Returns what became of the images, None if there was no run."""
        ...

    def result(self) -> RunResult | None:
        """Return how the run stands, or the last one; None if there was none."""
        ...

    def close(self) -> None:
        """Cancel a run that is on, and let go of sockets and threads. Safe to call twice."""
        ...
