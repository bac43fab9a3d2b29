"""Streams, runs and images for the tests of the sending side."""

from __future__ import annotations

import numpy as np

from labwire.images.stream_config import TcpStreamConfig
from labwire.wire.image_array import Array, array_of, as_numpy
from labwire.wire.image_message import ImageMessage, StartMessage
from labwire.wire.image_user_data import UserData, encode_user_data
from labwire.wire.tcp_timeouts import SenderTimeouts

LOCAL = TcpStreamConfig(address="tcp://127.0.0.1:*")
PATIENT = SenderTimeouts(start_ack_s=20.0, end_ack_s=20.0, cancel_ack_s=20.0, keepalive_s=20.0, peer_liveness_s=30.0)
"""For runs that must go well: a busy computer is not taken for a dead writer. A test that waits in vain has less."""


def start_message(
    run_number: int = 1, images: int = 10, *, per_file: int = 2, prefix: str | None = "test"
) -> StartMessage:
    return StartMessage(
        series_id=run_number,
        series_unique_id=f"{run_number}:test",
        number_of_images=images,
        image_size_x=16,
        image_size_y=8,
        user_data=encode_user_data(UserData(file_prefix=prefix, images_per_file=per_file)),
    )


def image(number: int, pixels: int = 128) -> ImageMessage:
    """Make an image of which every pixel tells its number."""
    values = np.full((8, pixels // 8), number % 65536, np.uint16)
    return ImageMessage(image_id=number, data={"default": array_of(values)})


def is_image(message: ImageMessage, number: int) -> bool:
    array: Array = message.data["default"]
    return message.image_id == number and bool((as_numpy(array) == number % 65536).all())
