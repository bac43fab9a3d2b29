"""The pictures of a camera of the rig as the images of a detector."""

from __future__ import annotations

from typing import Any, Final

import zmq

from labwire.bus.subscription import Subscription
from labwire.errors import DeadlineError, DeviceError, ProtocolError, TooLargeError, UsageError
from labwire.names import FRAME
from labwire.picture import Picture, picture_pixels, to_format
from labwire.sources.image_source import SourceImage
from labwire.wire.bus_message import BusMessage
from labwire.wire.image_array import Array, array_of
from labwire.wire.image_message import StartMessage
from labwire.wire.image_user_data import UserData, encode_user_data

PATIENCE_S: Final = 10.0
"""How long a camera may be silent."""
_DEPTH: Final = 8


class CameraImages:
    """An image source that listens to ``frame.<camera>`` on the bus.

    Args:
        camera: Name of the camera.
        channel: Name of the channel in START.
        sub_url: Where subscribers connect.
        context: The actor's.
    """

    def __init__(self, camera: str, channel: str, sub_url: str, context: zmq.Context[Any]) -> None:
        self._camera, self._channel = camera, channel
        self._topic = FRAME + camera
        self._subscription: Subscription[BusMessage] = Subscription(
            sub_url, [self._topic], depth=_DEPTH, policy="drop_old", context=context
        )
        self._shape: tuple[int, ...] | None = None

    @property
    def image_count(self) -> None:
        """As many as wanted."""
        return None

    def start_message(
        self, *, run_number: int, run_name: str, number_of_images: int, frame_time_s: float | None = None
    ) -> StartMessage:
        """Return what the next picture tells of the camera.

        Raises:
            DeviceError: There is none.
        """
        self._shape = height, width = self._next().shape
        return StartMessage(
            series_id=run_number,
            series_unique_id=run_name,
            number_of_images=number_of_images,
            image_size_x=width,
            image_size_y=height,
            channels=(self._channel,),
            image_dtype="uint8",
            frame_time=frame_time_s,
            detector_description=f"camera {self._camera}",
            saturation_value=255,
            user_data=encode_user_data(UserData(extra={"camera": self._camera})),
        )

    def read(self, image_number: int) -> SourceImage:
        """Wait for the next picture.

        Raises:
            DeviceError: None came in 10 s, or one of another size.
        """
        pixels = self._next()
        if pixels.shape != self._shape:
            sizes = f"{pixels.shape} instead of {self._shape}"
            raise DeviceError(f"the pictures of camera {self._camera} have another size now: {sizes} (height, width)")
        return SourceImage(pixels=pixels)

    def close(self) -> None:
        """Listen no longer; a `read` that waits ends. Safe to call twice."""
        self._subscription.close()

    def _next(self) -> Array:
        try:
            while (message := self._subscription.recv(PATIENCE_S)).topic != self._topic:
                pass
            return _gray(message)
        except DeadlineError as error:
            raise DeviceError(f"camera {self._camera} gave no picture within {PATIENCE_S:g} s") from error


def _gray(message: BusMessage) -> Array:
    payload = message.payload
    try:
        picture = Picture(
            data=message.raw[0],
            width=payload["width"],
            height=payload["height"],
            format=payload["format"],
            index=payload["index"],
            monotonic_s=0.0,
            epoch_us=0,
        )
        return array_of(picture_pixels(to_format(picture, "gray")))
    except (KeyError, IndexError, TypeError) as error:
        raise DeviceError(f"{message.topic} is no picture: {error!r}") from error
    except (ProtocolError, UsageError, TooLargeError) as error:
        raise DeviceError(f"{message.topic} cannot be read: {error}") from error
