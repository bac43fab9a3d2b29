"""What every source of detector images can do."""

from __future__ import annotations

from typing import Protocol

import msgspec

from labwire.wire.image_array import Array
from labwire.wire.image_fields import Spot
from labwire.wire.image_message import StartMessage


class SourceImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image as its source gives it."""

    pixels: Array
    """(height, width); compressed if the source has it so."""
    spots: tuple[Spot, ...] | None = None
    """What the source knows to be in it; None: nothing is known."""
    repeats: int | None = None
    """Images with the same number here are the same, so that each needs to be compressed only once. None: it does not
    come again."""


class ImageSource(Protocol):
    """A source of detector images. One thread at a time uses it.

    `labwire.images.acquisition` drives it; a class that stands here knows nothing of streams.
    """

    @property
    def image_count(self) -> int | None:
        """How many images there are; None: as many as wanted."""
        ...

    def start_message(
        self, *, run_number: int, run_name: str, number_of_images: int, frame_time_s: float | None = None
    ) -> StartMessage:
        """Return what START tells of the detector: geometry, energy, mask.

        Args:
            run_number: Becomes `series_id`.
            run_name: Becomes `series_unique_id`.
            number_of_images: As announced.
            frame_time_s: From one image to the next; None: as the source has it, or unknown.
        """
        ...

    def read(self, image_number: int) -> SourceImage:
        """Return an image, which nobody changes afterwards.

        Raises:
            DeviceError: The source stopped working.
        """
        ...

    def close(self) -> None:
        """Let go of what is open; safe to call twice."""
        ...
